"""GPUs that all stand ready: the last one to finish is relieved again and again. It looks at no price."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.place.dice import Dice

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuplan.place.tables import Bundle

__all__ = ["Lane", "Seconds", "levelled"]

NOISE = 0.3
"""How far from longest first bundles may be dealt out."""
DRAWN = 3
"""The latest of so many counts as late."""
DRIFTING_LANES = 10
"""So many in all: how often lanes may become later again, though not as late as the last. With few lanes that leads out
of dead ends; with many, most of them are late, and every one made earlier helps."""
THROWN = 6
"""How many bundles a GPU gives up at a time."""
PULLS = (1.0, 1.0, 2.0, 4.0)
"""How much a bundle's own time on a GPU counts against when the GPU is free."""
ASK_EVERY = 64
OTHERS = (1, 2, 2, 3, 3, 4)
"""How many GPUs share their work anew with the last one."""

Seconds = dict[tuple[int, int, int], int]
"""(class, runs, kind) -> how long that bundle takes there; what is missing cannot run there."""


class Lane(NamedTuple):
    """One GPU: its kind, until when gangs hold it, when its session ends, and the bundles in between."""

    kind: int
    start_s: int
    limit_s: float
    bundles: tuple[Bundle, ...]
    end_s: int


def levelled(
    lanes: list[Lane], seconds: Seconds, *, rounds: int, seed: int, enough_s: float, keep_going: Callable[[], bool]
) -> list[Lane]:
    """Lanes with the same work that are over as soon as was found; the same each time.

    The last lane and a few others throw their bundles together and deal them out anew, longest first, each to the
    lane where it is over first; kept if all of these lanes then end before the last one did.
    """
    lanes = list(lanes)
    ends = [lane.end_s for lane in lanes]
    dice = Dice(seed)
    for number in range(rounds):
        if number % ASK_EVERY == 0 and not keep_going():
            break
        end_s = max(ends)
        if end_s <= enough_s:
            break
        chosen = _partners(ends, dice)
        drifts = dice.share() < DRIFTING_LANES / len(lanes)
        below_s = end_s if drifts else max(ends[at] for at in chosen)
        dealt = _dealt([lanes[at] for at in chosen], seconds, dice, below_s=below_s)
        for at, lane in zip(chosen, dealt, strict=False):
            lanes[at], ends[at] = lane, lane.end_s
    return lanes


def _partners(ends: list[int], dice: Dice) -> list[int]:
    """The last lane or, half of the time, a late one; now and then the one that is over first; and any others."""
    late = max((dice.below(len(ends)) for _ in range(DRAWN)), key=ends.__getitem__)
    chosen = {ends.index(max(ends)) if dice.share() < 0.5 else late}
    if dice.share() < 0.5:
        chosen.add(ends.index(min(ends)))
    for _ in range(OTHERS[dice.below(len(OTHERS))]):
        chosen.add(dice.below(len(ends)))
    return sorted(chosen)


def _dealt(lanes: list[Lane], seconds: Seconds, dice: Dice, *, below_s: int) -> list[Lane]:
    """The lanes with their bundles dealt anew, all over before `below_s`; empty if that did not come out."""
    held, pool = _thrown_together(lanes, dice)
    ends = [lane.start_s + sum(bundle.seconds for bundle in kept) for lane, kept in zip(lanes, held, strict=True)]
    pull = PULLS[dice.below(len(PULLS))]
    for bundle in pool:
        best, lowest, needed = -1, math.inf, 0
        for at, lane in enumerate(lanes):
            needed_s = seconds.get((bundle.job, bundle.runs, lane.kind))
            if needed_s is None or ends[at] + needed_s >= below_s or ends[at] + needed_s > lane.limit_s:
                continue
            score = ends[at] + pull * needed_s
            if score < lowest:
                best, lowest, needed = at, score, needed_s
        if best < 0:
            return []
        held[best].append(bundle._replace(seconds=needed))
        ends[best] += needed
    rows = zip(lanes, held, ends, strict=True)
    return [lane._replace(bundles=tuple(bundles), end_s=end_s) for lane, bundles, end_s in rows]


class _Thrown(NamedTuple):
    """What each lane keeps, and what all have thrown together, about longest first."""

    held: list[list[Bundle]]
    pool: list[Bundle]


def _thrown_together(lanes: list[Lane], dice: Dice) -> _Thrown:
    thrown = _Thrown([], [])
    for lane in lanes:
        share = min(1.0, THROWN / max(1, len(lane.bundles)))
        kept: list[Bundle] = []
        for bundle in lane.bundles:
            (thrown.pool if dice.share() < share else kept).append(bundle)
        thrown.held.append(kept)
    thrown.pool.sort(key=lambda bundle: -bundle.seconds * (1 + NOISE * dice.share()))
    return thrown
