from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import workbench
from workbench import ByExitCode, plan, run, site, wait_until

from gpuplan.errors import UserError
from gpuplan.launch import Conducted, Event, Interrupts, LocalLauncher, conduct, conductor_pid
from gpuplan.launch import folder as record_of
from gpuplan.launch.claim import sole_conductor
from gpuplan.launch.prepare import make_state
from gpuplan.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gpuplan.model import Plan, RunRecord

FOREVER = "while :; do sleep 0.05; done"
LEAVES_ONCE = "if [ -e left ]; then echo done; else touch left; exit 75; fi"


class Bench:
    """A state folder with its store, and what was said."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.state = base / ".gpuplan"
        self.store = Store(self.state / "store.db")
        self.launcher = LocalLauncher()
        self.events: list[Event] = []

    def conduct(self, chosen: Plan, **changes: Any) -> Conducted:
        values: dict[str, Any] = {
            "launcher": self.launcher,
            "store": self.store,
            "observer": ByExitCode(),
            "on_event": self.events.append,
            "poll_s": 0.05,
            "sample_s": 0.1,
        }
        return conduct(site(self.base, chosen), **(values | changes))

    def record(self, name: str) -> RunRecord:
        found = self.store.record("sweep", name)
        assert found is not None
        return found

    def folder(self, name: str) -> Path:
        return self.state / "runs" / name

    def said(self, what: str) -> list[str | None]:
        return [event.run for event in self.events if event.what == what]

    def later(self, condition: Callable[[], object], then: Callable[[], object]) -> threading.Thread:
        """Do something as soon as a condition holds, while `conduct` has the main thread."""

        def act() -> None:
            wait_until(condition, what="the moment to act")
            then()

        thread = threading.Thread(target=act)
        thread.start()
        return thread

    def clear(self) -> None:
        self.store.close()
        for process in self.launcher.shims.values():
            process.kill()
            process.wait()
        workbench.end_all((self.state / "runs").iterdir() if (self.state / "runs").exists() else [])


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.clear()


def test_a_plan_is_carried_out_and_recorded(bench: Bench) -> None:
    made = plan(bench.base, [run("good", "sh -c 'echo hello; sleep 0.4'"), run("bad", "sh -c 'exit 3'")])
    done = bench.conduct(made)
    assert done == Conducted({"good": "finished", "bad": "crashed"}, (), {}, None, interrupted=False)
    good = bench.record("good")
    assert (good.attempt, good.devices, good.folder) == (1, (0,), str(bench.folder("good")))
    assert good.ending is not None
    assert good.ending.exit_code == 0
    assert good.provenance is not None
    assert good.provenance.argv == ("sh", "-c", "echo hello; sleep 0.4")
    assert (good.started_at, good.ended_at) == (good.ending.started_at, good.ending.ended_at)
    assert "hello" in (bench.folder("good") / "log.txt").read_text()
    assert bench.store.samples("sweep", "good", attempt=1)
    assert bench.said("started") == bench.said("ended") == ["good", "bad"]
    assert [event.what for event in bench.store.events("sweep")][-1] == "attempt 1 ended, crashed: crashed"


def test_finished_runs_are_not_run_again_and_failed_ones_are(bench: Bench) -> None:
    made = plan(bench.base, [run("good", "sh -c 'echo x >> good'"), run("bad", "sh -c 'echo x >> bad; exit 1'")])
    bench.conduct(made)
    again = bench.conduct(made)
    assert again.skipped == ("good",)
    assert again.states == {"good": "finished", "bad": "crashed"}
    assert (bench.base / "good").read_text() == "x\n"
    assert (bench.base / "bad").read_text() == "x\nx\n"
    assert bench.record("bad").attempt == 2


def test_a_grown_sweep_runs_only_what_is_new(bench: Bench) -> None:
    first = run("a", "sh -c 'echo a >> ran'")
    bench.conduct(plan(bench.base, [first]))
    bench.conduct(plan(bench.base, [first, run("b", "sh -c 'echo b >> ran'")]))
    assert (bench.base / "ran").read_text().split() == ["a", "b"]


def test_devices_are_used_to_the_letter_of_the_plan(bench: Bench) -> None:
    """a and c share device 0, b has device 1, d both: then a and b overlap, c follows a, d comes last."""
    mark = 'sh -c \'echo "$0 begin" >> ran; sleep 0.3; echo "$0 end" >> ran\' '
    runs = [run(name, mark + name) for name in "abcd"]
    bench.conduct(plan(bench.base, runs, devices={"a": (0,), "b": (1,), "c": (0,), "d": (0, 1)}))
    ran = (bench.base / "ran").read_text().splitlines()
    assert set(ran[:2]) == {"a begin", "b begin"}
    assert ran.index("a end") < ran.index("c begin")
    assert ran[-2:] == ["d begin", "d end"]
    assert max(ran.index("b end"), ran.index("c end")) < ran.index("d begin")


def test_stages_follow_one_another(bench: Bench) -> None:
    runs = [run("late", "sh -c 'cat first'", stage="two"), run("early", "sh -c 'sleep 0.3; touch first'", stage="one")]
    spec: Any = {"stages": [{"name": "one"}, {"name": "two"}]}
    done = bench.conduct(plan(bench.base, runs, devices={"late": (1,), "early": (0,)}, **spec))
    assert done.states == {"late": "finished", "early": "finished"}


def test_a_run_that_leaves_to_try_again_is_resumed(bench: Bench) -> None:
    save = (
        'if [ "$1" = --resume ]; then cp "$2" resumed; else echo weights > $GPUPLAN_RUN_DIR/checkpoint-1; exit 75; fi'
    )
    done = bench.conduct(plan(bench.base, [run("a", f"sh -c '{save}' sh")]))
    assert done.states == {"a": "finished"}
    assert (bench.base / "resumed").read_text() == "weights\n"
    assert [one.state for one in bench.store.attempts("sweep", "a")] == ["preempted", "finished"]
    assert bench.said("again") == ["a"]


def test_a_run_that_only_ever_leaves_at_once_is_left_alone(bench: Bench) -> None:
    done = bench.conduct(plan(bench.base, [run("a", "sh -c 'exit 75'")]))
    assert done.states == {"a": "preempted"}
    assert bench.record("a").attempt == 3


def test_a_run_may_be_refused(bench: Bench) -> None:
    made = plan(bench.base, [run("a", "true"), run("dear", "touch ran"), run("b", "true")])
    done = bench.conduct(made, may_start=lambda one: "over budget" if one.name == "dear" else None)
    assert done.held == {"dear": "over budget"}
    assert done.states == {"a": "finished", "dear": "waiting", "b": "finished"}
    assert not (bench.base / "ran").exists()


def test_the_first_failures_of_one_kind_stop_the_rest(bench: Bench) -> None:
    made = plan(bench.base, [run(f"r{number}", "sh -c 'exit 9'") for number in range(10)])
    done = bench.conduct(made)
    assert done.brake == "the first 3 runs all failed at once: crashed"
    assert list(done.states.values()) == ["crashed"] * 3 + ["waiting"] * 7
    assert bench.said("braked") == [None]


@pytest.mark.parametrize("codes", ["9 9 0", "0 9 9", "9 8 9"])
def test_other_failures_do_not(bench: Bench, codes: str) -> None:
    made = plan(bench.base, [run(f"r{i}", f"sh -c 'exit {code}'") for i, code in enumerate([*codes.split(), "9", "9"])])
    done = bench.conduct(made)
    assert done.brake is None
    assert "waiting" not in done.states.values()


def test_a_command_that_does_not_exist_is_an_outcome(bench: Bench) -> None:
    done = bench.conduct(plan(bench.base, [run("a", "no-such-program")]))
    assert done.states == {"a": "crashed"}
    ending = bench.record("a").ending
    assert ending is not None
    assert ending.problem == "cannot start 'no-such-program': No such file or directory"


# ---------------------------------------------------------------- losses


def test_a_run_whose_shim_dies_is_run_again(bench: Bench) -> None:
    once = f"echo x >> ran; if [ $(wc -l < ran) = 1 ]; then {FOREVER}; fi"

    def end_all_of_it() -> None:
        for pid in record_of.processes_of(bench.folder("a")):
            os.kill(pid, 9)

    def started() -> bool:
        return (bench.base / "ran").exists()

    def kill_shim_then_command() -> None:
        status = record_of.read_status(bench.folder("a"))
        assert status is not None
        os.kill(status.pid, 9)
        end_all_of_it()

    thread = bench.later(started, kill_shim_then_command)
    done = bench.conduct(plan(bench.base, [run("a", f"sh -c '{once}'")]))
    thread.join()
    assert done.states == {"a": "finished"}
    assert (bench.base / "ran").read_text() == "x\nx\n"
    assert [one.state for one in bench.store.attempts("sweep", "a")] == ["lost", "finished"]


def test_a_run_is_lost_after_three_attempts_and_forgiven_when_asked_again(bench: Bench) -> None:
    """It kills its own shim, and so leaves no word."""
    made = plan(bench.base, [run("a", "sh -c 'echo x >> ran; kill -9 $PPID'")])
    for attempts in (3, 6):
        assert bench.conduct(made).states == {"a": "lost"}
        assert len((bench.base / "ran").read_text().split()) == attempts


def test_a_shim_that_never_comes_to_start_the_command_is_given_up(bench: Bench) -> None:
    done = bench.conduct(plan(bench.base, [run("a", "touch ran")]), launcher=LocalLauncher(python="/bin/false"))
    assert done.states == {"a": "crashed"}
    ending = bench.record("a").ending
    assert ending is not None
    assert "was killed before it could" in (ending.problem or "")
    assert not (bench.base / "ran").exists()


# ---------------------------------------------------------------- interruption


def interrupted(bench: Bench, made: Plan, *, times: int = 1, when: Callable[[], object]) -> Conducted:
    asked = Interrupts()

    def ask() -> None:
        for _ in range(times):
            asked.request()

    thread = bench.later(when, ask)
    try:
        return bench.conduct(made, interrupts=asked)
    finally:
        thread.join()


def test_an_interrupt_lets_runs_checkpoint_and_starts_no_more(bench: Bench) -> None:
    saves = f'trap "touch saved; exit 75" TERM; touch ready; {FOREVER}'
    made = plan(bench.base, [run("a", f"sh -c '{saves}'"), run("b", "touch ran")])
    done = interrupted(bench, made, when=(bench.base / "ready").exists)
    assert done.interrupted
    assert done.states == {"a": "preempted", "b": "waiting"}
    assert (bench.base / "saved").exists()
    assert not (bench.base / "ran").exists()
    again = bench.conduct(plan(bench.base, [run("a", "true", key="key-a"), run("b", "true")]))
    assert again.states == {"a": "finished", "b": "finished"}
    assert bench.record("a").attempt == 2


def test_a_second_interrupt_kills_and_records(bench: Bench) -> None:
    made = plan(bench.base, [run("a", f"sh -c 'trap \"\" TERM; touch ready; {FOREVER}'")], limits={"grace": "1 h"})
    done = interrupted(bench, made, times=2, when=(bench.base / "ready").exists)
    assert (done.states, done.interrupted) == ({"a": "killed"}, True)
    assert record_of.processes_of(bench.folder("a")) == []


def test_a_run_that_ignores_the_request_is_killed_after_its_grace(bench: Bench) -> None:
    made = plan(bench.base, [run("a", f"sh -c 'trap \"\" TERM; touch ready; {FOREVER}'")], limits={"grace": "0.2 s"})
    assert interrupted(bench, made, when=(bench.base / "ready").exists).states == {"a": "killed"}


def test_a_stop_from_outside_is_not_undone(bench: Bench) -> None:
    """`gpuplan stop a` while `gpuplan apply` runs."""
    saves = f'trap "exit 75" TERM; touch ready; {FOREVER}'

    def stop() -> None:
        outside = LocalLauncher()
        handle = outside.adopt("a", bench.folder("a"))
        assert handle is not None
        assert outside.request_stop(handle)

    thread = bench.later((bench.base / "ready").exists, stop)
    done = bench.conduct(plan(bench.base, [run("a", f"sh -c '{saves}'"), run("b", "true")]))
    thread.join()
    assert done.states == {"a": "preempted", "b": "finished"}
    assert bench.record("a").attempt == 1


# ---------------------------------------------------------------- earlier gpuplans


def start_driver(bench: Bench, made: Plan) -> subprocess.Popen[bytes]:
    file = bench.base / "plan.json"
    file.write_text(made.model_dump_json(by_alias=True))
    command = [sys.executable, str(Path(__file__).with_name("driver.py")), str(file), str(bench.state)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def test_a_run_of_a_killed_gpuplan_is_taken_up(bench: Bench) -> None:
    waits = "echo x >> ran; until [ -e go ]; do sleep 0.05; done"
    made = plan(bench.base, [run("a", f"sh -c '{waits}'")])
    driver = start_driver(bench, made)
    wait_until((bench.base / "ran").exists, what="the run")
    kill(driver)
    assert bench.record("a").outcome is None
    thread = bench.later(lambda: bench.said("adopted"), (bench.base / "go").touch)
    done = bench.conduct(made)
    thread.join()
    assert done.states == {"a": "finished"}
    assert (bench.base / "ran").read_text() == "x\n"
    assert bench.record("a").attempt == 1


def test_an_end_that_nobody_saw_is_recorded_even_if_the_plan_moved_on(bench: Bench) -> None:
    driver = start_driver(
        bench, plan(bench.base, [run("a", "sh -c 'touch ran; until [ -e go ]; do sleep 0.05; done'")])
    )
    wait_until((bench.base / "ran").exists, what="the run")
    kill(driver)
    other = plan(bench.base, [run("b", "true")])
    with pytest.raises(UserError, match=r"not in this plan are still running here: a") as raised:
        bench.conduct(other)
    assert raised.value.exit_code == 3
    (bench.base / "go").touch()
    wait_until(lambda: not record_of.is_locked(bench.folder("a")), what="the end of a")
    assert bench.conduct(other).states == {"b": "finished"}
    assert bench.record("a").state == "finished"


def test_a_second_conductor_is_refused(bench: Bench) -> None:
    made = plan(bench.base, [run("a", "sh -c 'touch ran; until [ -e go ]; do sleep 0.05; done'")])
    driver = start_driver(bench, made)
    wait_until((bench.base / "ran").exists, what="the run")
    assert conductor_pid(bench.state) == driver.pid
    with pytest.raises(UserError, match=f"gpuplan process {driver.pid} is carrying out runs") as raised:
        bench.conduct(made)
    assert f"kill -INT {driver.pid}" in (raised.value.hint or "")
    (bench.base / "go").touch()
    assert driver.wait(timeout=workbench.LONG_S) == 0
    assert conductor_pid(bench.state) is None


def test_the_state_folder_is_free_again_afterwards(bench: Bench) -> None:
    make_state(bench.state)
    for _ in range(2):
        with sole_conductor(bench.state):
            assert conductor_pid(bench.state) == os.getpid()


def test_ctrl_c_reaches_a_whole_gpuplan(bench: Bench) -> None:
    saves = f'trap "touch saved; exit 75" TERM; touch ready; {FOREVER}'
    driver = start_driver(bench, plan(bench.base, [run("a", f"sh -c '{saves}'")]))
    wait_until((bench.base / "ready").exists, what="the run")
    driver.send_signal(2)
    assert driver.wait(timeout=workbench.LONG_S) == 130
    assert (bench.base / "saved").exists()
    assert bench.record("a").state == "preempted"


def test_what_a_gpuplan_was_stopping_when_it_was_killed_is_started_again(bench: Bench) -> None:
    saves = f'if [ -e saved ]; then exit 0; fi; trap "sleep 0.5; touch saved; exit 75" TERM; touch ready; {FOREVER}'
    made = plan(bench.base, [run("a", f"sh -c '{saves}'")])
    driver = start_driver(bench, made)
    wait_until((bench.base / "ready").exists, what="the run")
    driver.send_signal(2)
    wait_until(lambda: bench.record("a").state == "stopping", what="the request")
    kill(driver)
    assert bench.conduct(made).states == {"a": "finished"}
    assert [one.state for one in bench.store.attempts("sweep", "a")] == ["preempted", "finished"]


def test_the_folders_are_believed_where_the_store_is_gone(bench: Bench) -> None:
    made = plan(bench.base, [run("a", "sh -c 'echo x >> ran'")])
    bench.conduct(made)
    bench.store.close()
    for path in bench.state.glob("store.db*"):
        path.unlink()
    bench.store = Store(bench.state / "store.db")
    assert bench.conduct(made).states == {"a": "finished"}
    assert (bench.base / "ran").read_text() == "x\n"
    assert bench.record("a").attempt == 1


# ---------------------------------------------------------------- another run of the same name


def test_a_changed_run_does_not_overwrite_the_old_one(bench: Bench) -> None:
    for number in (1, 2, 3):
        changed = run("lr=0.1", f"sh -c 'echo {number} > $GPUPLAN_RUN_DIR/out'", key=f"k{number}")
        assert bench.conduct(plan(bench.base, [changed])).states == {"lr=0.1": "finished"}
    assert (bench.folder("lr=0.1") / "out").read_text() == "3\n"
    archived = bench.store.records("sweep", archived=True)
    assert [Path(one.folder).name for one in archived] == ["lr=0.1.1", "lr=0.1.2"]
    assert [(Path(one.folder) / "out").read_text() for one in archived] == ["1\n", "2\n"]
    assert [one.run.key for one in archived] == ["k1", "k2"]
    assert bench.record("lr=0.1").attempt == 1


def test_an_archiving_that_was_cut_short_is_completed(bench: Bench) -> None:
    """Killed after the store knew, and before the folder was moved."""
    bench.conduct(plan(bench.base, [run("a", "sh -c 'echo 1 > $GPUPLAN_RUN_DIR/out'", key="k1")]))
    place = record_of.archive_place(bench.state, "a")
    bench.store.archive(str(bench.folder("a")), to=str(place))
    bench.conduct(plan(bench.base, [run("a", "sh -c 'echo 2 > $GPUPLAN_RUN_DIR/out'", key="k2")]))
    assert (place / "out").read_text() == "1\n"
    assert (bench.folder("a") / "out").read_text() == "2\n"
    assert [one.folder for one in bench.store.records("sweep", archived=True)] == [str(place)]


def test_two_experiments_may_have_runs_of_one_name(bench: Bench) -> None:
    first = plan(bench.base, [run("a", "true", key="k1")])
    bench.conduct(first)
    other = first.experiment.model_copy(update={"name": "other"})
    second = plan(bench.base, [run("a", "true", key="k2")]).model_copy(update={"experiment": other})
    assert bench.conduct(second).states == {"a": "finished"}
    assert [one.experiment for one in bench.store.records(archived=True)] == ["sweep"]


# ---------------------------------------------------------------- disks


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Bench]:
    """A bench on a file system of one megabyte."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("mounting a small file system needs root on Linux")
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=False).returncode:
        pytest.skip("this container may not mount")
    made = Bench(folder)
    yield made
    made.clear()
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> None:
    """Leave not a byte free."""
    with (folder / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass


def test_a_full_disk_is_an_error_and_the_run_is_taken_up_later(small: Bench, tmp_path: Path) -> None:
    """It is full at the end of the run: the shim still writes it down, the store cannot, and nothing is lost."""
    waits = f"echo x >> ran; until [ -e {tmp_path}/go ]; do sleep 0.05; done"
    made = plan(small.base, [run("a", f"sh -c '{waits}'"), run("b", "touch b")])

    def fill_and_go() -> None:
        fill(small.base)
        (tmp_path / "go").touch()

    thread = small.later((small.base / "ran").exists, fill_and_go)
    with pytest.raises(UserError, match=r"cannot (use|write)") as raised:
        small.conduct(made)
    thread.join()
    assert "free space" in (raised.value.hint or "")
    assert raised.value.exit_code == 1
    wait_until(lambda: not record_of.is_locked(small.folder("a")), what="the end of a")
    status = record_of.read_status(small.folder("a"))
    assert status is not None
    assert status.ending is not None
    assert status.ending.exit_code == 0
    (small.base / "ballast").unlink()
    small.store.close()
    small.store = Store(small.state / "store.db")
    assert small.conduct(made).states == {"a": "finished", "b": "finished"}
    assert (small.base / "ran").read_text() == "x\n"
    assert small.record("a").attempt == 1


def test_on_a_full_disk_nothing_is_started(small: Bench, tmp_path: Path) -> None:
    make_state(small.state)
    fill(small.base)
    with pytest.raises(UserError, match=r"cannot (use|write)"):
        small.conduct(plan(small.base, [run("a", f"touch {tmp_path}/never")]))
    assert not (tmp_path / "never").exists()
    (small.base / "ballast").unlink()
    assert small.conduct(plan(small.base, [run("a", "true")])).states == {"a": "finished"}


def test_a_read_only_folder_is_an_error_at_once(small: Bench) -> None:
    small.store.close()
    subprocess.run(["mount", "-o", "remount,ro", small.base], check=True)
    with pytest.raises(UserError, match="cannot write to"):
        make_state(small.state)
    with pytest.raises(UserError, match="cannot use"):
        Store(small.state / "store.db")


def test_the_end_of_a_run_wakes_the_conductor(bench: Bench) -> None:
    made = plan(bench.base, [run(f"r{number}", "true") for number in range(3)])
    before = time.monotonic()
    bench.conduct(made, poll_s=workbench.LONG_S)
    assert time.monotonic() - before < workbench.LONG_S / 2
