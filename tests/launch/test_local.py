from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import workbench
from workbench import is_alive, job, pid_in, wait_until

from gpuplan.errors import UserError
from gpuplan.launch import folder as record
from gpuplan.launch import shim
from gpuplan.launch.base import Ended, Handle, Lost, Running
from gpuplan.launch.local import LocalLauncher

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gpuplan.launch.base import Sight
    from gpuplan.model import Ending

FOREVER = "while :; do sleep 0.05; done"
CLOSES_ALL = (
    "import os, sys, time\n"
    "if os.fork(): time.sleep(100)\n"
    "os.setsid()\nos.closerange(0, 200)\n"
    "with open(sys.argv[1], 'w') as file: file.write(str(os.getpid()))\n"
    "time.sleep(100)"
)


@pytest.fixture
def run_dir(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "run"
    yield folder
    workbench.end_all([folder])


@pytest.fixture
def launcher() -> Iterator[LocalLauncher]:
    made = LocalLauncher()
    yield made
    for process in made.shims.values():
        process.kill()
        process.wait()


def submit(launcher: LocalLauncher, folder: Path, *argv: str, **changes: Any) -> Handle:
    handle = launcher.submit(job(folder, *argv, **changes))
    assert handle is not None
    return handle


def sight(launcher: LocalLauncher, handle: Handle) -> Sight:
    return launcher.poll([handle])[handle]


def settled(launcher: LocalLauncher, handle: Handle) -> Sight:
    wait_until(lambda: not isinstance(sight(launcher, handle), Running), what="the end")
    return sight(launcher, handle)


def ending(launcher: LocalLauncher, handle: Handle) -> Ending:
    found = settled(launcher, handle)
    assert isinstance(found, Ended)
    return found.ending


def running_command(folder: Path, *, attempt: int = 1) -> int:
    def command() -> int | None:
        status = record.read_status(folder)
        return status.command if status and status.attempt == attempt else None

    wait_until(command, what="the command")
    found = command()
    assert found is not None
    return found


def stop(launcher: LocalLauncher, handle: Handle, *, now: bool = False) -> None:
    wait_until(lambda: launcher.request_stop(handle, now=now), what="a shim that listens")


def test_a_job_runs_to_its_end(launcher: LocalLauncher, run_dir: Path) -> None:
    handle = submit(launcher, run_dir, "sh", "-c", "exit 7")
    assert ending(launcher, handle).exit_code == 7
    assert isinstance(sight(launcher, handle), Ended)
    assert launcher.shims == {}


def test_what_runs_is_seen_running(launcher: LocalLauncher, run_dir: Path) -> None:
    handle = submit(launcher, run_dir, "sh", "-c", FOREVER)
    assert isinstance(sight(launcher, handle), Running)
    running_command(run_dir)
    found = sight(launcher, handle)
    assert isinstance(found, Running)
    assert found.pid == launcher.shims[handle].pid
    assert found.started_at is not None
    stop(launcher, handle)
    assert ending(launcher, handle).stop_requested


def test_nothing_is_started_twice_at_a_time(launcher: LocalLauncher, run_dir: Path) -> None:
    handle = submit(launcher, run_dir, "sh", "-c", FOREVER)
    assert LocalLauncher().submit(job(run_dir, "touch", "twice", attempt=2)) is None
    assert record.read_asked(run_dir) == record.Asked("k1", 1, "SIGTERM")
    stop(launcher, handle, now=True)
    assert ending(launcher, handle).signal == signal.SIGKILL
    assert ending(launcher, submit(launcher, run_dir, "true", attempt=2)).exit_code == 0


def test_another_gpuplan_takes_a_run_up(launcher: LocalLauncher, run_dir: Path) -> None:
    started = submit(launcher, run_dir, "sh", "-c", "trap 'exit 75' TERM; touch ready; " + FOREVER)
    wait_until((run_dir.parent / "ready").exists, what="the trap")
    later = LocalLauncher()
    handle = later.adopt("run", run_dir)
    assert handle == started
    assert isinstance(sight(later, started), Running)
    assert later.request_stop(started)
    assert ending(later, started).exit_code == 75
    assert ending(launcher, started).exit_code == 75


def test_there_is_nothing_to_adopt_in_an_empty_folder(launcher: LocalLauncher, run_dir: Path) -> None:
    assert launcher.adopt("run", run_dir) is None
    run_dir.mkdir()
    (run_dir / "attempt.json").write_text("{tru")
    (run_dir / "status.json").write_bytes(b"\xff" * shim.STATUS_BYTES)
    assert launcher.adopt("run", run_dir) is None


def test_an_attempt_that_was_only_asked_for_is_lost_unstarted(launcher: LocalLauncher, run_dir: Path) -> None:
    """gpuplan was killed between the two."""
    run_dir.mkdir()
    record.write_asked(job(run_dir, "true", attempt=4))
    handle = launcher.adopt("run", run_dir)
    assert handle == Handle("run", "k1", 4, run_dir)
    assert sight(launcher, handle) == Lost(None)


def test_an_end_from_before_is_found(launcher: LocalLauncher, run_dir: Path) -> None:
    ending(launcher, submit(launcher, run_dir, "false"))
    later = LocalLauncher()
    handle = later.adopt("run", run_dir)
    assert handle is not None
    assert ending(later, handle).exit_code == 1


def test_a_run_outlives_its_shim_and_is_then_lost(launcher: LocalLauncher, run_dir: Path) -> None:
    handle = submit(launcher, run_dir, "sh", "-c", FOREVER)
    command = running_command(run_dir)
    launcher.shims[handle].kill()
    launcher.shims[handle].wait()
    found = sight(launcher, handle)
    assert isinstance(found, Running)
    assert found.pid == command
    assert launcher.submit(job(run_dir, "touch", "twice", attempt=2)) is None
    assert launcher.request_stop(handle)
    lost = settled(launcher, handle)
    assert isinstance(lost, Lost)
    assert lost.started_at is not None
    assert not is_alive(command)


def test_all_of_a_run_without_a_shim_is_killed(launcher: LocalLauncher, run_dir: Path) -> None:
    deaf = f"trap '' TERM; (trap '' TERM; {FOREVER}) & {FOREVER}"
    handle = submit(launcher, run_dir, "sh", "-c", deaf)
    running_command(run_dir)
    wait_until(lambda: len(record.processes_of(run_dir)) >= 3, what="the shells")
    launcher.shims[handle].kill()
    launcher.shims[handle].wait()
    assert launcher.request_stop(handle, now=True)
    assert isinstance(settled(launcher, handle), Lost)
    assert record.processes_of(run_dir) == []


def test_what_lost_shim_and_lock_is_still_a_running_run(launcher: LocalLauncher, run_dir: Path, tmp_path: Path) -> None:
    """A daemon that closed all it inherited is found by its environment."""
    handle = submit(launcher, run_dir, sys.executable, "-c", CLOSES_ALL, str(tmp_path / "pid"))
    daemon = pid_in(tmp_path / "pid")
    launcher.shims[handle].kill()
    launcher.shims[handle].wait()
    os.kill(running_command(run_dir), signal.SIGKILL)
    wait_until(lambda: not record.is_locked(run_dir), what="the lock let go")
    assert is_alive(daemon)
    assert isinstance(sight(launcher, handle), Running)
    assert launcher.submit(job(run_dir, "true", attempt=2)) is None
    os.kill(daemon, signal.SIGKILL)
    assert isinstance(settled(launcher, handle), Lost)


def test_a_stop_before_the_start_is_asked_again(launcher: LocalLauncher, run_dir: Path) -> None:
    handle = Handle("run", "k1", 1, run_dir)
    assert not launcher.request_stop(handle)


def test_a_pid_of_another_process_is_not_signalled(launcher: LocalLauncher, run_dir: Path) -> None:
    """After a restart of the machine the recorded pid may be anybody's."""
    handle = submit(launcher, run_dir, "true")
    ending(launcher, handle)
    text = (run_dir / "status.json").read_text()
    status = record.read_status(run_dir)
    assert status is not None
    running = text.replace('"ended"', '"running"').replace(f'"pid": {status.pid},', f'"pid": {os.getpid()},')
    (run_dir / "status.json").write_text(running)
    found = record.read_status(run_dir)
    assert found is not None
    assert found.pid == os.getpid()
    assert not found.is_shim_alive
    launcher.request_stop(handle)
    launcher.request_stop(handle, now=True)
    assert isinstance(sight(launcher, handle), Lost)


def test_waiting_ends_with_the_run(launcher: LocalLauncher, run_dir: Path) -> None:
    handle = submit(launcher, run_dir, "sh", "-c", "sleep 0.2")
    before = time.monotonic()
    launcher.wait([handle], timeout_s=workbench.LONG_S)
    assert time.monotonic() - before < workbench.LONG_S / 2
    later = LocalLauncher()
    adopted = submit(launcher, run_dir, "sh", "-c", "sleep 0.2", attempt=2)
    running_command(run_dir, attempt=2)
    before = time.monotonic()
    later.wait([adopted], timeout_s=workbench.LONG_S)
    assert time.monotonic() - before < workbench.LONG_S / 2
    assert ending(launcher, adopted).exit_code == 0


def test_a_disk_where_the_start_cannot_be_recorded_is_an_error(launcher: LocalLauncher, run_dir: Path) -> None:
    run_dir.mkdir()
    (run_dir / "status.json").symlink_to("/dev/full")
    handle = submit(launcher, run_dir, "touch", "ran")
    with pytest.raises(UserError, match="could not be recorded") as raised:
        settled(launcher, handle)
    assert "run the same command again" in (raised.value.hint or "")
    assert not (run_dir.parent / "ran").exists()


def test_a_folder_that_cannot_be_written_is_an_error(launcher: LocalLauncher, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to"):
        launcher.submit(job(tmp_path / "file" / "run", "true"))


@pytest.mark.slow
def test_torchrun_passes_the_signal_on_to_its_workers(launcher: LocalLauncher, tmp_path: Path, run_dir: Path) -> None:
    """They run in sessions of their own; torchrun dies of SIGUSR1 if it is not told to pass it on."""
    pytest.importorskip("torch")
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import os, signal, sys, time, pathlib\n"
        "def save(*_):\n"
        "    time.sleep(0.5); pathlib.Path(f'saved{os.environ[\"RANK\"]}').touch(); sys.exit(75)\n"
        "signal.signal(signal.SIGUSR1, save)\n"
        "pathlib.Path(f'ready{os.environ[\"RANK\"]}').touch()\n"
        "time.sleep(100)\n"
    )
    handle = submit(
        launcher,
        run_dir,
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(worker)),
        stop_signal="SIGUSR1",
        environment={
            "GPUPLAN_RUN_DIR": str(run_dir),
            "PET_SIGNALS_TO_HANDLE": "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1",
        },
    )
    wait_until(lambda: all((tmp_path / f"ready{rank}").exists() for rank in (0, 1)), what="both workers")
    stop(launcher, handle)
    assert ending(launcher, handle).stop_requested
    assert all((tmp_path / f"saved{rank}").exists() for rank in (0, 1))
    assert record.processes_of(run_dir) == []
