"""The upper envelope of lines over every batch from 1 on: which can be the peak. It knows no tensors."""

from __future__ import annotations

from typing import List, NamedTuple, Sequence

__all__ = ["Line", "line_through", "upper_envelope"]


class Line(NamedTuple):
    """A quantity that grows with the batch: intercept + slope x batch."""

    intercept: float
    slope: float

    def at(self, batch: float) -> float:
        """The value at `batch`."""
        return self.intercept + self.slope * batch

    def plus(self, other: Line, sign: int = 1) -> Line:
        """Both together, or without the other."""
        return Line(self.intercept + sign * other.intercept, self.slope + sign * other.slope)


def line_through(batches: Sequence[int], values: Sequence[float]) -> Line:
    """The line through two points; a flat one through a single point."""
    if len(values) == 1 or values[0] == values[1]:
        return Line(values[0], 0)
    slope = (values[1] - values[0]) / (batches[1] - batches[0])
    slope = int(slope) if slope == int(slope) else slope
    return Line(values[0] - slope * batches[0], slope)


def upper_envelope(lines: Sequence[Line], *, least: float = 1.0) -> List[int]:
    """Indices of the lines that are the highest somewhere at or above `least`, flattest first."""
    order = sorted(range(len(lines)), key=lambda index: (lines[index].slope, lines[index].at(least), -index))
    hull: List[int] = []
    for index in order:
        line = lines[index]
        while hull and lines[hull[-1]].at(least) <= line.at(least):
            hull.pop()
        while len(hull) > 1 and _meet(lines[hull[-2]], line) <= _meet(lines[hull[-2]], lines[hull[-1]]):
            hull.pop()
        if not hull or line.slope > lines[hull[-1]].slope:
            hull.append(index)
    return hull


def _meet(flat: Line, steep: Line) -> float:
    """Where the steeper line overtakes."""
    return (flat.intercept - steep.intercept) / (steep.slope - flat.slope)
