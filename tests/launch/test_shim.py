from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import workbench
from workbench import PYTHON, is_alive, job, pid_in, wait_until

from gpuplan.launch import folder as record
from gpuplan.launch import shim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.model import Ending

IGNORE_TERM = "trap '' TERM; "


@pytest.fixture
def run_dir(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "run é"
    folder.mkdir()
    yield folder
    workbench.end_all([folder])


def start(folder: Path, *argv: str, attempt: int = 1, **changes: Any) -> subprocess.Popen[bytes]:
    record.write_asked(job(folder, *argv, attempt=attempt, **changes))
    return start_again(folder, attempt)


def start_again(folder: Path, attempt: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", shim.__file__, str(folder), str(attempt)]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "GPUPLAN_RUN_DIR": str(folder)},
    )


def end_of(folder: Path, process: subprocess.Popen[bytes]) -> Ending:
    _, errors = process.communicate(timeout=workbench.LONG_S)
    assert process.returncode == 0, errors
    status = record.read_status(folder)
    assert status is not None
    assert status.ending is not None
    assert (folder / "status.json").stat().st_size == shim.STATUS_BYTES
    return status.ending


def wait_for_command(folder: Path) -> int:
    wait_until(lambda: (status := record.read_status(folder)) and status.command, what="the command")
    status = record.read_status(folder)
    assert status is not None
    assert status.command is not None
    return status.command


@pytest.mark.parametrize("code", [0, 3, 75])
def test_exit_codes_are_recorded(run_dir: Path, code: int) -> None:
    ending = end_of(run_dir, start(run_dir, "sh", "-c", f"exit {code}"))
    assert (ending.exit_code, ending.signal, ending.problem) == (code, None, None)
    assert ending.started_at is not None
    assert ending.ended_at is not None
    assert ending.ended_at >= ending.started_at
    assert not record.is_locked(run_dir)


def test_a_signal_is_recorded(run_dir: Path) -> None:
    ending = end_of(run_dir, start(run_dir, "sh", "-c", "kill -SEGV $$"))
    assert (ending.exit_code, ending.signal, ending.stop_requested) == (None, signal.SIGSEGV, False)


def test_usage_is_that_of_the_largest_process(run_dir: Path) -> None:
    burn = "data = bytearray(90_000_000); sum(range(3_000_000))"
    ending = end_of(run_dir, start(run_dir, "sh", "-c", f"{PYTHON} -c '{burn}'; true"))
    assert ending.peak_process_bytes is not None
    assert 90_000_000 < ending.peak_process_bytes < 400_000_000
    assert ending.cpu_s is not None
    assert ending.cpu_s > 0.01


def test_words_and_variables_arrive_unchanged(run_dir: Path) -> None:
    hostile = ["a b", "'", '"', "$HOME `id`", "new\nline", "ünï\N{SNOWMAN}", "", "-x", "{a}", os.fsdecode(b"\xff\xfe")]
    show = "import os, sys, json; print(json.dumps([sys.argv[1:], os.environ['A'], os.environ.get('HOME')]))"
    variables = {"A": "\n\"' " + hostile[-1], "HOME": None}
    process = start(run_dir, sys.executable, "-c", show, *hostile, environment=variables)
    assert end_of(run_dir, process).exit_code == 0
    assert json.loads((run_dir / "log.txt").read_text().splitlines()[-1]) == [hostile, variables["A"], None]


def test_each_attempt_is_marked_in_one_log(run_dir: Path) -> None:
    for attempt in (1, 2):
        end_of(run_dir, start(run_dir, "sh", "-c", f"echo out {attempt}; echo err {attempt} >&2", attempt=attempt))
    lines = (run_dir / "log.txt").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == [
        *("[gpuplan] attempt 1", "out 1", "err 1"),
        *("[gpuplan] attempt 2", "out 2", "err 2"),
    ]


def test_the_command_has_an_empty_input_and_the_usual_signals(run_dir: Path) -> None:
    end_of(
        run_dir, start(run_dir, "sh", "-c", "cat; grep -E '^Sig(Blk|Ign)' /proc/self/status; readlink /proc/self/fd/0")
    )
    lines = (run_dir / "log.txt").read_text().split("\n", 1)[1].split()
    assert lines[-1] == "/dev/null"
    blocked, ignored = int(lines[1], 16), int(lines[3], 16)
    assert blocked == 0
    assert not ignored & (1 << (signal.SIGPIPE - 1))


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (("no-such-program",), "cannot start 'no-such-program': No such file or directory"),
        (("/etc/passwd",), "cannot start '/etc/passwd': Permission denied"),
        (("printf", "a\0b"), "cannot start 'printf': embedded null byte"),
        ((os.fsdecode(b"\xff"),), r"cannot start '\udcff': No such file or directory"),
    ],
)
def test_a_command_that_cannot_start_is_a_problem(run_dir: Path, argv: tuple[str, ...], problem: str) -> None:
    ending = end_of(run_dir, start(run_dir, *argv))
    assert (ending.problem, ending.exit_code, ending.signal) == (problem, None, None)


