"""Runs and their estimates -> what the scheduler needs of each: ranks, and durations by GPU. It never orders them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuplan.model import Device, Estimate, Experiment, Quantity, Run

__all__ = ["Task", "planned_s", "tasks_of", "waves_of"]


class Task(NamedTuple):
    """One run to place: a gang of `ranks`, and how long it takes on each GPU that it fits on."""

    run: str
    stage: str | None
    position: int
    ranks: int
    durations_s: dict[str, Quantity]
    disk_bytes: Quantity

    def longest_s(self, *, cautious: bool) -> float:
        """The duration to plan with on the slowest GPU that it may get."""
        return max(planned_s(duration, cautious=cautious) for duration in self.durations_s.values())

    @property
    def shortest_s(self) -> float:
        """The median duration on the fastest GPU that it may get."""
        return min(duration.p50 for duration in self.durations_s.values())


def planned_s(time_s: Quantity, *, cautious: bool) -> float:
    """Which quantile of a time a plan goes by: a cautious one by the p90, others by the median."""
    return time_s.p90 if cautious else time_s.p50


def tasks_of(runs: Sequence[Run], estimates: Iterable[Estimate], *, devices: Sequence[Device]) -> tuple[Task, ...]:
    """The runs that these devices can take: enough of them with a GPU that the run is not known to be too large for."""
    by_run: dict[str, dict[str, Estimate]] = {}
    for estimate in estimates:
        if estimate.memory.fits != "NO FIT":
            by_run.setdefault(estimate.run, {})[estimate.gpu] = estimate
    count = Counter(device.gpu for device in devices)
    tasks = []
    for position, run in enumerate(runs):
        usable = by_run.get(run.name, {})
        here = {gpu: usable[gpu] for gpu in count if gpu in usable}
        if sum(count[gpu] for gpu in here) >= run.ranks:
            disk_bytes = next(iter(here.values())).disk_bytes
            durations_s = {gpu: estimate.duration_s for gpu, estimate in here.items()}
            tasks.append(Task(run.name, run.stage, position, run.ranks, durations_s, disk_bytes))
    return tuple(tasks)


def waves_of(experiment: Experiment, tasks: Iterable[Task]) -> tuple[tuple[Task, ...], ...]:
    """The tasks by stage, in the order of the spec. Controls belong to no stage and start with the first."""
    order = {stage.name: number for number, stage in enumerate(experiment.stages)}
    waves: dict[int, list[Task]] = {}
    for task in tasks:
        waves.setdefault(order.get(task.stage, 0) if task.stage else 0, []).append(task)
    return tuple(tuple(waves[number]) for number in sorted(waves))
