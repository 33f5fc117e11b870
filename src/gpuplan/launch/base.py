"""What starts runs and looks after them: the interface of every place, and its values. It knows no place itself."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from gpuplan.errors import EXIT_MACHINE, UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from gpuplan.model import Ending

__all__ = ["TAKEN_UP_AGAIN", "Ended", "Handle", "Job", "Launcher", "Lost", "Running", "Sight", "writing"]

TAKEN_UP_AGAIN = "then run the same command again: running runs are taken up, finished ones are kept"


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt of a run, ready to start: nothing is left to decide."""

    run: str
    key: str
    attempt: int
    folder: Path
    argv: tuple[str, ...]
    workdir: Path
    environment: Mapping[str, str | None]
    """What is set on top of gpuplan's own environment; None takes a variable away."""
    stop_signal: str
    grace_s: float
    timeout_s: float | None


class Handle(NamedTuple):
    """One attempt that was given to a place; enough to find it again after gpuplan has died."""

    run: str
    key: str
    attempt: int
    folder: Path


class Running(NamedTuple):
    """It lives. `pid` is the top of its processes, if it has one here yet."""

    pid: int | None
    started_at: float | None


class Ended(NamedTuple):
    """All its processes are gone, and how it ended was recorded."""

    ending: Ending


class Lost(NamedTuple):
    """All its processes are gone, and nobody saw the end; `started_at` is None if the command never started."""

    started_at: float | None


Sight = Running | Ended | Lost


class Launcher(Protocol):
    """A place where runs can be started: this machine, a cluster, a rented machine."""

    def submit(self, job: Job) -> Handle | None:
        """Start the job. None: an earlier attempt of this run still lives, nothing was done."""

    def adopt(self, run: str, folder: Path) -> Handle | None:
        """The newest attempt that was ever given to this place from `folder`, dead or alive."""

    def poll(self, handles: Collection[Handle]) -> Mapping[Handle, Sight]:
        """What has become of each."""

    def wait(self, handles: Collection[Handle], *, timeout_s: float) -> None:
        """Sleep, but not longer than until one of them may have ended."""

    def request_stop(self, handle: Handle, *, now: bool = False) -> bool:
        """Ask it to checkpoint and leave within its grace; `now` kills. False: it cannot be reached yet, ask again."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an error of the file system below `path` into advice. Runs that are running are not touched by it."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write to {path}: {error.strerror or error}",
            hint=f"free space there or make it writable, {TAKEN_UP_AGAIN}",
            exit_code=EXIT_MACHINE,
        ) from error
