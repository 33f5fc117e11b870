from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from workbench import plan, run, seconds

from gpuplan.launch.schedule import Task, in_plan_order, startable

DEVICES = st.lists(st.integers(0, 3), unique=True, max_size=4).map(tuple)


def task(order: int, *devices: int, stage: int = 0) -> Task:
    return Task(order, run(f"r{order}", "true"), devices, stage)


def orders(tasks: list[Task]) -> list[int]:
    return [one.order for one in tasks]


def test_a_run_waits_for_all_its_devices() -> None:
    waiting = [task(0, 0, 1), task(1, 1), task(2, 2)]
    assert orders(startable(waiting, taken=[], stages_running=[])) == [0, 2]
    assert orders(startable(waiting, taken=[0], stages_running=[])) == [2]
    assert orders(startable(waiting, taken=[2], stages_running=[])) == [0]


def test_nobody_overtakes_on_a_device() -> None:
    """Run 1 could use device 1 at once, but run 0 is before it there and waits for device 0: the plan says so."""
    assert orders(startable([task(0, 0, 1), task(1, 1)], taken=[0], stages_running=[])) == []


def test_a_run_without_devices_waits_for_nobody() -> None:
    assert orders(startable([task(0, 0), task(1)], taken=[0], stages_running=[])) == [1]


def test_a_stage_waits_for_the_one_before() -> None:
    waiting = [task(1, 1, stage=1), task(2, 2, stage=1)]
    assert orders(startable(waiting, taken=[0], stages_running=[0])) == []
    assert orders(startable(waiting, taken=[], stages_running=[])) == [1, 2]
    assert orders(startable([task(0, 0), *waiting], taken=[0], stages_running=[])) == []


def test_plan_order_is_stages_then_planned_starts() -> None:
    runs = [run("late", "x", stage="two"), run("b", "x", stage="one"), run("a", "x", stage="one")]
    spec: Any = {"stages": [{"name": "one"}, {"name": "two"}]}
    made = plan(Path("/"), runs, **spec)
    starts = {"late": 0.0, "b": 5.0, "a": 2.0}
    placements = tuple(one.model_copy(update={"start_s": seconds(starts[one.run])}) for one in made.placements)
    ordered = in_plan_order(made.model_copy(update={"placements": placements}))
    assert [(one.run.name, one.stage) for one in ordered] == [("a", 0), ("b", 0), ("late", 1)]


@given(st.lists(st.tuples(DEVICES, st.integers(0, 2)), max_size=12))
def test_everything_is_started_once_and_never_two_on_a_device(wanted: list[tuple[tuple[int, ...], int]]) -> None:
    staged = sorted(wanted, key=lambda one: one[1])
    waiting = [task(order, *devices, stage=stage) for order, (devices, stage) in enumerate(staged)]
    started: list[Task] = []
    running: list[Task] = []
    while waiting or running:
        taken = [device for one in running for device in one.devices]
        ready = startable(waiting, taken=taken, stages_running=[one.stage for one in running])
        assert ready or running, "a deadlock"
        for one in ready:
            waiting.remove(one)
            running.append(one)
        used = [device for one in running for device in one.devices]
        assert len(used) == len(set(used))
        assert len({one.stage for one in running}) <= 1
        started.append(running.pop(0))
    assert sorted(orders(started)) == list(range(len(wanted)))
