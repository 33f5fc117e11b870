"""Runs, estimates and offers -> the planner's problem, one job class for runs of equal cost. It solves nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data.sharing import sharing_mode
from gpuplan.estimate import estimate
from gpuplan.estimate.case import case_of
from gpuplan.estimate.classes import classes_of
from gpuplan.estimate.disk import checkpoint_size
from gpuplan.estimate.duration import ASSUMED_DISK_BYTES_PER_S
from gpuplan.estimate.evidence import clues_of
from gpuplan.estimate.roofline import step_seconds
from gpuplan.estimate.sharing import sharing
from gpuplan.model import Assumption
from gpuplan.place.problem import JobClass, Problem
from gpuplan.place.rentable import Load, rentable_of
from gpuplan.place.tasks import planned_s
from gpuplan.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuplan.model import Estimate, Experiment, Gpu, Offer, Run, World
    from gpuplan.place.problem import Rentable

__all__ = ["NOTHING_GAINED", "LeftOut", "Needs", "Work", "needs_of", "works_of"]

MARGIN = 0.08
NOTHING_GAINED = 1.02 / sharing_mode("time_slicing").contention
"""The utilization at which the rule of `estimate.sharing` makes k runs together take a little longer than in sequence,
so that whole seconds never make sharing look like a gain."""
STEPS = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*steps?\s*", re.IGNORECASE)
CLEARLY_IDLE = 0.8
"""Of a closed form's utilization; above it, its error is larger than what sharing would gain."""
RECKONED_UTILIZATION = Assumption(
    text="how busy one run keeps a GPU is computed, not measured: runs that leave it idle share it",
    change="`gpuplan probe` on a GPU, or a log with its utilization",
)
UNKNOWN_UTILIZATION = Assumption(
    text="that a run leaves a GPU idle is not known: sharing a GPU is taken to gain nothing",
    change="`gpuplan probe` on a GPU, or a log with its utilization",
)


@dataclass(frozen=True, slots=True)
class Work:
    """The runs of one class, with what one of them means on each GPU kind.

    Attributes:
        runs: in the order of the spec.
        estimates: by GPU; of the first run, and so of all.
        busy: the measured share of the time that one run keeps the GPU busy, by GPU.
        reckoned: the same by the closed form, where that is clearly below all of it and nobody measured it.
        checkpoint_bytes: one checkpoint.
    """

    runs: tuple[Run, ...]
    estimates: Mapping[str, Estimate]
    busy: Mapping[str, float]
    reckoned: Mapping[str, float]
    checkpoint_bytes: float

    def utilization(self, gpu: str) -> float:
        """What sharing this GPU goes by."""
        return self.busy.get(gpu, self.reckoned.get(gpu, NOTHING_GAINED))

    @property
    def first(self) -> Run:
        """The run that the estimates are of."""
        return self.runs[0]


class LeftOut(NamedTuple):
    """An offer that cannot be planned with, and why."""

    offer: str
    reason: str


@dataclass(frozen=True, slots=True)
class Needs:
    """A problem with what it was made from.

    Attributes:
        works: by the name of their job class.
        offers: by id, those of the problem.
    """

    problem: Problem
    works: Mapping[str, Work]
    offers: Mapping[str, Offer]
    load: Load
    left_out: tuple[LeftOut, ...]
    cautious: bool

    @property
    def assumptions(self) -> tuple[Assumption, ...]:
        """What was taken for granted of the runs."""
        pairs = [(work, gpu) for work in self.works.values() for gpu in work.estimates if gpu not in work.busy]
        reckoned = (RECKONED_UTILIZATION,) if any(gpu in work.reckoned for work, gpu in pairs) else ()
        unknown = (UNKNOWN_UTILIZATION,) if any(gpu not in work.reckoned for work, gpu in pairs) else ()
        return (*reckoned, *unknown)

    def only(self, offers: Iterable[Rentable]) -> Needs:
        """The same with these offers in place of all."""
        return replace(self, problem=replace(self.problem, offers=tuple(offers)))


def works_of(runs: Iterable[Run], experiment: Experiment, *, gpus: Sequence[Gpu], world: World) -> tuple[Work, ...]:
    """The runs by class, each class estimated once on each GPU."""
    return tuple(_work(alike, experiment, gpus, world) for alike in classes_of(runs, experiment))


def needs_of(
    works: Sequence[Work], experiment: Experiment, offers: Iterable[Offer], *, world: World, cautious: bool = False
) -> Needs:
    """The problem of running all `works` on `offers`; `cautious` plans with p90 durations in place of medians."""
    load = _load(works, experiment, world, cautious=cautious)
    rentables: list[Rentable] = []
    taken: dict[str, Offer] = {}
    left_out = []
    for offer in offers:
        found = rentable_of(offer, load, memory_bytes=_memory_bytes(offer, world))
        if isinstance(found, str):
            left_out.append(LeftOut(offer.id, found))
        else:
            rentables.append(found)
            taken[offer.id] = offer
    jobs = tuple(_job(work, world, cautious=cautious) for work in works)
    problem = Problem(jobs, tuple(rentables), slowdown=_slowdown, margin=MARGIN)
    return Needs(problem, {work.first.name: work for work in works}, taken, load, tuple(left_out), cautious)


