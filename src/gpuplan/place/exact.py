"""The best plan of a few runs among listed machines, by dynamic programming over which runs are done. It lists no more.

A state is how many runs of each class are placed. What a machine needs for a state follows from halves of it, as gangs
on aligned blocks nest; what the first n machines cost follows from what the first n - 1 do. Work and memory grow with
the number of (state, part of it) pairs, 3^N for N distinct runs.
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.place.fleet import Fleet, Spot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gpuplan.place.milp import Mix
    from gpuplan.place.tables import Bundle, Lot, Tables

__all__ = ["Exact", "can_be_exact", "exact_fleet"]

MOST_RUNS = 10
MOST_STEPS = 3_000_000
CHEAPEST_PER_CLASS = 3
SPARE = 1


class Exact(NamedTuple):
    """The best fleet among so many listed machines."""

    fleet: Fleet
    listed: int


class _Lattice(NamedTuple):
    """All states as numbers, such that a state less a part of it is the difference of the numbers.

    Attributes:
        weights: what one run of each class adds.
        digits: of each state, how many runs of each class.
        full: the state in which everything is done.
        parts: of each state, all states that are part of it, itself and none included.
    """

    weights: tuple[int, ...]
    digits: tuple[tuple[int, ...], ...]
    full: int
    parts: tuple[tuple[int, ...], ...]


def can_be_exact(tables: Tables) -> bool:
    """Few runs, and gangs whose blocks nest: widths that are powers of two."""
    return sum(tables.counts) <= MOST_RUNS and all(gpus & (gpus - 1) == 0 for gpus in tables.gpus)


def exact_fleet(tables: Tables, deadline_s: float, *, mix: Mix, known: Fleet | None = None) -> Exact | None:
    """The cheapest fleet among the machines worth listing; None if even those cannot meet the deadline."""
    lattice = _lattice(tables.counts)
    machines = _listed(tables, deadline_s, lattice, mix, known)
    spans = _Spans(tables, lattice)
    best = [0.0] + [math.inf] * lattice.full
    choices = []
    for lot in machines:
        best, chosen = _with_one_more(best, _costs(spans, lot, deadline_s), lattice)
        choices.append(chosen)
    if math.isinf(best[lattice.full]):
        return None
    return Exact(_traced(tables, deadline_s, spans, machines, choices), len(machines))


def _lattice(counts: tuple[int, ...]) -> _Lattice:
    weights, size = [], 1
    for count in counts:
        weights.append(size)
        size *= count + 1
    states = tuple(digits[::-1] for digits in product(*(range(count + 1) for count in reversed(counts))))
    parts = []
    for digits in states:
        below = [0]
        for digit, weight in zip(digits, weights, strict=True):
            below = [part + number * weight for number in range(digit + 1) for part in below]
        parts.append(tuple(below))
    return _Lattice(tuple(weights), states, size - 1, tuple(parts))


def _listed(tables: Tables, deadline_s: float, lattice: _Lattice, mix: Mix, known: Fleet | None) -> list[Lot]:
    """What the mix and the known fleet use and a spare, then what is cheapest for a class, then by price."""
    steps = sum(len(parts) for parts in lattice.parts)
    most = max(SPARE + 1, MOST_STEPS // steps)
    wanted: Counter[int] = Counter()
    for share in mix.shares:
        wanted[share.lot.number] = math.ceil(share.machines) + SPARE
    wanted |= Counter(machine.lot.number for machine in known.machines) if known else Counter()
    by_number = {lot.number: lot for lot in tables.lots}
    listed: list[Lot] = []
    groups: dict[str, int] = {}
    runs = sum(tables.counts)
    for number in dict.fromkeys([*wanted, *_by_use(tables, deadline_s)]):
        lot = by_number[number]
        if lot.group is not None and groups.setdefault(lot.group, number) != number:
            continue
        copies = 1 if lot.group is not None else min(max(wanted[number], SPARE), lot.available, runs)
        listed += [lot] * copies
    return listed[:most]


def _by_use(tables: Tables, deadline_s: float) -> Iterator[int]:
    """Offers that run some class alone for least first, then all by the price of a GPU."""
    for job, rows in enumerate(tables.bundles):
        alone = [
            (lot.cost_usd(rows[lot.kind][0].seconds), lot.number)
            for lot in tables.lots
            if rows[lot.kind] and lot.gpus >= tables.gpus[job] and rows[lot.kind][0].seconds <= lot.room_s(deadline_s)
        ]
        yield from (number for _, number in sorted(alone)[:CHEAPEST_PER_CLASS])
    yield from sorted((lot.number for lot in tables.lots), key=lambda number: _gpu_price(tables, number))


def _gpu_price(tables: Tables, number: int) -> tuple[float, int]:
    lot = next(lot for lot in tables.lots if lot.number == number)
    return (lot.usd_per_s / lot.gpus, number)


class _Spans:
    """The least span of each state on a block of GPUs of a kind, worked out when first asked for.

    A gang as wide as the block takes all of it, so that these come first, in sequence; the rest is split in two.
    """

    def __init__(self, tables: Tables, lattice: _Lattice) -> None:
        self.tables = tables
        self.lattice = lattice
        self.known: dict[tuple[int, int], list[float]] = {}

    def of(self, kind: int, gpus: int) -> list[float]:
        """By state, in seconds; infinite where it does not fit."""
        if (kind, gpus) not in self.known:
            self.known[kind, gpus] = self._made(kind, gpus)
        return self.known[kind, gpus]

    def sequence(self, kind: int, job: int, runs: int) -> tuple[Bundle, ...] | None:
        """Bundles of one class that follow each other and take least; None if it cannot run on this kind."""
        quickest: list[tuple[Bundle, ...] | None] = [()]
        for number in range(1, runs + 1):
            options = [
                (*before, bundle)
                for bundle in self.tables.bundles[job][kind]
                if bundle.runs <= number and (before := quickest[number - bundle.runs]) is not None
            ]
            quickest.append(min(options, key=_total_s, default=None))
        return quickest[runs]

    def on_all(self, state: int, gpus: int) -> int:
        """The part of a state that needs the whole block."""
        digits = self.lattice.digits[state]
        wide = (at for at, width in enumerate(self.tables.gpus) if width == gpus)
        return sum(digits[at] * self.lattice.weights[at] for at in wide)

    def _made(self, kind: int, gpus: int) -> list[float]:
        split = self._split(kind, gpus) if gpus > 1 else [0.0] + [math.inf] * self.lattice.full
        spans = []
        for state in range(self.lattice.full + 1):
            whole = self.on_all(state, gpus)
            spans.append(self._sequence_s(kind, whole) + split[state - whole])
        return spans

    def _sequence_s(self, kind: int, state: int) -> float:
        times_s = 0.0
        for job, runs in enumerate(self.lattice.digits[state]):
            if runs:
                bundles = self.sequence(kind, job, runs)
                times_s += _total_s(bundles) if bundles is not None else math.inf
        return times_s

    def _split(self, kind: int, gpus: int) -> list[float]:
        left, right = self.of(kind, _first_half(gpus)), self.of(kind, gpus - _first_half(gpus))
        every = enumerate(self.lattice.parts)
        return [min(max(left[part], right[state - part]) for part in parts) for state, parts in every]


def _total_s(bundles: Iterable[Bundle]) -> int:
    return sum(bundle.seconds for bundle in bundles)


def _first_half(gpus: int) -> int:
    """Aligned blocks of powers of two: 8 is 4 and 4, 6 is 4 and 2."""
    high = 1 << (gpus.bit_length() - 1)
    return high // 2 if high == gpus else high


def _costs(spans: _Spans, lot: Lot, deadline_s: float) -> list[float]:
    room_s = lot.room_s(deadline_s)
    needed = spans.of(lot.kind, lot.gpus)
    return [0.0] + [lot.cost_usd(span_s) if span_s <= room_s else math.inf for span_s in needed[1:]]


def _with_one_more(best: list[float], costs: list[float], lattice: _Lattice) -> tuple[list[float], list[int]]:
    """The least cost of each state with one machine more, and what that machine then runs."""
    grown, chosen = [], []
    useful = [math.isfinite(cost) for cost in costs]
    for state, parts in enumerate(lattice.parts):
        lowest, choice = best[state], 0
        for part in parts:
            if useful[part] and best[state - part] + costs[part] < lowest - 1e-12:
                lowest, choice = best[state - part] + costs[part], part
        grown.append(lowest)
        chosen.append(choice)
    return grown, chosen


def _traced(tables: Tables, deadline_s: float, spans: _Spans, machines: list[Lot], choices: list[list[int]]) -> Fleet:
    fleet = Fleet(tables, deadline_s)
    state = spans.lattice.full
    for lot, chosen in zip(reversed(machines), reversed(choices), strict=True):
        if chosen[state]:
            machine = fleet.empty(lot)
            for bundle, spot in _laid(spans, lot.kind, chosen[state], lot.gpus, first=0, start_s=0):
                machine = machine.plus(bundle, spot)
            fleet.rent(machine)
        state -= chosen[state]
    return fleet


def _laid(
    spans: _Spans, kind: int, state: int, gpus: int, *, first: int, start_s: int
) -> Iterator[tuple[Bundle, Spot]]:
    """The bundles of a state on a block of GPUs, as its least span wants them."""
    whole = spans.on_all(state, gpus)
    for job, runs in enumerate(spans.lattice.digits[whole]):
        for bundle in spans.sequence(kind, job, runs) or ():
            start_s += bundle.seconds
            yield bundle, Spot(start_s, first)
    state -= whole
    if state:
        half = _first_half(gpus)
        left, right = spans.of(kind, half), spans.of(kind, gpus - half)
        part = min(spans.lattice.parts[state], key=lambda part: max(left[part], right[state - part]))
        yield from _laid(spans, kind, part, half, first=first, start_s=start_s)
        yield from _laid(spans, kind, state - part, gpus - half, first=first + half, start_s=start_s)
