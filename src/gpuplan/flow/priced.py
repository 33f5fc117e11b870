"""Spec and World -> Plan on what can be rented, within a bounded time. It rents nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.flow.prints import fingerprints
from gpuplan.model import Plan
from gpuplan.place.highs import Effort
from gpuplan.place.on_market import on_market
from gpuplan.place.search import Search, say_nothing
from gpuplan.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuplan.model import Run, World
    from gpuplan.place.shown import Draft
    from gpuplan.spec import Spec
    from gpuplan.world.asked import Asked

__all__ = ["priced", "searches"]

MOST_S = 10.0
BESIDE_S = 3.0
"""After which a search ends with what it has: all together, and each plan that is shown beside the chosen one."""
ROUNDS = 25
COARSE = Effort(gap=0.02, nodes=200, seconds=BESIDE_S)


class Searches(NamedTuple):
    """How hard to search for the plan, and for each that stands beside it."""

    search: Search
    spare: Callable[[], Search]


def searches(most_s: float = MOST_S) -> Searches:
    """Searches that end in time; those that take less give the same plan each time."""
    until = time.monotonic() + most_s

    def before(moment: float) -> Callable[[], bool]:
        return lambda: time.monotonic() < moment

    def spare() -> Search:
        return Search(keep_going=before(min(until, time.monotonic() + BESIDE_S)), effort=COARSE, rounds=0)

    return Searches(Search(keep_going=before(until), rounds=ROUNDS), spare)


def priced(
    spec: Spec,
    runs: Sequence[Run],
    world: World,
    *,
    asked: Asked,
    most_s: float = MOST_S,
    say_better: Callable[[Draft], None] = say_nothing,
) -> Plan:
    """The plan for `runs` on the offers of `world`, with options; within `most_s` the same to the byte each time.

    `say_better` hears of a first plan at once, then of each better one while the search goes on.
    """
    experiment = spec.experiment
    search, spare = searches(most_s)
    chosen = on_market(
        experiment, runs, world=world, search=search, spare=spare, cautious=asked.cautious, say_better=say_better
    )
    findings = verify(experiment, runs, world=world, estimates=chosen.estimates)
    return Plan(
        experiment=experiment,
        spec_path=spec.path,
        base=str(spec.base),
        overrides=spec.overrides,
        fingerprints=fingerprints(spec, world),
        prices_as_of=chosen.prices_as_of,
        machine=world.machine,
        runs=tuple(runs),
        estimates=chosen.estimates,
        placements=chosen.placements,
        findings=(*world.oddities, *chosen.findings, *findings),
        totals=chosen.totals,
        options=chosen.options,
        advice=chosen.advice,
        assumptions=chosen.assumptions,
        offers_table=str(asked.table.absolute()) if asked.table else None,
        cautious=asked.cautious,
    )
