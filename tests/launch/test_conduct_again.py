from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import workbench
from workbench import Bench, plan, run, wait_until

from gpuplan.errors import UserError
from gpuplan.launch import conductor_pid
from gpuplan.launch import folder as record_of
from gpuplan.launch.claim import sole_conductor
from gpuplan.launch.prepare import make_state
from gpuplan.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.model import Plan

FOREVER = "while :; do sleep 0.05; done"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.clear()


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
    leaves = "touch asked; sleep 0.5; touch saved; exit 75"
    saves = f'if [ -e saved ]; then exit 0; fi; trap "{leaves}" TERM; touch ready; {FOREVER}'
    made = plan(bench.base, [run("a", f"sh -c '{saves}'")])
    driver = start_driver(bench, made)
    wait_until((bench.base / "ready").exists, what="the run")
    driver.send_signal(2)
    wait_until((bench.base / "asked").exists, what="the request")
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
