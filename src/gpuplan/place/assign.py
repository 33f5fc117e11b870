"""A mix becomes machines with bundles on them: longest first, towards each machine's hours. It proves nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gpuplan.place.dice import Dice
from gpuplan.place.fleet import Fleet, Machine, widest_longest
from gpuplan.place.greedy import insert, sort_key
from gpuplan.place.tables import cut_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gpuplan.place.milp import Flow, Mix
    from gpuplan.place.tables import Bundle, Lot, Tables

__all__ = ["assigned", "best_assigned", "whole_bundles"]

WHOLE = 1e-6
SHAKE = 0.3


def best_assigned(
    tables: Tables, deadline_s: float, *, mix: Mix, tries: int, keep_going: Callable[[], bool]
) -> Fleet | None:
    """The cheapest of many fleets after one mix: the first plain, the others with bundles and aims shaken a little."""
    best = assigned(tables, deadline_s, mix=mix)
    for seed in range(1, tries):
        if not keep_going():
            break
        other = assigned(tables, deadline_s, mix=mix, dice=Dice(seed))
        if other is not None and (best is None or other.cost_usd < best.cost_usd):
            best = other
    return best


def assigned(tables: Tables, deadline_s: float, *, mix: Mix, dice: Dice | None = None) -> Fleet | None:
    """A fleet after the mix; what does not fit where the mix wants it goes where it costs least. None: no room."""
    fleet = Fleet(tables, deadline_s)
    left: dict[int, int] = {}
    for kind, bundles in sorted(_bundles_by_kind(tables, mix).items()):
        for bundle in _fill_kind(fleet, mix, kind, bundles, dice):
            left[bundle.job] = left.get(bundle.job, 0) + bundle.runs
    for job in sorted(left, key=lambda job: sort_key(tables, job)):
        if not insert(fleet, job, left[job]):
            return None
    fleet.machines = [machine.reordered() for machine in fleet.machines]
    return fleet


def whole_bundles(tables: Tables, job: int, wishes: list[tuple[float, int, Bundle]]) -> Iterator[tuple[int, Bundle]]:
    """(kind, bundle) for all of a class's runs, once: whole bundles first, then the largest fractions.

    A wish is (how many, kind, bundle).
    """
    left = tables.counts[job]
    for number, kind, bundle in sorted(wishes, key=lambda wish: (-wish[2].runs, wish[1])):
        fitting = min(math.floor(number + WHOLE), left // bundle.runs)
        yield from [(kind, bundle)] * fitting
        left -= fitting * bundle.runs
    for kind, runs in _rest(wishes, left):
        yield from ((kind, bundle) for bundle in cut_runs(tables.best[job][kind], runs))


def _bundles_by_kind(tables: Tables, mix: Mix) -> dict[int, list[Bundle]]:
    wanted: dict[int, list[tuple[float, int, Bundle]]] = {}
    for kind, pairs in mix.bundles.items():
        for bundle, number in pairs:
            wanted.setdefault(bundle.job, []).append((number, kind, bundle))
    by_kind: dict[int, list[Bundle]] = {}
    for job, wishes in wanted.items():
        for kind, bundle in whole_bundles(tables, job, wishes):
            by_kind.setdefault(kind, []).append(bundle)
    return by_kind


def _rest(wishes: list[tuple[float, int, Bundle]], left: int) -> Iterator[tuple[int, int]]:
    """(kind, runs) for the runs that no whole bundle took."""
    ranked = sorted(wishes, key=lambda wish: (-(wish[0] - math.floor(wish[0] + WHOLE)) * wish[2].runs, wish[1]))
    for _, kind, bundle in ranked:
        runs = min(left, bundle.runs)
        if runs:
            yield kind, runs
        left -= runs
    if left:
        yield ranked[0][1], left


def _fill_kind(fleet: Fleet, mix: Mix, kind: int, bundles: list[Bundle], dice: Dice | None) -> list[Bundle]:
    """Rent and fill what the mix wants of one kind, long bundles on their own offers first; what spills over."""
    aims: list[float] = []
    machines: list[Machine] = []
    for share in mix.shares:
        if share.lot.kind == kind:
            number = min(math.ceil(share.machines - WHOLE), share.lot.available)
            empty = fleet.empty(share.lot)
            machines += [empty] * number
            aims += [min(empty.room_s, share.busy_s / number) * _shaken(dice) for _ in range(number)]
    left = list(bundles)
    for lot, wanted in _by_lot(flow for flow in mix.flows if flow.lot.kind == kind):
        mine = _taken(left, wanted)
        left += _fill(machines, aims, mine, [at for at, machine in enumerate(machines) if machine.lot is lot], dice)
    spilled = _fill(machines, aims, left, range(len(machines)), dice)
    for machine in machines:
        if machine.bundles and fleet.can_rent(machine.lot):
            fleet.rent(machine)
        else:
            spilled += machine.bundles
    return spilled


def _by_lot(flows: Iterable[Flow]) -> Iterator[tuple[Lot, list[Bundle]]]:
    """What whole numbers of long bundles each offer is to run."""
    wanted: dict[int, tuple[Lot, list[Bundle]]] = {}
    for lot, bundle, number in flows:
        wanted.setdefault(lot.number, (lot, []))[1].extend([bundle] * math.floor(number + WHOLE))
    yield from wanted.values()


def _taken(left: list[Bundle], wanted: list[Bundle]) -> list[Bundle]:
    """Those of the wanted bundles that are left; they are taken out."""
    mine = []
    for bundle in wanted:
        if bundle in left:
            left.remove(bundle)
            mine.append(bundle)
    return mine


def _shaken(dice: Dice | None) -> float:
    """Near 1; exactly 1 without dice."""
    return 1.0 if dice is None else 1 + SHAKE * (dice.share() - 0.5)


def _fill(
    machines: list[Machine], aims: list[float], bundles: list[Bundle], at: Iterable[int], dice: Dice | None
) -> list[Bundle]:
    """Widest and longest first, each where most is left to the aim; past it, where that costs least."""
    spilled = []
    places = list(at)
    order = sorted(bundles, key=widest_longest)
    if dice is not None:
        order.sort(key=lambda bundle: (-bundle.gpus, -bundle.seconds * _shaken(dice)))
    for bundle in order:
        best, highest = None, -math.inf
        for place in places:
            machine = machines[place]
            spot = machine.spot(bundle)
            if spot is None:
                continue
            slack_s = aims[place] - spot.end_s
            score = slack_s if slack_s >= 0 else slack_s * (1 + machine.lot.usd_per_s * 3600 / machine.lot.gpus)
            if score > highest:
                best, highest = (place, spot), score
        if best is None:
            spilled.append(bundle)
        else:
            machines[best[0]] = machines[best[0]].plus(bundle, best[1])
    return spilled
