"""What goes wrong by chance while a plan is played: attempts that fail, spot machines that are taken away.

The same each time, for each draw its own. It knows nothing of money, and does not judge whether a rate is right.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.place.dice import Dice

if TYPE_CHECKING:
    from gpuplan.place.rentable import Spot

__all__ = ["STEADY", "Hazards", "Luck", "Outages"]

STREAM = 1 << 32
"""Away from the seeds of all other dice."""
MOST_TRIES = 50
"""After which a run that is interrupted again and again is let be: no draw takes for ever."""


class Hazards(NamedTuple):
    """What may go wrong on a machine.

    Attributes:
        failed: the share of all attempts that end badly, at a random moment; a run then begins again at once.
        mean_s: of up-time between two interruptions; infinite where nobody takes the machine away.
        restart_s: from getting a machine again until runs go on.
        interval_s: of work between two checkpoints; infinite where an interrupted run begins again.
        undisturbed: the share of a planned time that is left without interruptions: work, and writing checkpoints.
    """

    failed: float = 0.0
    mean_s: float = math.inf
    restart_s: float = 0.0
    interval_s: float = math.inf
    undisturbed: float = 1.0

    @property
    def is_interrupted(self) -> bool:
        """Whether the machine may be taken away."""
        return math.isfinite(self.mean_s)

    @property
    def is_steady(self) -> bool:
        """Whether nothing is left to chance."""
        return not self.failed and not self.is_interrupted

    @classmethod
    def of(cls, failed: float, spot: Spot | None) -> Hazards:
        """Those of an offer, by what interruptions do to it."""
        if spot is None or spot.per_h <= 0:
            return cls(failed)
        return cls(failed, 3600 / spot.per_h, spot.restart_s, spot.interval_s, spot.undisturbed / spot.pace)


STEADY = Hazards()


class Luck:
    """What befalls all machines of a plan in one draw."""

    __slots__ = ("_dice", "_failed", "_seeds", "_well")

    def __init__(self, draw: int, failed: float) -> None:
        self._dice, self._seeds = Dice(STREAM + draw), Dice(2 * STREAM + draw)
        self._failed = failed
        self._well = self._attempts_until_failure()

    def repeats(self, runs: int) -> float:
        """What failed attempts of a run add to it, in lengths of the run; of `runs` at once, the most of them."""
        return max(self._repeats_of_one() for _ in range(runs)) if runs > 1 else self._repeats_of_one()

    def repeats_in_sequence(self, runs: int, times: int) -> float:
        """The same of `times` times as many, one lot after the other."""
        attempts = runs * times
        if self._well >= attempts:
            self._well -= attempts
            return 0.0
        return math.fsum(self.repeats(runs) for _ in range(times))

    def outages(self, hazards: Hazards, *, ready_s: float) -> Outages:
        """When a machine is taken away that is ready at `ready_s`: however long it then works, and whatever fails."""
        return Outages(hazards, Dice(self._seeds.below(STREAM)), ready_s=ready_s)

    def _repeats_of_one(self) -> float:
        lengths = 0.0
        while not self._well:
            lengths += self._dice.share()
            self._well = self._attempts_until_failure()
        self._well -= 1
        return lengths

    def _attempts_until_failure(self) -> float:
        if self._failed <= 0:
            return math.inf
        return math.floor(math.log1p(-self._dice.share()) / math.log1p(-self._failed))


class Outages:
    """When one machine is taken away, on the clock of the time that it is there; all its runs stop at once."""

    __slots__ = ("_dice", "_hazards", "_taken_s")

    def __init__(self, hazards: Hazards, dice: Dice, *, ready_s: float) -> None:
        self._dice, self._hazards = dice, hazards
        self._taken_s = [ready_s + self._gap_s()]

    def end_s(self, start_s: float, length_s: float, times: int = 1) -> float:
        """When `times` runs of `length_s` have ended that follow each other, the first of which starts at `start_s`."""
        if length_s <= 0:
            return start_s
        taken_s, interval_s, restart_s = self._taken_s, self._hazards.interval_s, self._hazards.restart_s
        at, left_s, tries = self._next(start_s), length_s, 0
        while times:
            room_s = taken_s[at] - start_s
            if left_s <= room_s:
                through = 1 + min(times - 1, int((room_s - left_s) // length_s))
                start_s += left_s + (through - 1) * length_s
                times, left_s, tries = times - through, length_s, 0
            elif tries < MOST_TRIES:
                left_s -= room_s - room_s % interval_s
                start_s = taken_s[at] + restart_s
                at, tries = at + 1, tries + 1
                if at == len(taken_s):
                    self._take()
            else:
                start_s += left_s
                at, times, left_s, tries = self._next(start_s), times - 1, length_s, 0
        return start_s

    def before(self, end_s: float) -> int:
        """How many times it was taken away before its last run ended."""
        return self._next(end_s)

    def _next(self, moment_s: float) -> int:
        """Which of the times that it is taken away is the first at or after a moment."""
        while self._taken_s[-1] < moment_s:
            self._take()
        return bisect_left(self._taken_s, moment_s)

    def _take(self) -> None:
        self._taken_s.append(self._taken_s[-1] + self._hazards.restart_s + self._gap_s())

    def _gap_s(self) -> float:
        return -math.log1p(-self._dice.share()) * self._hazards.mean_s
