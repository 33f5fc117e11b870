"""`make demo`: check, probe, plan, run and judge a real sweep on this machine, by the commands a user would type.

python examples/demo.py [AG_NEWS.csv]      with a path: on those rows instead of Python's own docstrings
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

EXAMPLES = Path(__file__).parent
SPEC = "docstrings.yaml"
STATE = ".gpuplan/demo"


def main(arguments: list[str]) -> int:
    """Run the verbs in their order; the first that fails ends the demo with its code."""
    started = time.monotonic()
    # What an earlier demo left: with it, every run would be "finished before".
    shutil.rmtree(EXAMPLES / STATE, ignore_errors=True)
    data = [f"--set={key}={Path(arguments[0]).resolve()}" for key in DATA_KEYS] if arguments else []
    for verb in (
        ["check", SPEC, *data],
        ["probe", SPEC, *data],
        ["plan", SPEC, *data],
        ["apply", SPEC, *data, "-y"],
        ["report"],
    ):
        code = run(verb)
        if code != 0:
            return code
    print(f"\nall of it in {time.monotonic() - started:.0f} s")
    return 0


DATA_KEYS = ("settings.data", "inputs.0.path")


def run(words: list[str]) -> int:
    """One command, echoed as a user would type it."""
    print(f"\n$ gpuplan {' '.join(words)}", flush=True)
    command = [sys.executable, "-m", "gpuplan", *words, "--state", STATE]
    return subprocess.run(command, cwd=EXAMPLES, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
