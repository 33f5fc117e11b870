"""Real processes, sampled: their memory, what they share, their sessions, their end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from gpuplan.model import Device
from gpuplan.observe import processes
from gpuplan.observe.processes import parse_stat, sample, tree
from gpuplan.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

HOLD = "print('ready', flush=True); sys.stdin.read()"


@contextlib.contextmanager
def running(code: str) -> Iterator[int]:
    """A Python process, leader of its session, that has done `code` and waits; its tree ends with the test."""
    command = [sys.executable, "-c", f"import os, subprocess, sys, time\n{code}\n{HOLD}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == b"ready\n"
            yield child.pid
        finally:
            for process in tree(child.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)


def test_memory_of_one_process() -> None:
    with running("pass") as small:
        base_bytes = sample(small, now=1.0).host_bytes
    with running("block = bytearray(os.urandom(1)) * (200 * 2**20)") as large:
        found = sample(large, now=2.0)
    assert found.at == 2.0
    assert found.processes == 1
    assert 195 * MIB <= found.host_bytes - base_bytes <= 215 * MIB
    assert found.device_bytes is None
    assert found.device_busy is None


def test_forked_processes_share_what_their_parent_had() -> None:
    code = "block = bytearray(b'x') * (100 * 2**20)\nfor _ in range(3):\n  if os.fork() == 0: time.sleep(600)"
    with running(code) as root:
        found = sample(root, now=0.0)
    assert found.processes == 4
    assert 100 * MIB <= found.host_bytes <= 150 * MIB


def test_what_a_forked_process_adds_counts() -> None:
    code = (
        "block = bytearray(b'x') * (50 * 2**20)\nread, write = os.pipe()\n"
        "if os.fork() == 0:\n  more = bytearray(b'y') * (80 * 2**20); os.write(write, b'1'); time.sleep(600)\n"
        "os.read(read, 1)"
    )
    with running(code) as root:
        assert 130 * MIB <= sample(root, now=0.0).host_bytes <= 180 * MIB


def test_programs_of_their_own_count_in_full_but_libraries_once() -> None:
    child = "import sys; block = bytearray(b'x') * (60 * 2**20); print(flush=True); sys.stdin.read()"
    options = "stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True"
    code = (
        f"children = [subprocess.Popen([sys.executable, '-c', {child!r}], {options}) for _ in range(2)]\n"
        "for child in children: child.stdout.readline()"
    )
    with running(code) as root:
        found = sample(root, now=0.0)
    assert found.processes == 3
    assert 120 * MIB <= found.host_bytes <= 190 * MIB


def test_sessions_of_their_own_belong_to_the_tree() -> None:
    inner = "import subprocess, time; subprocess.Popen(['sleep', '600']); print(flush=True); time.sleep(600)"
    code = (
        f"inner = {inner!r}\n"
        "worker = subprocess.Popen([sys.executable, '-c', inner], stdout=subprocess.PIPE, start_new_session=True)\n"
        "worker.stdout.readline()"
    )
    with running(code) as root:
        found = tree(root)
    assert len(found) == 3
    assert len({process.session for process in found}) == 2


def test_orphans_are_found_by_their_session() -> None:
    shell = subprocess.Popen(
        ["/bin/sh", "-c", "sleep 600 & echo $!"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert shell.stdout is not None
    orphan = int(shell.stdout.readline())
    shell.stdout.close()
    shell.wait()
    try:
        assert [process.pid for process in tree(shell.pid)] == [orphan]
    finally:
        os.kill(orphan, signal.SIGKILL)


def test_our_own_session_does_not_belong_to_a_child() -> None:
    with subprocess.Popen(["sleep", "600"]) as child:
        assert [process.pid for process in tree(child.pid)] == [child.pid]
        child.kill()


def test_cpu_seconds_also_of_children_that_ended() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    with running(f"subprocess.run([sys.executable, '-c', {burn!r}])") as root:
        assert 0.25 <= sample(root, now=0.0).cpu_s <= 3


def test_a_zombie_is_no_process() -> None:
    with running("child = os.fork()\nif child == 0: os._exit(0)") as root:
        deadline = time.monotonic() + 30
        while sample(root, now=0.0).processes > 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert sample(root, now=0.0).processes == 1
        assert len(tree(root)) == 2


def test_a_run_that_has_ended_uses_nothing() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    found = sample(child.pid, now=3.0)
    assert (found.processes, found.host_bytes, found.cpu_s) == (0, 0, 0)


def test_a_share_of_the_cpu_has_no_device_figures() -> None:
    found = sample(os.getpid(), [Device(index=0, gpu="cpu", memory_bytes=1)], now=0.0)
    assert found.device_bytes is None
    assert found.host_bytes > MIB


def test_processes_that_vanish_between_two_reads_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    monkeypatch.setattr(processes, "_names", lambda: [str(gone.pid), str(os.getpid()), "self", "²"])
    assert {process.pid for process in tree(os.getpid())} == {os.getpid()}


@pytest.mark.parametrize("content", [b"", b"1 (a) S", b"x (a) S 1 1 1", b"1 (a", b"\xff" * 100])
def test_broken_stat_lines_are_no_process(content: bytes) -> None:
    assert parse_stat(content) is None


def test_a_name_may_hold_anything() -> None:
    fields = b"S 2 3 4 0 -1 4194304 102 0 0 0 100 50 30 20 20 0 1 0 80082 3133440 416 18446744073709551615 5 6 7"
    found = parse_stat(b"4592 (a) S 9 (9) x) " + fields)
    assert found is not None
    assert (found.pid, found.parent, found.session, found.state, found.stack) == (4592, 2, 4, "S", 7)
    assert found.cpu_s == pytest.approx(200 / os.sysconf("SC_CLK_TCK"))
