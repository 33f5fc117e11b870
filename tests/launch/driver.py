"""A gpuplan that can be killed: conducts the plan of a file, `python driver.py PLAN_FILE STATE`."""

from __future__ import annotations

import sys
from pathlib import Path

import workbench

from gpuplan.errors import UserError
from gpuplan.launch import Event, LocalLauncher, Site, conduct
from gpuplan.model import Plan
from gpuplan.store import Store


def main(plan_file: Path, state: Path) -> int:
    plan = Plan.model_validate_json(plan_file.read_bytes())
    site = Site(plan=plan, state=state, argv_of=workbench.argv_of, gpus=frozenset())
    try:
        with Store(state / "store.db") as store:
            done = conduct(
                site,
                launcher=LocalLauncher(),
                store=store,
                observer=workbench.ByExitCode(),
                on_event=show,
                sample_s=0.2,
            )
    except UserError as error:
        sys.stdout.write(f"error {error.message}\n")
        return error.exit_code
    return 130 if done.interrupted else 0


def show(event: Event) -> None:
    sys.stdout.write(f"{event.what} {event.run} {event.text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
