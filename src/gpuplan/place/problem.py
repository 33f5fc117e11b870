"""The nouns of the market planner: what is to run, what can be rented, the goal, the plan. It never solves anything.

Times inside a plan are whole seconds, rounded up where they enter, so that sums, bills and replays are exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "Assignment",
    "Goal",
    "Job",
    "JobClass",
    "Problem",
    "Refused",
    "Rentable",
    "Rented",
    "Solution",
    "Unmet",
    "default_slowdown",
    "grouped",
    "whole_seconds",
]

CROWDING = 0.03
"""Each further process on a card costs this share: context switches, host threads."""


def default_slowdown(runs: int, utilization: float) -> float:
    """How many times longer each of `runs` equal processes on one GPU takes than alone.

    A GPU that one run keeps busy for a share `utilization` of the time takes 1 / utilization of them for free; from
    there on they share it. reference: 1,388 measured pairs, mean error 5.5 points (Lucid, RTX 3090).
    """
    return max(1.0, runs * utilization) * (1 + CROWDING * (runs - 1))


def whole_seconds(seconds: float) -> int:
    """Rounded up, but for what floating point adds to a whole number."""
    return math.ceil(round(seconds, 6))


@dataclass(frozen=True, slots=True)
class Job:
    """One run to place: a gang of `gpus` GPUs of one machine, and what it takes on each GPU kind that it fits on."""

    name: str
    gpus: int
    duration_s: Mapping[str, float]
    memory_bytes: Mapping[str, int]
    utilization: Mapping[str, float]
    transfer_s: float = 0.0
    transfer_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class JobClass:
    """`count` runs that cost the same everywhere.

    Attributes:
        gpus: the gang's width: GPUs of one machine that it needs at once.
        duration_s: by GPU kind, when alone on its GPUs; a kind that is missing cannot run it.
        memory_bytes: by GPU kind, of the device for one process, its CUDA context included.
        utilization: by GPU kind, the share of the time that one run keeps the GPU busy.
        transfer_s: seconds a run adds to the time of its GPUs whatever else runs there (checkpoints, data).
        transfer_usd: dollars a run costs beside the machine (egress).
        members: the names of the runs, in order; empty if nobody asks.
    """

    name: str
    count: int
    gpus: int
    duration_s: Mapping[str, float]
    memory_bytes: Mapping[str, int]
    utilization: Mapping[str, float]
    transfer_s: float = 0.0
    transfer_usd: float = 0.0
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rentable:
    """A machine that can be had `available` times.

    Attributes:
        price_usd_per_h: of the whole machine.
        memory_bytes: of one GPU.
        setup_s: from the start of the bill to the first run: boot, image, data.
        wait_s: from now to the start of the bill: a queue.
        longest_s: how long it may be kept (a session, a time limit).
        billing_s: the bill counts whole units of so many seconds.
        minimum_s: the least that is billed.
        group: at most one machine of all offers of one group can be had (slices of one machine).
        pace: how many times longer runs take here than the class says (work lost on spot, slow hosts).
    """

    offer: str
    gpu: str
    gpu_count: int
    memory_bytes: int
    price_usd_per_h: float
    available: int
    setup_s: float = 0.0
    wait_s: float = 0.0
    longest_s: float = math.inf
    spot: bool = False
    group: str | None = None
    billing_s: int = 1
    minimum_s: int = 0
    pace: float = 1.0


@dataclass(frozen=True, slots=True)
class Problem:
    """Everything a plan is made from.

    Attributes:
        slowdown: (runs on one GPU, utilization of one alone) -> how many times longer each takes.
        margin: the share of a GPU's memory that is left free.
        most_per_gpu: never more runs than this on one GPU (host cores, file handles, MPS clients).
    """

    jobs: tuple[JobClass, ...]
    offers: tuple[Rentable, ...]
    slowdown: Callable[[int, float], float] = default_slowdown
    margin: float = 0.08
    most_per_gpu: int = 16


@dataclass(frozen=True, slots=True)
class Goal:
    """Cheapest within a deadline, or fastest within a budget; both limits hold in either case."""

    kind: Literal["cheapest", "fastest"]
    deadline_s: float = math.inf
    budget_usd: float = math.inf


class Assignment(NamedTuple):
    """Runs `first` to `first + runs - 1` of a class, at once on the same GPUs of one machine, from start to end."""

    job: str
    first: int
    runs: int
    gpus: tuple[int, ...]
    start_s: int
    end_s: int


@dataclass(frozen=True, slots=True)
class Rented:
    """One machine of a plan: the `index`-th of its offer, from the start of its bill to its last run's end."""

    offer: Rentable
    index: int
    assignments: tuple[Assignment, ...]
    billed_s: int
    cost_usd: float

    @property
    def end_s(self) -> int:
        """When its last run ends, on the plan's clock."""
        return max(assignment.end_s for assignment in self.assignments)


class Refused(NamedTuple):
    """A class that fits nowhere, and why, by GPU kind."""

    job: str
    reasons: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Solution:
    """A plan that keeps every limit, and how far from the best it can be at most.

    Attributes:
        bound_cost_usd: no plan of whole classes side by side meets the goal for less (see docs/decisions/0009).
        bound_makespan_s: no such plan is over sooner, within the goal's budget.
        gap: (value - bound) / bound of what the goal minimises; infinite while no bound is known.
        method: what made it, and if it is proven the best, among what.
        seconds: how long the search had taken; only who has a clock can fill it.
    """

    machines: tuple[Rented, ...]
    cost_usd: float
    makespan_s: int
    bound_cost_usd: float = 0.0
    bound_makespan_s: float = 0.0
    gap: float = math.inf
    method: str = "greedy"
    refused: tuple[Refused, ...] = ()
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Unmet:
    """No plan meets the goal, or none was found.

    Attributes:
        proven: nobody can meet it; if false, this search could not.
        nearest: the plan that misses it least, if any run fits at all.
    """

    reason: str
    proven: bool
    refused: tuple[Refused, ...] = ()
    nearest: Solution | None = None


Answer: TypeAlias = Solution | Unmet


@dataclass(slots=True)
class _Group:
    """A class in the making."""

    first: Job
    members: list[str] = field(default_factory=list)


def grouped(jobs: Iterable[Job]) -> tuple[JobClass, ...]:
    """Runs of equal cost as classes, in the order of their first runs; each is named after its first run."""
    groups: dict[object, _Group] = {}
    for job in jobs:
        groups.setdefault(_cost_key(job), _Group(job)).members.append(job.name)
    return tuple(_class_of(group) for group in groups.values())


def _cost_key(job: Job) -> object:
    tables = (job.duration_s, job.memory_bytes, job.utilization)
    return (job.gpus, job.transfer_s, job.transfer_usd, *(tuple(sorted(table.items())) for table in tables))


def _class_of(group: _Group) -> JobClass:
    first = group.first
    return JobClass(
        name=first.name,
        count=len(group.members),
        gpus=first.gpus,
        duration_s=first.duration_s,
        memory_bytes=first.memory_bytes,
        utilization=first.utilization,
        transfer_s=first.transfer_s,
        transfer_usd=first.transfer_usd,
        members=tuple(group.members),
    )
