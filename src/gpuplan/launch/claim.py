"""Who conducts a state folder, and whether somebody asked to stop. It touches no run."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Self

from gpuplan.errors import UserError
from gpuplan.launch.base import writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

__all__ = ["Interrupts", "conductor_pid", "sole_conductor"]

PATIENCE_S = 2.0
PAUSE_S = 0.05


@contextlib.contextmanager
def sole_conductor(state: Path) -> Iterator[None]:
    """Hold the state folder, so that no two gpuplans start its runs. The system lets go of it when we die."""
    with writing(state):
        descriptor = os.open(state / "apply.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _is_taken(descriptor):
            pid = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            raise UserError(
                f"gpuplan process {pid} is carrying out runs in {state} already",
                hint=f"follow it with `gpuplan watch`, or end it first: kill -INT {pid}",
            )
        with writing(state):
            os.pwrite(descriptor, f"{os.getpid():<19}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _is_taken(descriptor: int) -> bool:
    """Take the lock. A killed gpuplan may hold it for a moment longer, in a child that has not become git yet."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(PAUSE_S)
        else:
            return True


def conductor_pid(state: Path) -> int | None:
    """The gpuplan that carries out runs in `state` now, or None."""
    try:
        descriptor = os.open(state / "apply.lock", os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 20, 0).strip()
        return int(text) if text.isdigit() else None
    finally:
        os.close(descriptor)
    return None


class Interrupts:
    """How often somebody asked to stop: by Ctrl-C, by SIGTERM or by `request`."""

    def __init__(self) -> None:
        self.count = 0
        self.previous: dict[int, object] = {}

    def request(self) -> None:
        """Ask once more: the first time runs may checkpoint, the second time they are ended at once."""
        self.count += 1

    def __enter__(self) -> Self:
        """Listen from now on; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            self.previous = {number: signal.signal(number, self._heard) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self.previous = {}

    def _heard(self, _number: int, _frame: FrameType | None) -> None:
        self.request()
