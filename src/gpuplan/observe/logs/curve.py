"""The beginning of a run's loss curve, kept thin, and whether two of them are of one run."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CurveStart", "Spot", "are_one"]

MOST_OF_EACH = 24
INTERVALS = (1, 10, 100)
"""Programs log every so many steps: of each kind some spots are kept, so that two loggers have some in common."""
MOST_ROWS = 5000
FEWEST_IN_COMMON = 3


class Spot(NamedTuple):
    """The loss at one place of a run."""

    step: float | None
    epoch: float | None
    loss: float


class CurveStart:
    """Takes losses as they come, and keeps some from the first rows."""

    def __init__(self) -> None:
        self.spots: list[Spot] = []
        self._kept = dict.fromkeys(INTERVALS, 0)
        self._rows = 0

    @property
    def wants_more(self) -> bool:
        """Whether later rows may still be kept."""
        return self._rows < MOST_ROWS and any(count < MOST_OF_EACH for count in self._kept.values())

    def take(self, spot: Spot) -> None:
        """Take the next one; of those without a step only the first ones."""
        self._rows += 1
        fitting = [each for each in INTERVALS if each == 1 or (spot.step is not None and spot.step % each == 0)]
        chosen = next((each for each in fitting if self._kept[each] < MOST_OF_EACH), None)
        if chosen is not None:
            self._kept[chosen] += 1
            self.spots.append(spot)


def are_one(first: Sequence[Spot], second: Sequence[Spot]) -> bool:
    """Whether all losses that two curves have in common are the same: by step, or else by epoch; three at least."""
    pairs = _common(first, second)
    return len(pairs) >= FEWEST_IN_COMMON and all(_alike(one, other) for one, other in pairs)


def _common(first: Sequence[Spot], second: Sequence[Spot]) -> list[tuple[float, float]]:
    for axis in ("step", "epoch"):
        one, other = _by_place(first, axis), _by_place(second, axis)
        if one and other:
            return [(one[place], other[place]) for place in one if place in other]
    return []


def _by_place(curve: Sequence[Spot], axis: Literal["step", "epoch"]) -> dict[str, float]:
    """The losses by place, epochs as the Trainer prints them; those that are then no longer apart are left out."""
    found: dict[str, list[float]] = defaultdict(list)
    for spot in curve:
        if axis == "step" and spot.step is not None:
            found[f"{spot.step:.12g}"].append(spot.loss)
        elif axis == "epoch" and spot.epoch is not None:
            found[f"{spot.epoch:.4g}"].append(spot.loss)
    return {place: losses[0] for place, losses in found.items() if len(losses) == 1}


def _alike(one: float, other: float) -> bool:
    """Whether two figures are one, of which a program may have printed fewer digits."""
    last_digit = max(_last_digit(one), _last_digit(other))
    return abs(one - other) <= 0.500001 * last_digit


def _last_digit(figure: float) -> float:
    """What one of the last digit is worth that the shortest text of the figure has."""
    mantissa, _, exponent = f"{figure!r}".partition("e")
    decimals = len(mantissa.partition(".")[2])
    return float(10.0 ** (int(exponent or 0) - decimals))
