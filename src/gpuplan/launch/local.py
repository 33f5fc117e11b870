"""Runs on this machine, each under a shim of its own that outlives gpuplan. It never decides what runs, or when."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from gpuplan.errors import EXIT_MACHINE, UserError
from gpuplan.launch import folder as record
from gpuplan.launch import shim
from gpuplan.launch.base import TAKEN_UP_AGAIN, Ended, Handle, Lost, Running, writing

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from gpuplan.launch.base import Job, Sight

__all__ = ["LocalLauncher"]


class LocalLauncher:
    """`Launcher` for this machine."""

    def __init__(self, *, python: str = sys.executable) -> None:
        self.python = python
        self.shims: dict[Handle, subprocess.Popen[bytes]] = {}

    def submit(self, job: Job) -> Handle | None:
        """Start the job under a shim that inherits the run's lock, so that nobody else can take it in between."""
        with writing(job.folder):
            job.folder.mkdir(parents=True, exist_ok=True)
            lock = record.take_lock(job.folder)
            if lock is None:
                return None
            try:
                if _has_escaped(job.folder):
                    return None
                record.write_asked(job)
                handle = Handle(job.run, job.key, job.attempt, job.folder)
                self.shims[handle] = self._start(job, lock)
            finally:
                os.close(lock)
        return handle

    def _start(self, job: Job, lock: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self.python, "-I", "-S", shim.__file__, str(job.folder), str(job.attempt), str(lock)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[lock],
            start_new_session=True,
        )

    def adopt(self, run: str, folder: Path) -> Handle | None:
        """The newest attempt that was asked for or started in `folder`."""
        asked, status = record.read_asked(folder), record.read_status(folder)
        newest = max((found for found in (asked, status) if found), key=lambda found: found.attempt, default=None)
        return Handle(run, newest.key, newest.attempt, folder) if newest else None

    def poll(self, handles: Collection[Handle]) -> dict[Handle, Sight]:
        """Look at each once."""
        return {handle: self._sight(handle) for handle in handles}

    def _sight(self, handle: Handle) -> Sight:
        is_locked = record.is_locked(handle.folder)
        # Read after the look at the lock: the end is recorded before the lock is let go.
        status = _status(handle)
        if is_locked or (status and status.ending is None and _has_escaped(handle.folder)):
            return Running(_top(status), status.started_at if status else None)
        self._forget(handle)
        if status and status.ending:
            return Ended(status.ending)
        return Lost(status.started_at if status else None)

    def _forget(self, handle: Handle) -> None:
        """Collect the shim, which has let go of the lock or is about to. Raises if it had nowhere to write."""
        process = self.shims.pop(handle, None)
        if process and process.wait() == shim.UNRECORDED_EXIT_CODE:
            raise UserError(
                f"cannot write to {handle.folder}: the start of run {handle.run!r} could not be recorded",
                hint=f"free space there or make it writable, {TAKEN_UP_AGAIN}",
                exit_code=EXIT_MACHINE,
            )

    def wait(self, handles: Collection[Handle], *, timeout_s: float) -> None:
        """Sleep until the top process of one of them ends, or the time is over."""
        with contextlib.ExitStack() as stack:
            poller = select.poll()
            for handle in handles:
                descriptor = _pidfd(self._pid(handle))
                if descriptor is not None:
                    stack.callback(os.close, descriptor)
                    poller.register(descriptor, select.POLLIN)
            poller.poll(timeout_s * 1000)

    def _pid(self, handle: Handle) -> int | None:
        if handle in self.shims:
            return self.shims[handle].pid
        status = _status(handle)
        return _top(status)

    def request_stop(self, handle: Handle, *, now: bool = False) -> bool:
        """Ask the shim; if it was killed, its command directly."""
        status = _status(handle)
        if status is None:
            return False
        if status.is_shim_alive:
            _send(status.pid, signal.SIGINT if now else signal.SIGTERM)
        elif now:
            _kill_all(handle.folder)
        elif status.command in record.processes_of(handle.folder):
            _ask_group(handle.folder, status.command)
        return True


def _status(handle: Handle) -> record.Status | None:
    status = record.read_status(handle.folder)
    return status if status and status.attempt == handle.attempt else None


def _top(status: record.Status | None) -> int | None:
    if status is None:
        return None
    return status.pid if status.is_shim_alive else status.command


def _has_escaped(folder: Path) -> bool:
    """Whether processes live on that lost both their shim and the lock (they closed what they inherited)."""
    status = record.read_status(folder)
    return status is not None and status.ending is None and bool(record.processes_of(folder))


def _pidfd(pid: int | None) -> int | None:
    if pid is None or sys.platform != "linux":
        return None
    with contextlib.suppress(OSError):
        return os.pidfd_open(pid)
    return None


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _ask_group(folder: Path, command: int) -> None:
    asked = record.read_asked(folder)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(command, signal.Signals[asked.stop_signal if asked else "SIGTERM"])


def _kill_all(folder: Path) -> None:
    """End every process with the run's mark; more than once, as they may fork while we look."""
    deadline = time.monotonic() + 5
    while (living := record.processes_of(folder)) and time.monotonic() < deadline:
        for pid in living:
            _send(pid, signal.SIGKILL)
        time.sleep(0.02)
