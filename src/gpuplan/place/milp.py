"""How many bundles of each class on each kind, on how many machines of each offer: costs and a proven lower bound.

Runs are counted by class and machines by offer, so that the size does not grow with their number. No run gets a
place or a time here; assign.py does that. Formulation and proofs: docs/decisions/0009-placement.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.place.highs import Effort, Program
from gpuplan.place.search import is_large

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gpuplan.place.tables import Bundle, Lot, Tables

__all__ = ["Flow", "Mix", "Share", "mix_of", "relaxed_cost_usd"]

HOUR_S = 3600
HALF = 2
"""Of bundles longer than half of the room a GPU holds one: they are told apart by offer."""
COUNTED_PARTS = (3, 4)
WHOLE = 1e-6
DEFAULT_EFFORT = Effort()


class Share(NamedTuple):
    """How many machines of an offer, and for how many seconds they all work, summed."""

    lot: Lot
    machines: float
    busy_s: float


class Flow(NamedTuple):
    """How many of a long bundle run on machines of one offer."""

    lot: Lot
    bundle: Bundle
    number: float


class Mix(NamedTuple):
    """The aggregate plan.

    Attributes:
        bundles: by kind, what it is to run (empty if nothing was found).
        shares: the offers used.
        flows: on which offers the long bundles go.
        bound_usd: no plan costs less; infinite if none meets the deadline.
    """

    bundles: dict[int, list[tuple[Bundle, float]]]
    shares: tuple[Share, ...]
    flows: tuple[Flow, ...]
    bound_usd: float


class _Renting(NamedTuple):
    """An offer that has room: its columns (machines, busy hours) and rows (GPU hours, GPUs with a long bundle)."""

    lot: Lot
    room_s: float
    machines: int
    busy: int
    area: int
    long: int


class _Packed(NamedTuple):
    """A bundle on a kind, and the column that counts it."""

    kind: int
    bundle: Bundle
    column: int


@dataclass(slots=True)
class _Model:
    """The program in the making. Times are in hours, which keeps the numbers near 1."""

    tables: Tables
    program: Program
    whole_bundles: bool
    rentings: dict[int, list[_Renting]]
    packed: list[_Packed] = field(default_factory=list)
    flows: list[tuple[Lot, Bundle, int]] = field(default_factory=list)
    short: dict[tuple[int, int], int] = field(default_factory=dict)

    def wide(self, kind: int, gpus: int) -> list[_Renting]:
        """What a gang of so many GPUs can be put on."""
        return [one for one in self.rentings.get(kind, ()) if one.lot.gpus >= gpus]


def mix_of(
    tables: Tables,
    deadline_s: float,
    *,
    effort: Effort = DEFAULT_EFFORT,
    relaxed: bool = False,
    keep_going: Callable[[], bool] | None = None,
) -> Mix:
    """The cheapest mix within a deadline, and the bound.

    `relaxed`: fractions of bundles and machines, much quicker. With many classes machines are whole and bundles are
    not: there are thousands of them, and what their fractions save is less than what the search would cost.
    """
    model = _model(tables, deadline_s)
    if len({one.bundle.job for one in model.packed}) < sum(count > 0 for count in tables.counts):
        return Mix({}, (), (), math.inf)
    solved = model.program.solve(effort, relaxed=relaxed, keep_going=keep_going)
    bound_usd = max(0.0, solved.bound) + tables.extra_usd
    if not solved.values:
        return Mix({}, (), (), bound_usd)
    value = solved.values
    bundles: dict[int, list[tuple[Bundle, float]]] = {}
    for kind, bundle, column in model.packed:
        if value[column] > WHOLE:
            bundles.setdefault(kind, []).append((bundle, value[column]))
    rentings = [one for row in model.rentings.values() for one in row if value[one.machines] > WHOLE]
    shares = tuple(Share(one.lot, value[one.machines], value[one.busy] * HOUR_S) for one in rentings)
    flows = tuple(Flow(lot, bundle, value[at]) for lot, bundle, at in model.flows if value[at] > WHOLE)
    return Mix(bundles, shares, flows, bound_usd)


def relaxed_cost_usd(tables: Tables, deadline_s: float) -> float:
    """What no plan within the deadline can undercut; infinite if there is none. One linear program."""
    return mix_of(tables, deadline_s, relaxed=True).bound_usd


def _model(tables: Tables, deadline_s: float) -> _Model:
    model = _Model(tables, Program(), not is_large(tables), {})
    for lot in tables.lots:
        room_s = min(lot.room_s(deadline_s), tables.work_s)
        if room_s > 0:
            model.rentings.setdefault(lot.kind, []).append(_renting(model, lot, room_s))
    for job, rows in enumerate(tables.bundles):
        if tables.counts[job]:
            cover = model.program.row(lower=tables.counts[job])
            for kind, bundles in enumerate(rows):
                _add_bundles(model, kind, bundles, cover=cover)
    _add_counting_cuts(model)
    _add_groups(model)
    return model


def _renting(model: _Model, lot: Lot, room_s: float) -> _Renting:
    """Machines x that work w hours in all: w <= room x; the bill; GPU hours and GPUs that bundles then use up."""
    program = model.program
    usd_per_h, setup_h = lot.usd_per_s * HOUR_S, lot.setup_s / HOUR_S
    metered = lot.billing_s == 1 and lot.minimum_s <= lot.setup_s
    machines = program.column(usd_per_h * setup_h if metered else 0.0, upper=lot.available, integer=True)
    busy = program.column(usd_per_h if metered else 0.0)
    room, area, long = program.row(upper=0.0), program.row(upper=0.0), program.row(upper=0.0)
    program.put(room, busy, 1.0)
    program.put(room, machines, -room_s / HOUR_S)
    program.put(area, busy, -lot.gpus)
    program.put(long, machines, -lot.gpus)
    if not metered:
        _add_coarse_bill(program, lot, busy=busy, machines=machines)
    return _Renting(lot, room_s, machines, busy, area, long)


def _add_coarse_bill(program: Program, lot: Lot, *, busy: int, machines: int) -> None:
    """Billed units of x machines: a whole number, at least the time used, at least x minima."""
    billed = program.column(lot.usd_per_s * lot.billing_s, integer=lot.billing_s > 1)
    used, least = program.row(lower=0.0), program.row(lower=0.0)
    program.put(used, billed, lot.billing_s / HOUR_S)
    program.put(used, busy, -1.0)
    program.put(used, machines, -lot.setup_s / HOUR_S)
    program.put(least, billed, 1.0)
    program.put(least, machines, -max(lot.minimum_s / lot.billing_s, 1.0))


def _add_bundles(model: _Model, kind: int, bundles: Iterable[Bundle], *, cover: int) -> None:
    """Bundles of one class that end before the deadline on some machine of a kind; they cover the class."""
    for bundle in bundles:
        rentings = [one for one in model.wide(kind, bundle.gpus) if bundle.seconds <= one.room_s]
        if not rentings:
            continue
        most = math.ceil(model.tables.counts[bundle.job] / bundle.runs)
        column = model.program.column(upper=most, integer=model.whole_bundles)
        model.program.put(cover, column, bundle.runs)
        model.packed.append(_Packed(kind, bundle, column))
        if bundle.seconds * HALF > max(one.room_s for one in rentings):
            _add_flows(model, bundle, column, rentings)
        else:
            area = _short_area(model, kind, bundle.gpus)
            model.program.put(area, column, bundle.gpus * bundle.seconds / HOUR_S)


def _add_flows(model: _Model, bundle: Bundle, column: int, rentings: list[_Renting]) -> None:
    """A long bundle is shared out among offers: it takes GPU hours of each, and a GPU has room for one long bundle."""
    program = model.program
    shared_out = program.row(lower=0.0, upper=0.0)
    program.put(shared_out, column, -1.0)
    for one in rentings:
        flow = program.column()
        program.put(shared_out, flow, 1.0)
        program.put(one.area, flow, bundle.gpus * bundle.seconds / HOUR_S)
        if bundle.seconds * HALF > one.room_s:
            program.put(one.long, flow, bundle.gpus)
        model.flows.append((one.lot, bundle, flow))


def _short_area(model: _Model, kind: int, gpus: int) -> int:
    """The row that shares the GPU hours of a kind's short bundles of one width out among offers wide enough."""
    if (kind, gpus) not in model.short:
        row = model.program.row(upper=0.0)
        model.short[kind, gpus] = row
        for one in model.wide(kind, gpus):
            hours = model.program.column()
            model.program.put(row, hours, -1.0)
            model.program.put(one.area, hours, 1.0)
    return model.short[kind, gpus]


