"""What people do without a planner, on the same market and under the same deadline: plans to stand beside ours.

Both rent the offer with the cheapest GPU hour that can still finish a run in time, and never share a GPU; on one's
own cluster all machines are there from the start.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gpuplan.place.fleet import Fleet
from gpuplan.place.owned import is_owned
from gpuplan.place.tables import Tables, tables_of

if TYPE_CHECKING:
    from gpuplan.place.problem import Problem

__all__ = ["first_come_first_served", "longest_first"]


def longest_first(problem: Problem, deadline_s: float) -> Fleet | None:
    """One run per GPU, widest and longest first (LPT)."""
    alone = tables_of(replace(problem, most_per_gpu=1))
    order = sorted(range(len(alone.counts)), key=lambda job: (-alone.gpus[job], -alone.quickest_s[job], job))
    return _served(alone, order, deadline_s, in_queue=False)


def first_come_first_served(problem: Problem, deadline_s: float) -> Fleet | None:
    """One run per GPU in the order of the spec; as in a queue, a run starts where it can start first."""
    alone = tables_of(replace(problem, most_per_gpu=1))
    return _served(alone, list(range(len(alone.counts))), deadline_s, in_queue=True)


def _served(tables: Tables, order: list[int], deadline_s: float, *, in_queue: bool) -> Fleet | None:
    """Each run where it ends first (starts first in a queue) on what is rented, else on one machine more."""
    fleet = Fleet(tables, deadline_s)
    if is_owned(tables):
        for lot in tables.lots:
            for _ in range(lot.available):
                fleet.rent(fleet.empty(lot))
    for job in order:
        for _ in range(tables.counts[job]):
            if not (_on_rented(fleet, job, starts_first=in_queue) or _on_new(fleet, job)):
                return None
    return fleet


def _on_rented(fleet: Fleet, job: int, *, starts_first: bool) -> bool:
    best, lowest = None, float("inf")
    for at, machine in enumerate(fleet.machines):
        bundles = fleet.tables.bundles[job][machine.lot.kind]
        spot = machine.spot(bundles[0]) if bundles else None
        if spot is not None:
            moment_s = machine.lot.head_s + spot.end_s - (bundles[0].seconds if starts_first else 0)
            if moment_s < lowest:
                best, lowest = (at, bundles[0], spot), moment_s
    if best is None:
        return False
    at, bundle, spot = best
    fleet.machines[at] = fleet.machines[at].plus(bundle, spot)
    return True


def _on_new(fleet: Fleet, job: int) -> bool:
    for lot in sorted(fleet.tables.lots, key=lambda lot: (lot.usd_per_s / lot.gpus, lot.number)):
        bundles = fleet.tables.bundles[job][lot.kind]
        if bundles and fleet.can_rent(lot):
            empty = fleet.empty(lot)
            spot = empty.spot(bundles[0])
            if spot is not None:
                fleet.rent(empty.plus(bundles[0], spot))
                return True
    return False
