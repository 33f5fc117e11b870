"""Plan -> runs -> records: inputs made, runs conducted, what they taught kept."""

from __future__ import annotations

import shlex
import subprocess
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.command import PYTHONS, argv, fill, values_of, words
from gpuplan.errors import EXIT_BLOCKED, EXIT_INTERRUPTED, EXIT_MACHINE, EXIT_RUNS_FAILED, UserError
from gpuplan.expand import shape_of
from gpuplan.flow.observer import RunObserver
from gpuplan.flow.plan import machines_elsewhere
from gpuplan.launch.conduct import conduct
from gpuplan.launch.local import LocalLauncher
from gpuplan.launch.prepare import Site
from gpuplan.learn import evidence_of
from gpuplan.report.priced import machines_words
from gpuplan.units import format_duration
from gpuplan.world import interpreter, workdir_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuplan.flow.state import State
    from gpuplan.launch.ports import Conducted, Event
    from gpuplan.model import Experiment, Plan, Run, RunRecord

__all__ = ["Applied", "apply", "create_inputs", "refuse_what_waits", "site_of", "threads_of"]

CREATE_TIMEOUT_S = 3600


class Applied(NamedTuple):
    """What came of a plan, and the exit code that says it."""

    conducted: Conducted
    records: tuple[RunRecord, ...]
    learned: int

    @property
    def exit_code(self) -> int:
        """0, 4 when runs failed or did not start, 130 when interrupted."""
        if self.conducted.interrupted:
            return EXIT_INTERRUPTED
        failed = any(state != "finished" for state in self.conducted.states.values())
        return EXIT_RUNS_FAILED if failed or self.conducted.held or self.conducted.brake else 0


def apply(plan: Plan, state: State, *, on_event: Callable[[Event], None]) -> Applied:
    """Carry out the plan to the letter, and learn from each run that finished. Raises UserError."""
    refuse_what_waits(plan)
    state.keep_plan(plan)
    started = time.monotonic()
    with state.writing() as store:
        conducted = conduct(
            site_of(plan, state),
            launcher=LocalLauncher(),
            store=store,
            observer=RunObserver(plan),
            on_event=on_event,
            may_start=partial(_before_deadline, plan.experiment, started),
        )
        records = store.records(plan.experiment.name)
        today = datetime.now(UTC).date().isoformat()
        found = [
            evidence_of(record, gpu=_gpu_of(plan, record), threads=threads_of(plan, record.run), today=today)
            for record in records
        ]
        learned = store.add_evidence(fact for fact in found if fact is not None)
    return Applied(conducted, records, learned)


def site_of(plan: Plan, state: State) -> Site:
    """What all runs of the plan share."""
    experiment = plan.experiment
    python = interpreter(experiment, Path(plan.base))

    def argv_of(run: Run, run_dir: Path, checkpoint: Path | None) -> tuple[str, ...]:
        return argv(
            run,
            experiment.environment.model_copy(update={"python": None}),
            python=python,
            run_dir=str(run_dir),
            checkpoint=str(checkpoint or ""),
            resume=experiment.checkpoint.resume,
        )

    cards = frozenset(device.index for device in plan.machine.devices if device.kind == "gpu")
    return Site(plan=plan, state=state.folder, argv_of=argv_of, gpus=cards)


def create_inputs(plan: Plan, *, say: Callable[[str], None]) -> None:
    """Run the `create:` command of each input that is not there. Raises UserError when one does not make it."""
    workdir = workdir_of(plan.experiment, Path(plan.base))
    python = interpreter(plan.experiment, Path(plan.base))
    for source in plan.experiment.inputs:
        if source.create is None:
            continue
        for run in plan.runs:
            path = workdir / Path(fill(source.path, values_of(run))).expanduser()
            if not path.exists():
                say(f"creating {path.relative_to(workdir) if path.is_relative_to(workdir) else path}: {source.create}")
                _create(fill(source.create, values_of(run)), path, workdir=workdir, python=python)


def _create(command: str, path: Path, *, workdir: Path, python: str) -> None:
    line = words(command)
    line[0] = python if PYTHONS.fullmatch(line[0]) else line[0]
    try:
        done = subprocess.run(
            line, cwd=workdir, capture_output=True, text=True, errors="replace", timeout=CREATE_TIMEOUT_S, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{shlex.join(line)}: {error}", hint="mend `create:` of this input") from None
    if done.returncode != 0 or not path.exists():
        last = (done.stderr.strip() or done.stdout.strip() or "it printed nothing").splitlines()[-1]
        reason = f"ended with {done.returncode}" if done.returncode else f"did not make {path}"
        raise UserError(
            f"{shlex.join(line)} {reason}: {last}", hint="mend it and run this again", exit_code=EXIT_MACHINE
        )


def refuse_what_waits(plan: Plan) -> None:
    """Raise UserError for what this version plans, but does not run: other machines, stages, copies."""
    elsewhere = machines_elsewhere(plan)
    if elsewhere:
        raise UserError(
            f"the plan is for {machines_words(elsewhere)}, and gpuplan runs on this machine only: it rents nothing yet",
            hint="rent them and apply the spec there, or plan here: gpuplan apply SPEC --set 'compute.on=[local]'",
            exit_code=EXIT_BLOCKED,
        )
    if plan.experiment.stages or any(run.copies > 1 for run in plan.runs):
        what = "stages" if plan.experiment.stages else "copies"
        hint = "apply one stage as a spec of its own" if plan.experiment.stages else "apply one: --set copies=1"
        raise UserError(f"this version plans {what}, but does not run them yet", hint=hint, exit_code=EXIT_BLOCKED)


def _before_deadline(experiment: Experiment, started: float, _run: Run) -> str | None:
    deadline_s = experiment.limits.deadline
    if deadline_s is None or time.monotonic() - started < deadline_s:
        return None
    return f"the deadline of {format_duration(deadline_s)} has passed"


def _gpu_of(plan: Plan, record: RunRecord) -> str:
    names = {device.index: device.gpu for device in plan.machine.devices}
    return names.get(record.devices[0], "") if record.devices else ""


def threads_of(plan: Plan, run: Run) -> int:
    """CPU threads of one rank: as the run's own setting says, else its share of the machine."""
    own = shape_of(run, plan.experiment).threads
    return own or plan.experiment.compute.threads or plan.machine.threads_per_rank
