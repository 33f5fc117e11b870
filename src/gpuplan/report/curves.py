"""Curves of runs -> a few lines with a band over the seeds, short enough to draw. It never reads a log."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from gpuplan.report.groups import configurations, varied
from gpuplan.report.table import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gpuplan.model import Experiment, RunRecord
    from gpuplan.report.groups import Configuration

__all__ = ["MOST_LINES", "MOST_POINTS", "Band", "Bands", "Curve", "Curves", "Point", "bands"]

MOST_LINES = 6
"""More cannot be told apart by colour and dash."""
MOST_POINTS = 400
"""A line 300 pixels wide shows no more."""


class Curve(Protocol):
    """One metric of one run, as `observe.metrics.series` gives it: where on the axis, and the value there."""

    @property
    def axis(self) -> str:
        """`step` or `epoch`."""

    @property
    def points(self) -> Sequence[tuple[float, float]]:
        """Where and what."""


class Point(NamedTuple):
    """One value of a metric at one step."""

    step: float
    value: float


Curves: TypeAlias = "Mapping[str, Mapping[str, Curve]]"
"""By run name, by metric."""


class Band(NamedTuple):
    """The mean over the runs at one step, and one standard deviation to each side."""

    step: float
    mean: float
    low: float
    high: float


class Bands(NamedTuple):
    """The lines of one figure, by label, and what has to be said about them."""

    lines: dict[str, tuple[Band, ...]]
    note: str = ""
    step: str = "step"


def bands(
    experiment: Experiment,
    records: Sequence[RunRecord],
    curves: Curves,
    *,
    metric: str,
) -> Bands:
    """A line for each configuration; for each value of one setting where there are too many to tell apart."""
    found = {name: of_run[metric] for name, of_run in curves.items() if metric in of_run}
    axis = next((found[record.run.name].axis for record in records if record.run.name in found), "step")
    points = {name: _finite(one.points) for name, one in found.items() if one.axis == axis}
    groups, note = _lines(experiment, [record for record in records if points.get(record.run.name)])
    lines = {clean(group.label): _band([points[record.run.name] for record in group.records]) for group in groups}
    many = any(len(group.records) > 1 for group in groups)
    spread = "band: one standard deviation over the runs" if many else ""
    return Bands(lines, "; ".join(part for part in (note, spread) if part), axis)


def _finite(points: Sequence[tuple[float, float]]) -> list[Point]:
    return sorted(Point(step, value) for step, value in points if math.isfinite(step) and math.isfinite(value))


def _lines(experiment: Experiment, records: Sequence[RunRecord]) -> tuple[tuple[Configuration, ...], str]:
    names = varied(experiment, records)
    groups = configurations(names, records)
    if len(groups) <= MOST_LINES:
        return groups, ""
    trained = [record for record in records if record.run.control is None]
    by_name = {name: configurations((name,), trained) for name in names}
    fitting = {name: lines for name, lines in by_name.items() if 1 < len(lines) <= MOST_LINES}
    if fitting:
        name = next(iter(fitting))
        return fitting[name], f"mean over all settings but {clean(name)}"
    stride = (len(groups) - 1) / (MOST_LINES - 1)
    kept = tuple(groups[round(index * stride)] for index in range(MOST_LINES))
    return kept, f"{MOST_LINES} of {len(groups):,} configurations, evenly spaced"


def _band(runs: Sequence[Sequence[Point]]) -> tuple[Band, ...]:
    """Mean and deviation over the runs, at the steps that they share or in bins where they log at different ones."""
    by_step: dict[float, dict[int, list[float]]] = {}
    place = _binning(runs)
    for index, points in enumerate(runs):
        for point in points:
            by_step.setdefault(place(point.step), {}).setdefault(index, []).append(point.value)
    means = {step: [statistics.fmean(values) for values in cells.values()] for step, cells in by_step.items()}
    return tuple(_at(step, values) for step, values in sorted(means.items()))


def _binning(runs: Sequence[Sequence[Point]]) -> Callable[[float], float]:
    """A step as it is, or the middle of its bin."""
    steps = {point.step for points in runs for point in points}
    shared = all({point.step for point in points} == steps for points in runs)
    low, high = min(steps), max(steps)
    count = min(MOST_POINTS, *(len(points) for points in runs))
    width = (high - low) / count
    if (shared and len(steps) <= MOST_POINTS) or width == 0:
        return lambda step: step
    return lambda step: low + (min(math.floor((step - low) / width), count - 1) + 0.5) * width


def _at(step: float, values: Sequence[float]) -> Band:
    mean = statistics.fmean(values)
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return Band(step, mean, mean - deviation, mean + deviation)
