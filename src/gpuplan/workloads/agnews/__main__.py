"""`python -m gpuplan.workloads.agnews`: options in, a trained run out.

It never shows a traceback for what the user can put right.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from gpuplan.workloads.agnews.config import Config, check_ranks, parse
from gpuplan.workloads.agnews.errors import DivergedError, WorkloadError

if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE_EXIT_CODE = 2
DIVERGED_EXIT_CODE = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the command line says; the exit code."""
    rank = os.environ.get("RANK", "0")
    try:
        _train(parse(arguments, os.environ))
    except WorkloadError as error:
        _complain(f"error: {error}", rank)
        if error.hint:
            _complain(f"hint: {error.hint}", rank)
        return USAGE_EXIT_CODE
    except DivergedError as error:
        if rank == "0":
            sys.stderr.write(f"{error}\n")
        return DIVERGED_EXIT_CODE
    return 0


def _train(config: Config) -> None:
    check_ranks(config, world_size=int(os.environ.get("WORLD_SIZE", "1")))
    try:
        from gpuplan.workloads.agnews.ranks import identify  # noqa: PLC0415 - torch takes a second to import
        from gpuplan.workloads.agnews.train import train  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise WorkloadError(f"{error.name} is not installed", hint="pip install 'gpuplan[workloads]'") from error
    train(config, identify(os.environ))


def _complain(line: str, rank: str) -> None:
    sys.stderr.write(line + "\n" if rank == "0" else f"rank {rank}: {line}\n")


if __name__ == "__main__":
    sys.exit(main())