def test_a_missing_workdir_is_a_problem(run_dir: Path) -> None:
    ending = end_of(run_dir, start(run_dir, "true", workdir=run_dir / "nowhere"))
    assert ending.problem == f"cannot enter the folder '{run_dir / 'nowhere'}': No such file or directory"


def test_the_time_limit_holds_and_is_recorded(run_dir: Path) -> None:
    ending = end_of(run_dir, start(run_dir, "sleep", "100", timeout_s=0.2))
    assert (ending.timed_out, ending.stop_requested, ending.signal) == (True, False, signal.SIGTERM)


def test_a_run_that_ignores_everything_is_killed_after_its_grace(run_dir: Path) -> None:
    process = start(run_dir, "sh", "-c", f"{IGNORE_TERM} while :; do sleep 1; done", timeout_s=0.2, grace_s=0.2)
    ending = end_of(run_dir, process)
    assert (ending.timed_out, ending.signal) == (True, signal.SIGKILL)


def test_a_stop_sends_the_signal_of_the_program(run_dir: Path) -> None:
    save = "trap 'echo saved; exit 75' USR1; echo ready; while :; do sleep 0.05; done"
    process = start(run_dir, "sh", "-c", save, stop_signal="SIGUSR1")
    wait_until(
        lambda: "ready" in (run_dir / "log.txt").read_text() if (run_dir / "log.txt").exists() else "", what="trap"
    )
    process.terminate()
    ending = end_of(run_dir, process)
    assert (ending.exit_code, ending.stop_requested, ending.timed_out) == (75, True, False)
    assert "saved" in (run_dir / "log.txt").read_text()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_request_ends_at_once(run_dir: Path, second: signal.Signals) -> None:
    process = start(
        run_dir, "sh", "-c", "trap 'echo heard' TERM; echo ready; while :; do sleep 0.05; done", grace_s=600
    )
    log = run_dir / "log.txt"
    wait_until(lambda: log.exists() and "ready" in log.read_text(), what="the trap")
    process.terminate()
    wait_until(lambda: "heard" in log.read_text(), what="the first signal")
    process.send_signal(second)
    ending = end_of(run_dir, process)
    assert (ending.signal, ending.stop_requested) == (signal.SIGKILL, True)


def test_a_wrapped_program_has_its_grace_and_its_exit_code(run_dir: Path) -> None:
    """`sh run.sh` dies of SIGTERM at once; the Python inside saves and leaves with 75."""
    inner = (
        "import signal, sys, time\n"
        "def save(*_):\n    time.sleep(0.3); print('saved', flush=True); sys.exit(75)\n"
        "signal.signal(signal.SIGTERM, save); print('ready', flush=True); time.sleep(100)"
    )
    process = start(run_dir, "sh", "-c", '"$0" -c "$1"; true', sys.executable, inner)
    log = run_dir / "log.txt"
    wait_until(lambda: log.exists() and "ready" in log.read_text(), what="the handler")
    process.terminate()
    ending = end_of(run_dir, process)
    assert (ending.exit_code, ending.signal) == (75, None)
    assert "saved" in log.read_text()


