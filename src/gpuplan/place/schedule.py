"""List scheduling: wide and long runs first, on the devices that are free first. It never drops a run or a barrier.

The work is bounded by runs x devices, and nothing depends on a clock, so that one plan is made of one world.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from heapq import nsmallest
from typing import TYPE_CHECKING

from gpuplan.model import SOURCES, Placement, Quantity
from gpuplan.place.tasks import planned_s

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuplan.model import Device, Source
    from gpuplan.place.tasks import Task

__all__ = ["latest", "lower_bound_s", "schedule_waves", "slowest", "total", "weakest"]

AT_ONCE = Quantity(p10=0, p50=0, p90=0, source="measured", because="nothing before it")


@dataclass(slots=True)
class Slot:
    """One device, when it is free, and after which run."""

    device: Device
    free_s: Quantity = AT_ONCE
    after: str = ""

    def order(self, *, cautious: bool) -> tuple[float, int]:
        """Free first, then the lower number."""
        return planned_s(self.free_s, cautious=cautious), self.device.index


def schedule_waves(
    waves: Sequence[Sequence[Task]], devices: Sequence[Device], *, offer: str, cautious: bool = False
) -> tuple[Placement, ...]:
    """Every task of every wave with its devices and times; a wave begins when all of the wave before has ended.

    Which run goes first, and which device is free first, goes by medians; `cautious`: by p90.

    Times are added up quantile by quantile (p10 to p10, p90 to p90): the errors of estimates that come from one
    model go the same way for all runs, so they do not cancel out.
    """
    slots = [Slot(device) for device in sorted(devices, key=lambda device: device.index)]
    placements: list[Placement] = []
    for wave in waves:
        ordered = sorted(wave, key=partial(_widest_longest_first, cautious=cautious))
        placements += [_start(task, slots, offer=offer, cautious=cautious) for task in ordered]
        end_s = latest((slot.free_s for slot in slots), because="after the wave before")
        slots = [Slot(slot.device, end_s, "the wave before") for slot in slots]
    return tuple(placements)


def lower_bound_s(waves: Iterable[Sequence[Task]], *, devices: int) -> float:
    """No order of the runs has a median makespan below this: all work shared evenly, or the longest run of a wave."""
    return sum(_wave_bound_s(wave, devices) for wave in waves)


def latest(times: Iterable[Quantity], *, because: str) -> Quantity:
    """When all of them are over, quantile by quantile; as weak as the weakest of them."""
    times = tuple(times) or (AT_ONCE,)
    if len(times) == 1:
        return times[0].model_copy(update={"because": because})
    return Quantity(
        p10=max(time.p10 for time in times),
        p50=max(time.p50 for time in times),
        p90=max(time.p90 for time in times),
        source=weakest(time.source for time in times),
        because=because,
    )


def total(parts: Iterable[Quantity], *, because: str) -> Quantity:
    """The sum, quantile by quantile; as weak as the weakest part."""
    parts = tuple(parts)
    return Quantity(
        p10=sum(part.p10 for part in parts),
        p50=sum(part.p50 for part in parts),
        p90=sum(part.p90 for part in parts),
        source=weakest(part.source for part in parts),
        because=because,
    )


def slowest(task: Task, gpus: set[str]) -> Quantity:
    """How long a gang on GPUs of these kinds takes: all wait for the slowest."""
    if len(gpus) == 1:
        return task.durations_s[next(iter(gpus))]
    return latest((task.durations_s[gpu] for gpu in gpus), because="its slowest rank")


def weakest(sources: Iterable[Source]) -> Source:
    """The source that a figure made of several has; of nothing, nothing is in doubt."""
    return max(sources, key=SOURCES.index, default=SOURCES[0])


def _widest_longest_first(task: Task, *, cautious: bool) -> tuple[object, ...]:
    """Gangs of many ranks first: they leave no gaps behind them; then the longest.

    Ties go by the whole interval, then by the order of the spec, which then changes no time.
    """
    intervals = sorted((gpu, one.p50, one.p90, one.p10) for gpu, one in task.durations_s.items())
    return (-task.ranks, -task.longest_s(cautious=cautious), intervals, task.position)


def _start(task: Task, slots: Sequence[Slot], *, offer: str, cautious: bool) -> Placement:
    """Give `task` the devices that are free first, the lowest numbers at a tie, all from the same moment."""
    usable = [slot for slot in slots if slot.device.gpu in task.durations_s]
    chosen = nsmallest(task.ranks, usable, key=partial(Slot.order, cautious=cautious))
    last = chosen[-1]
    start_s = latest((slot.free_s for slot in chosen), because=f"after {last.after}" if last.after else "at once")
    duration_s = slowest(task, {slot.device.gpu for slot in chosen})
    end_s = total((start_s, duration_s), because="its start and its duration")
    for slot in chosen:
        slot.free_s, slot.after = end_s, task.run
    devices = tuple(sorted(slot.device.index for slot in chosen))
    return Placement(run=task.run, offer=offer, devices=devices, start_s=start_s, end_s=end_s)


def _wave_bound_s(wave: Sequence[Task], devices: int) -> float:
    work_s = sum(task.ranks * task.shortest_s for task in wave)
    return max(work_s / devices, max((task.shortest_s for task in wave), default=0.0)) if wave else 0.0