def _add_counting_cuts(model: _Model) -> None:
    """Of bundles that take at least t, a GPU with room R holds at most floor(R / t): by kind and width."""
    for kind in range(len(model.tables.kinds)):
        for width in sorted({1, *model.tables.gpus}):
            rentings = model.wide(kind, width)
            packed = [one for one in model.packed if one.kind == kind and one.bundle.gpus >= width]
            if rentings and packed:
                for parts in COUNTED_PARTS:
                    _add_counting_cut(model.program, packed, rentings, parts)


def _add_counting_cut(program: Program, packed: list[_Packed], rentings: list[_Renting], parts: int) -> None:
    room_s = max(one.room_s for one in rentings)
    long = [one for one in packed if one.bundle.seconds * parts > room_s]
    if not long:
        return
    least_s = min(one.bundle.seconds for one in long)
    row = program.row(upper=0.0)
    for one in long:
        program.put(row, one.column, one.bundle.gpus)
    for renting in rentings:
        program.put(row, renting.machines, -renting.lot.gpus * (renting.room_s // least_s))


def _add_groups(model: _Model) -> None:
    """At most one machine of all offers of a group."""
    rows: dict[str, int] = {}
    for one in (one for row in model.rentings.values() for one in row):
        if one.lot.group is not None:
            if one.lot.group not in rows:
                rows[one.lot.group] = model.program.row(upper=1.0)
            model.program.put(rows[one.lot.group], one.machines, 1.0)
