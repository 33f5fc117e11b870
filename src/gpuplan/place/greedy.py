"""List scheduling at once: widest and longest first, each bundle where it adds least to the bill. It proves nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.place.fleet import Fleet, Machine, Spot

if TYPE_CHECKING:
    from gpuplan.place.dice import Dice
    from gpuplan.place.tables import Bundle, Lot, Tables

__all__ = ["greedy", "insert", "sort_key"]

FILLED = 0.85
"""How far a new machine is trusted to be filled up by later runs; else its whole bill counts for the first one."""
USE = 1e-3
"""A weak price on room that is free anyway, so that quick GPUs are taken first."""


class _Choice(NamedTuple):
    """A way to place a bundle: on the machine at `at`, or on a new one (None)."""

    score: float
    bundle: Bundle
    spot: Spot
    machine: Machine
    at: int | None


def greedy(tables: Tables, deadline_s: float) -> Fleet | None:
    """A fleet that runs everything within the deadline; None if this order finds none."""
    fleet = Fleet(tables, deadline_s)
    for job in sorted(range(len(tables.counts)), key=lambda job: sort_key(tables, job)):
        if not insert(fleet, job, tables.counts[job]):
            return None
    return fleet


def sort_key(tables: Tables, job: int) -> tuple[int, int, int]:
    """Widest first, then those that take longest even on their quickest kind."""
    return (-tables.gpus[job], -tables.quickest_s[job], job)


def insert(fleet: Fleet, job: int, runs: int, *, dice: Dice | None = None, noise: float = 0.0) -> bool:
    """Add runs of a class, bundle by bundle, where each costs least; false if no machine can take one."""
    while runs:
        choices = (_best_open(fleet, job, runs, dice, noise), _best_new(fleet, job, runs, dice, noise))
        choice = min((one for one in choices if one is not None), key=lambda one: one.score, default=None)
        if choice is None:
            return False
        grown = choice.machine.plus(choice.bundle, choice.spot)
        if choice.at is None:
            fleet.rent(grown)
        else:
            fleet.machines[choice.at] = grown
        runs -= choice.bundle.runs
    return True


def _best_open(fleet: Fleet, job: int, runs: int, dice: Dice | None, noise: float) -> _Choice | None:
    best, lowest = None, math.inf
    row = fleet.tables.best[job]
    for at, machine in enumerate(fleet.machines):
        by_runs = row[machine.lot.kind]
        if not by_runs:
            continue
        bundle = by_runs[min(runs, len(by_runs)) - 1]
        spot = machine.spot(bundle)
        if spot is None and bundle.runs > 1:
            free_s = machine.room_s - min(machine.loads)
            bundle = next((one for one in reversed(by_runs[: bundle.runs - 1]) if one.seconds <= free_s), bundle)
            spot = machine.spot(bundle)
        if spot is None:
            continue
        score = _added_usd(machine, bundle, spot) / bundle.runs
        if dice is not None and noise:
            score *= 1 + noise * dice.share()
        if score < lowest:
            best, lowest = _Choice(score, bundle, spot, machine, at), score
    return best


def _added_usd(machine: Machine, bundle: Bundle, spot: Spot) -> float:
    lot = machine.lot
    use_usd = USE * lot.usd_per_s / lot.gpus * bundle.gpus * bundle.seconds
    if spot.end_s <= machine.span_s:
        return use_usd
    return use_usd + lot.cost_usd(spot.end_s) - machine.cost_usd


def _best_new(fleet: Fleet, job: int, runs: int, dice: Dice | None, noise: float) -> _Choice | None:
    best, lowest = None, math.inf
    for kind, by_runs in enumerate(fleet.tables.best[job]):
        if not by_runs:
            continue
        bundle = by_runs[min(runs, len(by_runs)) - 1]
        lot = _cheapest_lot(fleet, kind, bundle)
        if lot is None:
            continue
        score = _opening_usd(fleet, lot, bundle) / bundle.runs
        if dice is not None and noise:
            score *= 1 + noise * dice.share()
        if score < lowest:
            machine = fleet.empty(lot)
            best, lowest = _Choice(score, bundle, Spot(bundle.seconds, 0), machine, None), score
    return best


def _cheapest_lot(fleet: Fleet, kind: int, bundle: Bundle) -> Lot | None:
    """The first in the order of their prices that is wide and free enough, and has room."""
    for lot in fleet.tables.by_price[kind]:
        if lot.gpus >= bundle.gpus and bundle.seconds <= fleet.rooms_s[lot.number] and fleet.can_rent(lot):
            return lot
    return None


def _opening_usd(fleet: Fleet, lot: Lot, bundle: Bundle) -> float:
    """Between the bundle's share of a machine that later runs fill up, and the whole bill of one that stays empty."""
    alone_usd = lot.cost_usd(bundle.seconds)
    room_s = min(fleet.rooms_s[lot.number], fleet.tables.work_s)
    filled_usd = lot.cost_usd(room_s) * bundle.gpus * bundle.seconds / (lot.gpus * max(room_s, bundle.seconds))
    return FILLED * filled_usd + (1 - FILLED) * alone_usd
