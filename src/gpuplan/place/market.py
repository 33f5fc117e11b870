"""A sweep and what it may run on: its stages, each with its problem, and how all are solved. It judges no plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data import gpu_readings
from gpuplan.place.improve import improve
from gpuplan.place.kinds import kinds_to_estimate
from gpuplan.place.money import Solved, data_usd
from gpuplan.place.needs import needs_of, works_of
from gpuplan.place.problem import Goal, Solution
from gpuplan.place.rentable import OWN_PLACES
from gpuplan.place.search import say_nothing
from gpuplan.place.stages import plan_stages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gpuplan.model import Experiment, Offer, Run, World
    from gpuplan.place.needs import Needs
    from gpuplan.place.problem import Rentable
    from gpuplan.place.search import Search

__all__ = ["Found", "Market", "Stage", "market_of", "offered_gpus", "worth_having"]


WORTH_LOOKING = 0.02
"""Data costs of this share of the machines', for which a plan without them is looked for."""


class Stage(NamedTuple):
    """One wave of runs; `tier` holds the GPUs that the spec names for it, empty: any."""

    name: str | None
    needs: Needs
    tier: frozenset[str]


class Found(NamedTuple):
    """A plan of all stages, its cost and end by the planned durations, and what no plan within the limits undercuts."""

    stages: tuple[Solved, ...]
    cost_usd: float
    makespan_s: int
    bound_usd: float

    @property
    def gpus(self) -> frozenset[str]:
        """The kinds that it uses."""
        return frozenset(one.offer.gpu for stage in self.stages for one in stage.solution.machines)

    @property
    def identity(self) -> object:
        """What tells two plans apart for people: which machines, how many, for how long."""
        return tuple(
            sorted((one.offer.offer, one.billed_s) for stage in self.stages for one in stage.solution.machines)
        )


@dataclass(frozen=True, slots=True)
class Market:
    """A sweep and everything that it may run on; how hard to search, and how hard for plans beside.

    `unseen` are GPU kinds on offer that were not looked at, as there are too many classes of runs.
    """

    experiment: Experiment
    world: World
    stages: tuple[Stage, ...]
    search: Search
    spare: Callable[[], Search]
    unseen: tuple[str, ...] = ()

    @property
    def quick(self) -> Market:
        """The same with less time for a search, as for a plan that is only shown beside another."""
        return replace(self, search=self.spare())

    @property
    def runs(self) -> int:
        """How many are to run, in the largest stage."""
        return max((sum(job.count for job in stage.needs.problem.jobs) for stage in self.stages), default=0)

    @property
    def offered(self) -> bool:
        """Whether anything can be planned with."""
        return any(stage.needs.problem.offers for stage in self.stages)

    def is_own(self, offer: Rentable) -> bool:
        """Whether nothing is rented there."""
        return self.stages[0].needs.offers[offer.offer].place in OWN_PLACES

    def cheapest(self, goal: Goal, *, say_better: Callable[[Found], None] = say_nothing) -> Found | None:
        """The cheapest plan within the limits, data and storage counted: what they cost, the search does not see.

        Of the plan on all offers and that on those which charge nothing for egress, the one of the smaller bill.
        `say_better` hears of the plans on all offers, each better than the last, while the search goes on.
        """
        plans = [self.solve(goal, say_better=say_better)]
        if plans[0] is not None and self.data_usd(plans[0]) > WORTH_LOOKING * plans[0].cost_usd:
            plans.append(self.quick.solve(goal, keep=self._is_egress_free))
        kept = [one for one in plans if one and one.cost_usd + self.data_usd(one) <= goal.budget_usd]
        return min(kept, key=lambda one: one.cost_usd + self.data_usd(one), default=None)

    def data_usd(self, found: Found) -> float:
        """What a plan costs beside its machines' hours."""
        return data_usd(found.stages, disk_bytes=self.experiment.compute.disk)

    def _is_egress_free(self, offer: Rentable) -> bool:
        return not self.stages[0].needs.offers[offer.offer].upload_usd_per_gb

    def solve(
        self,
        goal: Goal,
        *,
        keep: Callable[[Rentable], bool] | None = None,
        tiers: bool = True,
        say_better: Callable[[Found], None] = say_nothing,
    ) -> Found | None:
        """The best plan on the offers to keep, each stage on its tier; None where a run or a limit does not fit."""
        stages = [self._offered(stage, keep, tiers=tiers) for stage in self.stages]
        if not all(stage.needs.problem.offers and _all_fit(stage.needs) for stage in stages):
            return None
        if len(stages) > 1:
            return _in_order(stages, goal, self.search, say_better)
        found = None
        for answer in improve(stages[0].needs.problem, goal, search=self.search):
            if isinstance(answer, Solution):
                solved = Solved(stages[0].name, stages[0].needs, answer)
                found = Found((solved,), answer.cost_usd, answer.makespan_s, answer.bound_cost_usd)
                say_better(found)
        return found

    def _offered(self, stage: Stage, keep: Callable[[Rentable], bool] | None, *, tiers: bool) -> Stage:
        wanted = [
            offer
            for offer in stage.needs.problem.offers
            if (keep is None or keep(offer)) and (not tiers or not stage.tier or offer.gpu in stage.tier)
        ]
        return stage._replace(needs=stage.needs.only(worth_having(wanted, runs=self.runs)))


