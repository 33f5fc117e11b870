"""The run folder as a record: who holds it, what its shim wrote, where an old one goes. It starts and ends nothing.

`lock` is held as long as a process of the run lives, `attempt.json` is the newest attempt asked for, `status.json`
what its shim saw.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gpuplan.errors import UserError
from gpuplan.launch import shim
from gpuplan.model import Ending

if TYPE_CHECKING:
    from gpuplan.launch.base import Job

__all__ = [
    "Asked",
    "Status",
    "archive_place",
    "is_locked",
    "processes_of",
    "read_asked",
    "read_status",
    "run_folder",
    "take_lock",
    "write_asked",
]

MARK = "GPUPLAN_RUN_DIR"


class Asked(NamedTuple):
    """The newest attempt that gpuplan asked for."""

    key: str
    attempt: int
    stop_signal: str


class Status(NamedTuple):
    """What the shim recorded of an attempt; `ending` is None until the last process is gone."""

    key: str
    attempt: int
    pid: int
    command: int | None
    started_at: float
    is_shim_alive: bool
    ending: Ending | None


def run_folder(state: Path, name: str) -> Path:
    """Where a run lives. Refuses a name or a link that leads out of the state folder."""
    runs = (state / "runs").resolve()
    folder = runs / name
    if folder.parent != runs or name == ".." or folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UserError(
            f"{folder} cannot be the folder of run {name!r}",
            hint="it has to be a folder of its own inside the state folder, not a link or a file: move it away",
        )
    return folder


def take_lock(folder: Path) -> int | None:
    """The run's lock as an open descriptor, or None if a process of the run lives."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_locked(folder: Path) -> bool:
    """Whether a process lives that inherited the run's lock."""
    if not (folder / "lock").exists():
        return False
    descriptor = take_lock(folder)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


def processes_of(folder: Path) -> list[int]:
    """Living processes that carry the run's mark in their environment; it stays when descriptors are closed."""
    mark = f"{MARK}={folder}".encode(errors="surrogateescape")
    return [pid for pid in _pids() if mark in _environment(pid)]


def _pids() -> list[int]:
    proc = Path("/proc")
    return [int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()] if proc.is_dir() else []


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def write_asked(job: Job) -> None:
    """Leave the job for the shim; the file is complete or the old one. It may hold secrets: only the owner reads it."""
    asked = {
        "key": job.key,
        "attempt": job.attempt,
        "argv": job.argv,
        "cwd": str(job.workdir),
        "environment": {**job.environment, MARK: str(job.folder)},
        "log": str(job.folder / "log.txt"),
        "stop_signal": job.stop_signal,
        "grace_s": job.grace_s,
        "timeout_s": job.timeout_s,
    }
    new = job.folder / "attempt.json.new"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asked, file)
    new.replace(job.folder / "attempt.json")


def read_asked(folder: Path) -> Asked | None:
    """The newest attempt asked for, or None if there is none that can be read."""
    found = _object(folder / "attempt.json")
    try:
        return Asked(str(found["key"]), int(found["attempt"]), str(found["stop_signal"]))
    except (KeyError, TypeError, ValueError):
        return None


def read_status(folder: Path) -> Status | None:
    """What the newest shim recorded, or None if no command ever started here."""
    found = _object(folder / "status.json", limit=shim.STATUS_BYTES)
    try:
        return Status(
            key=str(found["key"]),
            attempt=int(found["attempt"]),
            pid=int(found["pid"]),
            command=found.get("command"),
            started_at=float(found["started_at"]),
            is_shim_alive=_is_alive(int(found["pid"]), boot=found["boot"], ticks=found["ticks"]),
            ending=_ending(found) if found["state"] == "ended" else None,
        )
    except (KeyError, TypeError, ValueError):
        return None


def _is_alive(pid: int, *, boot: object, ticks: object) -> bool:
    """Whether the process lives, and is not another one that has its number now. Only Linux tells the difference."""
    if ticks is not None:
        return boot == shim.boot_id() and shim.start_ticks(pid) == ticks
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _ending(found: dict[str, Any]) -> Ending:
    return Ending.model_validate({name: found[name] for name in Ending.model_fields})


def _object(path: Path, *, limit: int = -1) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(limit))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def archive_place(state: Path, name: str) -> Path:
    """Where the folder of a run of old would go: `archive/<name>.<n>`, the first that is free."""
    old = state.resolve() / "archive"
    taken = [int(path.name.rpartition(".")[2]) for path in old.glob(f"{name}.*") if _is_numbered(path.name, name)]
    return old / f"{name}.{max(taken, default=0) + 1}"


def _is_numbered(found: str, name: str) -> bool:
    return re.fullmatch(re.escape(name) + r"\.[0-9]+", found) is not None
