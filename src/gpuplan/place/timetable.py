"""A plan's machines -> when each run starts and ends, with intervals. It changes nothing about the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.model import Placement, Quantity
from gpuplan.place.replay import replay
from gpuplan.place.tasks import planned_s

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuplan.model import Machine, Offer
    from gpuplan.place.money import Solved
    from gpuplan.place.problem import Assignment, Rented

__all__ = ["timetable"]

ENDS = ("p10", "p50", "p90")


class _Timed(NamedTuple):
    """An assignment with its start and end if all durations are at their p10, p50 and p90."""

    machine: Rented
    assignment: Assignment
    starts_s: tuple[float, ...]
    ends_s: tuple[float, ...]


def timetable(stages: Sequence[Solved], *, here: Machine) -> tuple[Placement, ...]:
    """Every run's devices and times, in the order of starting; a stage begins when the one before has ended.

    Devices of one's own machine, `here`, are called by its numbers, others by their place in theirs. Times are those
    of all durations at one quantile: the errors of one sweep go the same way. Failed attempts are in none, and
    interruptions of spot machines as they are in the mean.
    """
    placements: list[Placement] = []
    begun_s = [0.0, 0.0, 0.0]
    for stage in stages:
        timed = list(_timed(stage))
        placements += [placement for one in timed for placement in _placements(one, stage, begun_s, here)]
        begun_s = [begun_s[at] + max((one.ends_s[at] for one in timed), default=0.0) for at in range(len(ENDS))]
    return tuple(sorted(placements, key=lambda placement: placement.start_s.p50))


def _timed(stage: Solved) -> Iterator[_Timed]:
    plays = [_played(stage, end) for end in ENDS]
    for number, machine in enumerate(stage.solution.machines):
        rows = [play[number].assignments for play in plays]
        for each in zip(*rows, strict=True):
            yield _Timed(machine, each[1], tuple(one.start_s for one in each), tuple(one.end_s for one in each))


def _played(stage: Solved, end: str) -> tuple[Rented, ...]:
    """All machines with every duration at one end of its interval."""
    needs = stage.needs

    def seconds(machine: Rented, one: Assignment) -> float:
        duration_s = needs.works[one.job].estimates[machine.offer.gpu].duration_s
        usual_s = planned_s(duration_s, cautious=needs.cautious)
        return (one.end_s - one.start_s) * (getattr(duration_s, end) / usual_s if usual_s else 1.0)

    return replay(stage.solution, needs.problem, seconds=seconds).machines


def _placements(timed: _Timed, stage: Solved, begun_s: Sequence[float], here: Machine) -> Iterator[Placement]:
    machine, one = timed.machine, timed.assignment
    devices = _devices(stage.needs.offers[machine.offer.offer], one.gpus, here)
    source = stage.needs.works[one.job].estimates[machine.offer.gpu].duration_s.source
    starts, ends = (
        Quantity(**{end: begun_s[at] + times[at] for at, end in enumerate(ENDS)}, source=source, because=f"on {words}")
        for times, words in ((timed.starts_s, "its machine, when that is free"), (timed.ends_s, machine.offer.gpu))
    )
    for run in stage.needs.works[one.job].runs[one.first : one.first + one.runs]:
        yield Placement(
            run=run.name, offer=machine.offer.offer, devices=devices, start_s=starts, end_s=ends, machine=machine.index
        )


def _devices(offer: Offer, gpus: tuple[int, ...], here: Machine) -> tuple[int, ...]:
    if offer.place != "local":
        return gpus
    own = [device.index for device in here.devices if device.gpu == offer.gpu]
    return tuple(own[gpu] for gpu in gpus)
