"""Runs a program with limits on time, memory and output, and leaves nothing behind. It never reads its results."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Ended", "run_limited"]

MARKER = "GPUPLAN_TRACE"
KEPT_OUTPUT_BYTES = 20_000
CHUNK_BYTES = 1 << 20
LOOK_EVERY_S = 0.05
WEIGH_EVERY_S = 0.25
LAST_WORDS_S = 1.0
KILL_AGAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program came to its end; `stopped` says which limit it met, `output` is the end of what it printed."""

    code: int
    stopped: Literal["time", "memory"] | None
    output: str
    duration_s: float


def run_limited(
    command: Sequence[str],
    *,
    workdir: Path,
    variables: Mapping[str, str],
    timeout_s: float,
    memory_limit_bytes: int,
    last_words: Callable[[], bool],
) -> Ended:
    """Run `command` and all that it starts, at most that long and that large.

    A program that has to be stopped is sent SIGUSR2 first, so that it can say where it is: `last_words` tells when it
    did. Raises OSError if it cannot be started.
    """
    marker = uuid.uuid4().hex
    started = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=workdir,
        env={**os.environ, **variables, MARKER: marker},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    output = bytearray()
    assert process.stdout is not None
    try:
        stopped = _watch(process, output, deadline=started + timeout_s, memory_limit_bytes=memory_limit_bytes)
        if stopped:
            _ask_where(process, last_words)
    finally:
        _end_all(process, marker)
        _read(process.stdout, output, wait_s=0)
        process.stdout.close()
    return Ended(process.wait(), stopped, output.decode("utf-8", "replace"), time.monotonic() - started)


def _watch(
    process: subprocess.Popen[bytes], output: bytearray, *, deadline: float, memory_limit_bytes: int
) -> Literal["time", "memory"] | None:
    """Wait for the end, or for the first limit."""
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    weighed = 0.0
    while process.poll() is None:
        _read(process.stdout, output, wait_s=LOOK_EVERY_S)
        now = time.monotonic()
        if now > deadline:
            return "time"
        if now > weighed + WEIGH_EVERY_S:
            weighed = now
            if _memory_bytes(process.pid) > memory_limit_bytes:
                return "memory"
    return None


def _read(stdout: IO[bytes], output: bytearray, *, wait_s: float) -> None:
    """Take what was printed and keep its end: a program may print more than fits anywhere."""
    ready, _, _ = select.select([stdout], [], [], wait_s)
    if not ready:
        return
    try:
        chunk = os.read(stdout.fileno(), CHUNK_BYTES)
    except BlockingIOError:
        return
    if not chunk:
        time.sleep(wait_s)  # it closed its output but runs on
    output += chunk
    del output[:-KEPT_OUTPUT_BYTES]


def _ask_where(process: subprocess.Popen[bytes], last_words: Callable[[], bool]) -> None:
    for pid in _session(process.pid):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGUSR2)
    deadline = time.monotonic() + LAST_WORDS_S
    while time.monotonic() < deadline and process.poll() is None and not last_words():
        time.sleep(LOOK_EVERY_S)


def _end_all(process: subprocess.Popen[bytes], marker: str) -> None:
    """Kill until none is left, those that moved to another session too: they still carry the marker."""
    deadline = time.monotonic() + KILL_AGAIN_S
    while time.monotonic() < deadline:
        left = _marked(marker)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if process.poll() is not None and not left:
            return
        time.sleep(LOOK_EVERY_S / 5)


def _memory_bytes(session: int) -> int:
    """What all processes of a session hold, shared pages counted once; 0 where the system does not tell."""
    return sum(_proportional_bytes(pid) for pid in _session(session))


def _proportional_bytes(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _session(leader: int) -> list[int]:
    return [pid for pid in _processes() if _session_of(pid) == leader]


def _processes() -> list[int]:
    try:
        return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    except OSError:
        return []


def _session_of(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[3]) if fields and fields[0] != "Z" else None


def _marked(marker: str) -> list[int]:
    needle = f"{MARKER}={marker}".encode()
    return [pid for pid in _processes() if needle in _environment_of(pid)]


def _environment_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