def _work(alike: tuple[Run, ...], experiment: Experiment, gpus: Sequence[Gpu], world: World) -> Work:
    first = alike[0]
    case = case_of(first, experiment, gpu=gpus[0], world=world) if gpus else None
    return Work(
        runs=alike,
        estimates={gpu.name: estimate(first, experiment, gpu, world) for gpu in gpus},
        busy=_busy(first, experiment, gpus, world) if world.evidence else {},
        reckoned=_reckoned(first, experiment, gpus, world) if first.copies == 1 and len(alike) > 1 else {},
        checkpoint_bytes=checkpoint_size(case, clues_of(case)).full_bytes if case else 0.0,
    )


def _busy(run: Run, experiment: Experiment, gpus: Sequence[Gpu], world: World) -> dict[str, float]:
    """What was measured of the same class, one copy or gang alone on the GPU."""
    found = {}
    for gpu in gpus:
        same = clues_of(case_of(run, experiment, gpu=gpu, world=world)).same
        shares = [share for clue in same if (share := clue.evidence.measurement.device_busy) is not None]
        if shares:
            found[gpu.name] = median(shares)
    return found


def _reckoned(run: Run, experiment: Experiment, gpus: Sequence[Gpu], world: World) -> dict[str, float]:
    """By the roofline: a step that waits for its kernels to be started leaves the GPU idle."""
    found = {}
    for gpu in gpus:
        roofline = step_seconds(case_of(run, experiment, gpu=gpu, world=world)) if gpu.kind == "gpu" else None
        if roofline is not None and roofline.utilization < CLEARLY_IDLE:
            found[gpu.name] = roofline.utilization
    return found


def _job(work: Work, world: World, *, cautious: bool) -> JobClass:
    """A kind that the run does not fit on, or is not known to be able to run on, is left out."""
    usable = {gpu: one for gpu, one in work.estimates.items() if one.memory.fits != "NO FIT"}
    return JobClass(
        name=work.first.name,
        count=len(work.runs),
        gpus=work.first.ranks,
        duration_s={gpu: planned_s(one.duration_s, cautious=cautious) for gpu, one in usable.items()},
        memory_bytes={gpu: _shared_bytes(one, work.first, world.gpus[gpu]) for gpu, one in usable.items()},
        utilization={gpu: work.utilization(gpu) for gpu in usable},
        members=tuple(run.name for run in work.runs),
    )


def _shared_bytes(one: Estimate, run: Run, gpu: Gpu) -> int:
    """What a run takes of a card: p90 of all its copies; all of the card where it is tight, or not known."""
    whole_bytes = int(gpu.memory_bytes * (1 - MARGIN))
    if one.memory.fits != "OK":
        return whole_bytes
    return min(int(one.memory.device_bytes.p90 * run.copies), whole_bytes)


@cache
def _slowdown(runs: int, utilization: float) -> float:
    return sharing([utilization] * runs).times.p50


def _load(works: Sequence[Work], experiment: Experiment, world: World, *, cautious: bool) -> Load:
    checkpoint = experiment.checkpoint
    gpus = dict.fromkeys(gpu for work in works for gpu in work.estimates)
    durations = {gpu: [work.estimates[gpu].duration_s for work in works if gpu in work.estimates] for gpu in gpus}
    return Load(
        input_bytes=float(sum(fact.size_bytes for fact in world.files.values() if fact.exists)),
        checkpoint_s=max((work.checkpoint_bytes for work in works), default=0.0) / ASSUMED_DISK_BYTES_PER_S,
        interval_s={gpu: seconds for gpu in gpus if (seconds := _interval_s(works, checkpoint.every, gpu))},
        resumes=checkpoint.resume is not None or experiment.workload is not None,
        longest_s={gpu: max(planned_s(one, cautious=cautious) for one in all_) for gpu, all_ in durations.items()},
        disk_bytes=max((_disk_bytes(work) for work in works), default=0.0),
    )


def _interval_s(works: Sequence[Work], every: str | None, gpu: str) -> float | None:
    """Seconds between the checkpoints of the class that saves least often; None where the spec does not say."""
    steps = STEPS.fullmatch(every) if every else None
    if steps is not None:
        return max(float(steps[1]) * work.estimates[gpu].step_s.p50 for work in works)
    try:
        return parse_duration(every) if every else None
    except ValueError:
        return None


def _disk_bytes(work: Work) -> float:
    return max((one.disk_bytes.p50 for one in work.estimates.values()), default=0.0)


def _memory_bytes(offer: Offer, world: World) -> int:
    return world.gpus[offer.gpu].memory_bytes
