"""Which run gets which devices, and when: a schedule on this machine. It never starts a run or asks a price."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.model import Assumption, Placement, Quantity, Totals
from gpuplan.place.failures import failures_of
from gpuplan.place.schedule import latest, lower_bound_s, schedule_waves, slowest, total
from gpuplan.place.tasks import tasks_of, waves_of
from gpuplan.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gpuplan.model import Compute, Device, Estimate, Experiment, Run, World
    from gpuplan.place.tasks import Task

__all__ = ["CAUTIOUS", "LOCAL", "Placed", "place"]

LOCAL = "local"
"""The offer of a placement on the user's own machine."""
NO_RENT = Quantity(p10=0, p50=0, p90=0, source="assumed", because="your own machine: no rent; power is not counted")
CAUTIOUS = Assumption(
    text="which run goes where and when is planned with p90 durations, not with medians (--cautious); the times and "
    "costs shown are still those of medians, p10 and p90",
    change="leave --cautious out",
)


class Placed(NamedTuple):
    """Where and when each run is to run, and the sums. A run that fits nowhere has no placement."""

    placements: tuple[Placement, ...]
    totals: Totals


def place(
    experiment: Experiment,
    runs: Sequence[Run],
    *,
    estimates: Iterable[Estimate],
    world: World,
    cautious: bool = False,
) -> Placed:
    """Place every run that is not finished yet on the devices of this machine: by stages, wide and long runs first.

    `cautious`: first, longest and free are those of p90 durations in place of medians.
    """
    devices = world.machine.devices
    finished = {past.key for past in world.history if past.state == "finished"}
    todo = [run for run in runs if run.key not in finished]
    tasks = tasks_of(todo, estimates, devices=devices)
    waves = waves_of(experiment, tasks)
    placements = schedule_waves(waves, devices, offer=LOCAL, cautious=cautious)
    order = {run.name: position for position, run in enumerate(runs)}
    in_order = tuple(sorted(placements, key=lambda placement: (placement.start_s.p50, order[placement.run])))
    bound_s = lower_bound_s(waves, devices=len(devices))
    totals = _totals(tasks, in_order, world=world, bound_s=bound_s)
    totals = totals.model_copy(update={"cost_usd": _electricity(experiment.compute, totals.makespan_s)})
    counted = {"runs": len(runs), "finished": len(runs) - len(todo), "repeats": failures_of(world).repeats(len(todo))}
    return Placed(in_order, totals.model_copy(update=counted))


def _totals(tasks: Sequence[Task], placements: Sequence[Placement], *, world: World, bound_s: float) -> Totals:
    devices = world.machine.devices
    count = f"{len(placements):,} run{'s' * (len(placements) != 1)}"
    on_devices = f"{count} on {len(devices)} device{'s' * (len(devices) != 1)}"
    ordered = f"{on_devices}; no order takes less than {format_duration(bound_s)}"
    return Totals(
        runs=len(tasks),
        finished=0,
        makespan_s=latest(
            (placement.end_s for placement in placements), because=ordered if tasks else "no run to place"
        ),
        device_hours=total(_device_seconds(tasks, placements, devices), because=f"durations x ranks of {count}").times(
            1 / 3600
        ),
        cost_usd=NO_RENT,
        disk_bytes=total((task.disk_bytes for task in tasks), because=f"what {count} leave on disk"),
    )


def _electricity(compute: Compute, makespan_s: Quantity) -> Quantity:
    """Of the whole machine, from the first run's start to the last one's end."""
    if not compute.power_w or compute.electricity_usd_per_kwh is None:
        return NO_RENT
    usd_per_s = compute.power_w / 1000 * compute.electricity_usd_per_kwh / 3600
    because = f"electricity: {compute.power_w:g} W at {compute.electricity_usd_per_kwh:g} USD a kWh"
    return makespan_s.times(usd_per_s).model_copy(update={"because": because})


def _device_seconds(
    tasks: Sequence[Task], placements: Sequence[Placement], devices: Sequence[Device]
) -> Iterator[Quantity]:
    gpus = {device.index: device.gpu for device in devices}
    by_run = {task.run: task for task in tasks}
    for placement in placements:
        duration_s = slowest(by_run[placement.run], {gpus[index] for index in placement.devices})
        yield duration_s.times(len(placement.devices)) if len(placement.devices) > 1 else duration_s