def test_leftovers_are_ended_with_the_command(run_dir: Path) -> None:
    """Also one that moved to a session of its own and ignores SIGTERM."""
    daemon = f'{IGNORE_TERM} echo $$ > "$1"; while :; do sleep 0.1; done'
    process = start(
        run_dir,
        "sh",
        "-c",
        f"setsid sh -c '{daemon.replace(chr(39), chr(34))}' - \"$0\" & "
        'while ! [ -s "$0" ]; do sleep 0.01; done; exit 4',
        str(run_dir / "pid"),
    )
    ending = end_of(run_dir, process)
    assert ending.exit_code == 4
    assert not is_alive(pid_in(run_dir / "pid"))
    assert not record.is_locked(run_dir)


def test_the_lock_is_held_by_the_command_when_the_shim_is_killed(run_dir: Path) -> None:
    process = start(run_dir, "sleep", "100")
    command = wait_for_command(run_dir)
    process.kill()
    process.communicate()
    assert record.is_locked(run_dir)
    status = record.read_status(run_dir)
    assert status is not None
    assert not status.is_shim_alive
    assert status.ending is None
    os.kill(command, signal.SIGKILL)
    wait_until(lambda: not record.is_locked(run_dir), what="the lock let go")


def test_a_killed_command_is_an_end_like_any_other(run_dir: Path) -> None:
    process = start(run_dir, "sleep", "100")
    os.kill(wait_for_command(run_dir), signal.SIGKILL)
    ending = end_of(run_dir, process)
    assert (ending.signal, ending.stop_requested) == (signal.SIGKILL, False)


def test_a_shim_that_comes_late_runs_nothing(run_dir: Path) -> None:
    """It waits for the lock, and finds that another attempt is asked for."""
    lock = record.take_lock(run_dir)
    assert lock is not None
    late = start(run_dir, "touch", str(run_dir / "ran"), attempt=1)
    record.write_asked(job(run_dir, "true", attempt=2))
    os.close(lock)
    late.communicate(timeout=workbench.LONG_S)
    assert late.returncode == shim.SUPERSEDED_EXIT_CODE
    assert not (run_dir / "ran").exists()
    assert not (run_dir / "status.json").exists()


def test_of_two_shims_for_one_attempt_one_runs(run_dir: Path) -> None:
    first = start(run_dir, "sh", "-c", "echo begin; sleep 0.3; echo end")
    wait_for_command(run_dir)
    second = start_again(run_dir, 1)
    second.communicate(timeout=workbench.LONG_S)
    assert second.returncode == shim.SUPERSEDED_EXIT_CODE
    assert end_of(run_dir, first).exit_code == 0
    assert (run_dir / "log.txt").read_text().split()[-2:] == ["begin", "end"]


def test_what_cannot_be_recorded_is_not_started(run_dir: Path) -> None:
    (run_dir / "status.json").symlink_to("/dev/full")
    process = start(run_dir, "touch", str(run_dir / "ran"))
    process.communicate(timeout=workbench.LONG_S)
    assert process.returncode == shim.UNRECORDED_EXIT_CODE
    assert "No space left on device" in (run_dir / "log.txt").read_text()
    assert not (run_dir / "ran").exists()


def test_the_job_is_for_the_owner_only(run_dir: Path) -> None:
    end_of(run_dir, start(run_dir, "true"))
    assert stat.S_IMODE((run_dir / "attempt.json").stat().st_mode) == 0o600


def test_it_is_written_for_python_3_9() -> None:
    source = Path(shim.__file__)
    command = [Path(sys.executable).with_name("ruff"), "check", "--select", "E9,F", "--target-version", "py39", source]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
