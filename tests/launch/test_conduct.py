from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest
import workbench
from workbench import Bench, plan, run

from gpuplan.launch import Conducted, Interrupts, LocalLauncher
from gpuplan.launch import folder as record_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gpuplan.model import Plan

FOREVER = "while :; do sleep 0.05; done"


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
        return (bench.base / "ran").exists() and (bench.base / "ran").read_text() == "x\n"

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


def test_the_end_of_a_run_wakes_the_conductor(bench: Bench) -> None:
    made = plan(bench.base, [run(f"r{number}", "true") for number in range(3)])
    before = time.monotonic()
    bench.conduct(made, poll_s=workbench.LONG_S)
    assert time.monotonic() - before < workbench.LONG_S / 2
