"""A cheaper fleet from a fleet: empty a few machines and fill their runs in again. It never makes a plan dearer.

Ruin and recreate (Schrimpf et al. 2000) with the list scheduler of greedy.py; iterations are counted, not timed, and
chance is seeded, so that the same fleet improves the same way each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuplan.place.dice import Dice
from gpuplan.place.greedy import insert, sort_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuplan.place.fleet import Fleet, Machine

__all__ = ["ruined"]

NOISE = 0.15
SAVED = 1e-9


def ruined(
    fleet: Fleet, *, rounds: int, seed: int = 0, keep_going: Callable[[], bool], enough_usd: float = 0.0
) -> Fleet:
    """The cheapest fleet seen in so many rounds, or until it costs no more than `enough_usd`."""
    dice = Dice(seed)
    best_usd = fleet.cost_usd
    for _ in range(rounds):
        if best_usd <= enough_usd or not keep_going():
            break
        other = _recreated(fleet, _chosen(fleet, dice), dice)
        if other is not None and other.cost_usd < best_usd - SAVED:
            fleet, best_usd = other, other.cost_usd
    return fleet


def _chosen(fleet: Fleet, dice: Dice) -> set[int]:
    """One to four machines, half of the time those that waste most."""
    number = min((1, 1, 2, 2, 3, 4)[dice.below(6)], len(fleet.machines))
    chosen: set[int] = set()
    weights = [_wasted_usd(machine) for machine in fleet.machines] if dice.share() < 0.5 else []
    while len(chosen) < number:
        chosen.add(dice.weighted(weights) if weights else dice.below(len(fleet.machines)))
    return chosen


def _wasted_usd(machine: Machine) -> float:
    """The bill less what the work would cost on GPUs that never wait."""
    work_s = sum(bundle.seconds * bundle.gpus for bundle in machine.bundles)
    return machine.cost_usd - machine.lot.usd_per_s * work_s / machine.lot.gpus + SAVED


def _recreated(fleet: Fleet, gone: set[int], dice: Dice) -> Fleet | None:
    pending: dict[int, int] = {}
    for at in sorted(gone):
        for bundle in fleet.machines[at].bundles:
            pending[bundle.job] = pending.get(bundle.job, 0) + bundle.runs
    other = fleet.without(gone)
    order = sorted(pending, key=lambda job: sort_key(fleet.tables, job))
    if dice.share() < 0.3:
        order = dice.shuffled(order)
    noise = NOISE if dice.share() < 0.7 else 0.0
    for job in order:
        if not insert(other, job, pending[job], dice=dice, noise=noise):
            return None
    other.machines = [machine.reordered() for machine in other.machines]
    return other