def market_of(
    experiment: Experiment,
    runs: Sequence[Run],
    offers: Iterable[Offer],
    *,
    world: World,
    search: Search,
    spare: Callable[[], Search] | None = None,
    cautious: bool = False,
) -> Market:
    """The market for `runs`, all of which are still to run; one estimate for each class of runs and GPU on offer."""
    offers = tuple(offer for offer in offers if offer.gpu in world.gpus)
    gpus = kinds_to_estimate(experiment, runs, offers, world=world)
    kept = {gpu.name for gpu in gpus}
    unseen = tuple(gpu for gpu in offered_gpus(offers) if gpu not in kept)
    offers = tuple(offer for offer in offers if offer.gpu in kept)
    stages = []
    for name, tier, of_stage in _waves(experiment, runs):
        works = works_of(of_stage, experiment, gpus=gpus, world=world)
        stages.append(Stage(name, needs_of(works, experiment, offers, world=world, cautious=cautious), tier))
    return Market(experiment, world, tuple(stages), search, spare or partial(_same, search), unseen)


def _same(search: Search) -> Search:
    return search


def offered_gpus(offers: Iterable[Offer]) -> tuple[str, ...]:
    """The kinds on offer, in the order of their first offers."""
    return tuple(dict.fromkeys(offer.gpu for offer in offers))


def worth_having(offers: Iterable[Rentable], *, runs: int) -> list[Rentable]:
    """The offers without those of which no plan for so many runs can need one.

    An offer is dominated by another of the same GPUs that is no worse in anything; as soon as its dominators are as
    many machines as there are runs, it can be replaced by one of them in any plan.
    """
    kept: list[Rentable] = []
    for offer in sorted(offers, key=lambda offer: (offer.price_usd_per_h, offer.setup_s, offer.offer)):
        machines = sum(other.available for other in kept if _dominates(other, offer))
        if machines < runs:
            kept.append(offer)
    return kept


def _dominates(one: Rentable, other: Rentable) -> bool:
    return (
        one.gpu == other.gpu
        and one.gpu_count == other.gpu_count
        and one.memory_bytes == other.memory_bytes
        and one.group is None
        and one.price_usd_per_h <= other.price_usd_per_h
        and one.setup_s <= other.setup_s
        and one.wait_s <= other.wait_s
        and one.pace <= other.pace
        and one.longest_s >= other.longest_s
        and other.billing_s % one.billing_s == 0
        and one.minimum_s <= other.minimum_s
    )


def _waves(experiment: Experiment, runs: Sequence[Run]) -> Iterator[tuple[str | None, frozenset[str], tuple[Run, ...]]]:
    """The runs by stage, in the order of the spec; controls belong to none and go with the first."""
    if not experiment.stages:
        yield None, frozenset(), tuple(runs)
        return
    first = experiment.stages[0].name
    for stage in experiment.stages:
        mine = tuple(run for run in runs if (run.stage or first) == stage.name)
        if mine:
            tier = frozenset(gpu.name for wish in stage.gpus for gpu in gpu_readings(wish))
            yield stage.name, tier, mine


def _all_fit(needs: Needs) -> bool:
    """Whether every class can run on something on offer, whatever the limits."""
    widest: dict[str, int] = {}
    for offer in needs.problem.offers:
        widest[offer.gpu] = max(widest.get(offer.gpu, 0), offer.gpu_count)
    return all(any(widest.get(gpu, 0) >= job.gpus for gpu in job.duration_s) for job in needs.problem.jobs)


def _in_order(stages: Sequence[Stage], goal: Goal, search: Search, say_better: Callable[[Found], None]) -> Found | None:
    quick = _list_schedules(stages, search)
    if quick is not None and quick.cost_usd <= goal.budget_usd and quick.makespan_s <= goal.deadline_s:
        say_better(quick)
    staged = plan_stages([stage.needs.problem for stage in stages], goal, search=search)
    if staged is None:
        return None
    return Found(_solved(stages, staged.solutions), staged.cost_usd, staged.makespan_s, staged.bound_usd)


def _list_schedules(stages: Sequence[Stage], search: Search) -> Found | None:
    """The first plan of each stage, for which nothing is proven yet."""
    firsts = [next(improve(stage.needs.problem, Goal("cheapest"), search=search)) for stage in stages]
    solutions = [one for one in firsts if isinstance(one, Solution)]
    if len(solutions) < len(stages):
        return None
    cost_usd, makespan_s = sum(one.cost_usd for one in solutions), sum(one.makespan_s for one in solutions)
    return Found(_solved(stages, solutions), cost_usd, makespan_s, 0.0)


def _solved(stages: Sequence[Stage], solutions: Sequence[Solution]) -> tuple[Solved, ...]:
    pairs = zip(stages, solutions, strict=True)
    return tuple(Solved(stage.name, stage.needs, solution) for stage, solution in pairs)
