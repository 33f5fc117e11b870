"""A sweep on what can be rented: options, the chosen one's placements and sums, findings. It reads no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.estimate import estimate
from gpuplan.estimate.classes import classes_of
from gpuplan.model import Assumption, Estimate, Finding, Option, Placement, Quantity, Totals
from gpuplan.place import CAUTIOUS
from gpuplan.place.catches import Frame
from gpuplan.place.failures import failures_of
from gpuplan.place.market import market_of
from gpuplan.place.options import options_of
from gpuplan.place.refusals import cannot_rent, nothing_offered, only_unstated, refusals
from gpuplan.place.rentable import assumptions_of
from gpuplan.place.schedule import total
from gpuplan.place.search import say_nothing
from gpuplan.place.shown import Shown
from gpuplan.place.timetable import timetable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gpuplan.model import Experiment, Offer, Run, World
    from gpuplan.place.market import Found, Market
    from gpuplan.place.search import Search
    from gpuplan.place.shown import Draft

__all__ = ["Chosen", "on_market"]

NOTHING = Quantity(p10=0, p50=0, p90=0, source="measured", because="no run to place")
UNSEEN = "too many kinds of runs for all GPUs: {count} kinds on which a sample of them does worse are not looked at"


class Chosen(NamedTuple):
    """What a plan holds of a market; without a plan within the limits there are no placements."""

    estimates: tuple[Estimate, ...]
    placements: tuple[Placement, ...]
    totals: Totals
    options: tuple[Option, ...]
    advice: tuple[str, ...]
    assumptions: tuple[Assumption, ...]
    findings: tuple[Finding, ...]
    prices_as_of: str | None


def on_market(
    experiment: Experiment,
    runs: Sequence[Run],
    *,
    world: World,
    search: Search,
    spare: Callable[[], Search] | None = None,
    cautious: bool = False,
    say_better: Callable[[Draft], None] = say_nothing,
) -> Chosen:
    """Plan every run that is not finished on `world.offers`; where there are none, on those that do not state all.

    `search` finds the plan, each `spare` one of those that are shown beside it; `say_better` hears of each better plan
    on the way.
    """
    finished = {past.key for past in world.history if past.state == "finished"}
    todo = [run for run in runs if run.key not in finished]
    stated = tuple(one.stated for one in world.unstated if one.stated is not None)

    def market(offers: Iterable[Offer]) -> Market:
        return market_of(experiment, todo, offers, world=world, search=search, spare=spare, cautious=cautious)

    main = market(world.offers or stated)
    failures = failures_of(world)
    reasons = {one.offer: one.reason for one in world.unstated}
    shown = Shown(Frame(world.today, experiment.limits, reasons), failures.share)
    rest = market(stated) if world.offers and stated and todo else None
    found = options_of(main, shown, unstated=rest, say_better=say_better) if todo and main.offered else None
    chosen = found.chosen if found else None
    return Chosen(
        estimates=tuple(_estimates(experiment, runs, main, chosen)),
        placements=timetable(chosen.stages, here=world.machine) if chosen else (),
        totals=_totals(runs, todo, found.options if chosen and found else (), main),
        options=found.options if found else (),
        advice=found.advice if found else (),
        assumptions=_assumptions(main, chosen, failures.assumed_of(len(todo)), cautious=cautious),
        findings=tuple(_findings(world, main, chosen, todo)),
        prices_as_of=_prices_as_of(main, chosen),
    )


def _estimates(experiment: Experiment, runs: Sequence[Run], market: Market, chosen: Found | None) -> Iterator[Estimate]:
    """One for each run and GPU that it gets; of runs that get none, on the GPU that suits them best."""
    known = {run.name: work for stage in market.stages for work in stage.needs.works.values() for run in work.runs}
    used = {
        (one.job, machine.offer.gpu)
        for stage in (chosen.stages if chosen else ())
        for machine in stage.solution.machines
        for one in machine.assignments
    }
    world = market.world
    here = [world.gpus[device.gpu] for device in world.machine.devices][:1]
    for alike in classes_of(runs, experiment):
        works = dict.fromkeys(known[run.name].first.name for run in alike if run.name in known)
        spare = [world.gpus[gpu] for gpu in sorted(chosen.gpus)] if chosen else here
        found = list(known[next(iter(works))].estimates.values()) if works else []
        found = found or [estimate(alike[0], experiment, gpu, world) for gpu in spare]
        for run in alike:
            job = known[run.name].first.name if run.name in known else ""
            mine = [one for one in found if (job, one.gpu) in used] or [_best(found)]
            yield from (one.model_copy(update={"run": run.name}) for one in mine)


def _best(found: Sequence[Estimate]) -> Estimate:
    order = ("OK", "TIGHT", "UNKNOWN", "NO FIT")
    return min(found, key=lambda one: (order.index(one.memory.fits), -one.memory.capacity_bytes))


def _totals(runs: Sequence[Run], todo: Sequence[Run], options: Sequence[Option], market: Market) -> Totals:
    works = [work for stage in market.stages for work in stage.needs.works.values()]
    disks = [_best(list(work.estimates.values())).disk_bytes.times(len(work.runs)) for work in works if work.estimates]
    gpu_h = [each.hours.times(each.gpu_count) for option in options[:1] for each in option.machines]
    return Totals(
        runs=len(runs),
        finished=len(runs) - len(todo),
        makespan_s=options[0].makespan_s if options else NOTHING,
        device_hours=total(gpu_h, because="of all GPUs, as billed"),
        cost_usd=options[0].cost_usd if options else NOTHING,
        disk_bytes=total(disks, because=f"what {len(todo):,} runs leave on disk"),
        repeats=failures_of(market.world).repeats(len(todo)),
    )


def _assumptions(
    market: Market, chosen: Found | None, failures: Assumption, *, cautious: bool
) -> tuple[Assumption, ...]:
    found: list[Assumption] = [CAUTIOUS] if cautious else []
    for stage in chosen.stages if chosen else ():
        offers = dict.fromkeys(one.offer.offer for one in stage.solution.machines)
        for offer in offers:
            found += assumptions_of(stage.needs.offers[offer], stage.needs.load)
    if chosen:
        found += [each for stage in market.stages for each in stage.needs.assumptions]
        found.append(failures)
    if market.unseen:
        found.append(
            Assumption(text=UNSEEN.format(count=len(market.unseen)), change="`compute.gpus` with those you want")
        )
    return tuple(dict.fromkeys(found))


def _findings(world: World, market: Market, chosen: Found | None, todo: Sequence[Run]) -> Iterator[Finding]:
    if not todo:
        return
    if not market.offered:
        yield nothing_offered(world)
        return
    if not world.offers:
        yield only_unstated(world)
    if chosen is None:
        yield from refusals(market)
        return
    machines = ((stage, one) for stage in chosen.stages for one in stage.solution.machines)
    places = {stage.needs.offers[one.offer.offer].place for stage, one in machines}
    yield from cannot_rent(world, places - {"local", *market.experiment.compute.on})


def _prices_as_of(market: Market, chosen: Found | None) -> str | None:
    """The oldest price of the plan, else of all that was looked at; None where none is dated."""
    used = {one.offer.offer for stage in chosen.stages for one in stage.solution.machines} if chosen else None
    dates = [
        offer.as_of
        for stage in market.stages
        for offer in stage.needs.offers.values()
        if (used is None or offer.id in used) and offer.as_of not in {"", "now"}
    ]
    return min(dates, default=None)
