"""Real processes under limits of time, memory and output."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from gpuplan.trace.process import Ended, run_limited
from gpuplan.units import GIB, MIB


def run(code: str, *, timeout_s: float = 60.0, memory_limit_bytes: int = GIB) -> Ended:
    return run_limited(
        [sys.executable, "-c", code],
        workdir=Path(),
        variables={"ANSWER": "42"},
        timeout_s=timeout_s,
        memory_limit_bytes=memory_limit_bytes,
        last_words=lambda: False,
    )


def test_what_a_program_prints_and_how_it_ends() -> None:
    ended = run("import os, sys; print(os.environ['ANSWER']); print('err', file=sys.stderr); sys.exit(3)")
    assert (ended.code, ended.stopped) == (3, None)
    assert "42" in ended.output
    assert "err" in ended.output


def test_it_reads_nothing_from_the_terminal() -> None:
    assert "EOFError" in run("input()").output


def test_only_the_end_of_a_long_output_is_kept() -> None:
    ended = run("import sys\nfor _ in range(200): sys.stdout.write('x' * 1_000_000)\nprint('the end')")
    assert ended.code == 0
    assert ended.output.endswith("the end\n")
    assert len(ended.output) < 100_000


def test_a_program_that_closes_its_output_runs_on() -> None:
    assert run("import os, time; os.close(1); os.close(2); time.sleep(1); os._exit(7)").code == 7


def test_time_is_limited() -> None:
    ended = run("import time; print('started', flush=True); time.sleep(1000)", timeout_s=1.0)
    assert ended.stopped == "time"
    assert ended.code < 0


def test_memory_is_limited() -> None:
    ended = run("kept = [b'x' * 1_000_000 for _ in range(100_000)]", memory_limit_bytes=200 * MIB)
    assert ended.stopped == "memory"


def test_nothing_that_it_started_is_left(tmp_path: Path) -> None:
    """A grandchild in a session of its own, whose parent is gone."""
    pid = tmp_path / "pid"
    run(
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        f"        open({str(pid)!r}, 'w').write(str(os.getpid()))\n"
        "        time.sleep(1000)\n"
        "    os._exit(0)\n"
        f"while not os.path.exists({str(pid)!r}) or not open({str(pid)!r}).read(): time.sleep(0.01)\n"
    )
    deadline = time.monotonic() + 30
    while is_alive(int(pid.read_text())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(int(pid.read_text()))


def test_a_program_that_cannot_be_started() -> None:
    with pytest.raises(FileNotFoundError):
        run_limited(
            ["/no/such/program"],
            workdir=Path(),
            variables={},
            timeout_s=1,
            memory_limit_bytes=GIB,
            last_words=lambda: False,
        )


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:1]
