"""From a measured size to another one: ratios of closed forms, of samples, and lines through measured points.

It never says how certain that is: `time` and `memory` do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.estimate.answers import Assumption
from gpuplan.estimate.roofline import step_seconds
from gpuplan.units import format_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuplan.estimate.case import Case
    from gpuplan.estimate.evidence import Clue

__all__ = ["LINEAR_RANKS", "Point", "Ratio", "affine", "differs_in_batch_only", "ratio"]

LINEAR_RANKS = Assumption(
    text="scaling over ranks is assumed linear: communication costs nothing",
    change="`gpuplan probe --all-ranks` measures it",
)


class Ratio(NamedTuple):
    """The step time of one case over that of another, and by what rule."""

    value: float
    because: str


class Point(NamedTuple):
    """A measured value at a size."""

    at: float
    value: float


def ratio(now: Case, then: Case) -> Ratio:
    """How much longer a step of `now` takes: by closed forms, else by FLOPs, else by samples, else equally long."""
    longer, shorter = step_seconds(now), step_seconds(then)
    if longer and shorter:
        value = longer.seconds / shorter.seconds
        return Ratio(value, f"x{format_number(value)} by closed form")
    if now.gpu.name != then.gpu.name:
        return Ratio(1.0, "taken over as it is: nothing relates the two GPUs")
    return _by_work(now, then)


def affine(points: Sequence[Point], at: float) -> float | None:
    """The value at `at` of the line through the two measured sizes nearest to it; None without two, or if it falls."""
    by_size: dict[float, float] = {}
    for point in points:
        by_size.setdefault(point.at, point.value)
    sizes = sorted(by_size, key=lambda size: (abs(size - at), size))[:2]
    if len(sizes) < 2:
        return None
    low, high = sorted(sizes)
    slope = (by_size[high] - by_size[low]) / (high - low)
    value = by_size[low] + slope * (at - low)
    return value if slope >= 0 and value > 0 else None


def differs_in_batch_only(clue: Clue, case: Case) -> bool:
    """Whether the batch is all in which the measured run is another one."""
    roles = case.experiment.roles
    return all(name in (roles.batch, roles.micro_batch) for name in clue.differs)


def _by_work(now: Case, then: Case) -> Ratio:
    threads = then.threads / now.threads if now.gpu.kind == "cpu" else 1.0
    samples_now, samples_then = (now.rows or 0) * now.passes, (then.rows or 0) * then.passes
    if not samples_now or not samples_then:
        return Ratio(threads, f"x{format_number(threads)}: no role says how large a batch is")
    flops_now = now.known.flops(samples_now) if now.known else 0.0
    flops_then = then.known.flops(samples_then) if then.known else 0.0
    if flops_now and flops_then:
        value = threads * flops_now / flops_then
        return Ratio(value, f"x{format_number(value)} by FLOPs")
    value = threads * samples_now / samples_then
    return Ratio(value, f"x{format_number(value)} by samples")
