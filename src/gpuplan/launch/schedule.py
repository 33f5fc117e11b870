"""Which waiting runs may start now, to the letter of the plan. It starts nothing.

Each device has a queue in plan order, and a run starts when it is at the head of the queues of all its devices. All
queues are parts of one order, so the first waiting run is never blocked by another waiting one: no deadlock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuplan.model import Plan, Run

__all__ = ["Task", "in_plan_order", "startable"]


class Task(NamedTuple):
    """A run with its place in the plan."""

    order: int
    run: Run
    devices: tuple[int, ...]
    stage: int


def in_plan_order(plan: Plan) -> list[Task]:
    """All placed runs: stage by stage, and within one by the planned start."""
    runs = {run.name: run for run in plan.runs}
    stages = {stage.name: number for number, stage in enumerate(plan.experiment.stages)}
    numbered = [
        (stages.get(runs[placement.run].stage or "", 0), placement.start_s.p50, position)
        for position, placement in enumerate(plan.placements)
    ]
    return [
        Task(order, runs[plan.placements[position].run], plan.placements[position].devices, stage)
        for order, (stage, _, position) in enumerate(sorted(numbered))
    ]


def startable(waiting: Sequence[Task], *, taken: Iterable[int], stages_running: Iterable[int]) -> list[Task]:
    """Of `waiting`, in plan order, those whose devices are free and not wanted by one before; one stage at a time."""
    blocked = set(taken)
    stage = min((*stages_running, *(task.stage for task in waiting)), default=0)
    found = []
    for task in waiting:
        if task.stage > stage:
            break
        if blocked.isdisjoint(task.devices):
            found.append(task)
        blocked.update(task.devices)
    return found
