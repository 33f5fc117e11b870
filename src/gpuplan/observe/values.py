"""Keeps what a stream of numbers comes to: last, best, a thinned curve, quantiles. Bounded memory, never a file."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Curve", "Point", "Thinned", "Value", "Values", "Weighted", "better", "direction", "quantile"]

Item = TypeVar("Item")

MOST_POINTS = 2000
MOST_NAMES = 200
LOWER_IS_BETTER = re.compile(
    r"(^|[^a-z])(loss|ppl|perplexity|err|error|mse|rmse|mae|mape|nll|wer|cer|bpb|bpc|fid|crossentropy|cross_entropy)($|[^a-z])"
)
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
HIGHER_IS_BETTER = re.compile(
    r"(^|[^a-z])(acc|accuracy|f1|auc|auroc|bleu|rouge\w*|score|reward|rewards|precision|recall|map|miou|iou|em|r2|psnr|"
    r"exact_match|top\d?|success|win_rate|pass_rate)($|[^a-z])"
)


class Point(NamedTuple):
    """A value and where on the run it was taken."""

    at: float
    value: float


class Curve(NamedTuple):
    """One named value over the run, thinned to at most 2000 points."""

    axis: Literal["step", "epoch"]
    points: tuple[Point, ...]


class Weighted(NamedTuple):
    """A value that stands for `weight` of its kind."""

    value: float
    weight: float


class Thinned(Generic[Item]):
    """Every n-th of a stream of items, and the last; n doubles as they become too many."""

    def __init__(self, most: int = MOST_POINTS) -> None:
        self._items: list[Item] = []
        self._most = most
        self._stride = 1
        self._seen = 0
        self._last: Item | None = None

    def add(self, item: Item) -> None:
        """Take one more."""
        if self._seen % self._stride == 0:
            self._items.append(item)
        self._seen += 1
        self._last = item
        if len(self._items) >= self._most:
            self._items = self._items[::2]
            self._stride *= 2

    def add_many(self, count: int, item: Callable[[int], Item]) -> None:
        """Take `count` more at once; `item` makes one by its number among them, and is asked only for what is kept."""
        taken = 0
        while taken < count:
            to_pass = min(-self._seen % self._stride, count - taken)
            self._seen += to_pass
            taken += to_pass
            if taken < count:
                self.add(item(taken))
                taken += 1
        self._last = item(count - 1) if count else self._last

    def items(self) -> list[Item]:
        """What was kept, in the order it came."""
        if self._last is None or (self._seen - 1) % self._stride == 0:
            return list(self._items)
        return [*self._items, self._last]


@dataclass(slots=True)
class Value:
    """One named value: its last and best finite figures, its curve, and where it stopped being finite."""

    last: float | None = None
    best: float | None = None
    curve: Thinned[Point] = field(default_factory=Thinned)
    not_finite: int = 0
    lost_at: float | None = None
    """Where the last figure is if that is not finite."""


class Values:
    """All named values of a stream, `lost_at` and curves by the axis of the stream."""

    def __init__(self) -> None:
        self.by_name: dict[str, Value] = {}

    def add(self, name: str, at: float, figure: float) -> None:
        """Take one figure; of more than 200 names the later ones are left out."""
        if name not in self.by_name and len(self.by_name) >= MOST_NAMES:
            return
        value = self.by_name.setdefault(name, Value())
        if not math.isfinite(figure):
            value.not_finite += 1
            value.lost_at = at
            return
        value.last, value.lost_at = figure, None
        value.best = figure if value.best is None else better(name, value.best, figure)
        value.curve.add(Point(at, figure))

    def add_many(self, name: str, places: Sequence[float], figures: Sequence[float]) -> None:
        """Take one figure for each place, all of them finite."""
        if not figures or (name not in self.by_name and len(self.by_name) >= MOST_NAMES):
            return
        value = self.by_name.setdefault(name, Value())
        value.last, value.lost_at = figures[-1], None
        extreme = min(figures) if direction(name) == "lower" else max(figures)
        value.best = extreme if value.best is None else better(name, value.best, extreme)
        value.curve.add_many(len(figures), lambda index: Point(places[index], figures[index]))

    def last(self) -> dict[str, float]:
        """The last finite figure of each name, without those that ended as NaN or infinity."""
        return {
            name: value.last for name, value in self.by_name.items() if value.last is not None and value.lost_at is None
        }

    def best(self) -> dict[str, float]:
        """The best figure of each name that says which way is better."""
        return {
            name: value.best
            for name, value in self.by_name.items()
            if value.best is not None and direction(name) is not None
        }

    def lost(self) -> dict[str, float]:
        """Losses whose last figure is NaN or infinite, with where that is."""
        return {
            name: value.lost_at
            for name, value in self.by_name.items()
            if value.lost_at is not None and direction(name) == "lower"
        }

    def curves(self, axis: Literal["step", "epoch"]) -> dict[str, Curve]:
        """The curve of each name that has one."""
        kept = {name: tuple(value.curve.items()) for name, value in self.by_name.items()}
        return {name: Curve(axis, points) for name, points in kept.items() if points}


def better(name: str, first: float, second: float) -> float:
    """The better of two figures: lower for a loss or an error, higher for anything else."""
    return min(first, second) if direction(name) == "lower" else max(first, second)


@lru_cache(maxsize=4096)
def direction(name: str) -> Literal["lower", "higher"] | None:
    """Which way a value of this name gets better; None where the name does not say."""
    words = CAMEL.sub("_", name).lower()
    if LOWER_IS_BETTER.search(words):
        return "lower"
    return "higher" if HIGHER_IS_BETTER.search(words) else None


def quantile(values: Iterable[Weighted], shares: Sequence[float]) -> tuple[float, ...] | None:
    """The values below which these shares of the weight lie; None without any weight."""
    ordered = sorted(values)
    total = sum(each.weight for each in ordered)
    if total <= 0:
        return None
    return tuple(_at_share(ordered, share * total) for share in shares)


def _at_share(ordered: list[Weighted], wanted: float) -> float:
    passed = 0.0
    for each in ordered:
        passed += each.weight
        if passed >= wanted:
            return each.value
    return ordered[-1].value
