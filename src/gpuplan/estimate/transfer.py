"""From a step time on one GPU to that on another, with the fitted tables. It never looks at a run or at evidence.

The log of the ratio is that of the rates (a slope times the log of the peak rate and of the bandwidth, by regime),
plus the difference of the two GPUs' derates, moved towards the ratios measured with other models, the more of them
there are. Method and figures: docs/decisions/0006-time-across-gpus.md.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data.derates import Derate, Place, Slope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuplan.data.derates import Measured, Tables
    from gpuplan.model import Gpu

__all__ = [
    "FORMATS",
    "RESIDUAL_WEIGHT",
    "Chip",
    "Transfer",
    "chip_of",
    "level_of",
    "median_of",
    "rates_log",
    "residual_scale",
    "towards",
    "transfer",
]

HALF = ("fp16", "bf16")
FORMATS = {
    "fp32": ("fp32",),
    "tf32": ("tf32", "fp32"),
    "fp16": ("fp16", "fp32"),
    "bf16": ("bf16", "tf32", "fp32"),
}
"""Whose rate a precision has on a GPU without it: never a faster one."""

OTHER_REGIME, OTHER_STACK = 0.15, 0.3
"""What a model of another regime, or measured with another project's software, counts against one of the same."""
ENOUGH = 1.0
"""Models after which measured ratios and derated rates count the same."""

NEAREST, FARTHEST, GROWTH = 0.05, 4.0, 0.35
"""Logs of rates. The 80 % error of other models' medians is 6 % up to 0.1, 16 % at 0.75, 30 % beyond 2 (decision 6)."""

RESIDUAL_WEIGHT = 0.8
"""Of a log on another GPU against the closed form: with 1 held-out errors are 8 % larger in the mean, with 0.5 17 %
(2,472 pairs of public rows, decision 6)."""
BELIEVED = 1.1
"""Logs: a closed form farther than this from what the log says is of another program, and has no say."""

UNITS = Slope(math.log(100e12), math.log(1e12))
"""Rates are taken against a card of the middle, so that slopes and derates can be told apart."""


class Chip(NamedTuple):
    """A GPU at a precision, with its logs of FLOP/s and bytes/s."""

    place: Place
    flops: float
    bandwidth: float


class Transfer(NamedTuple):
    """The step time on the target over that on the source, with an 80 % interval, and what it rests on."""

    value: float
    low: float
    high: float
    models: int


class _Other(NamedTuple):
    value: float
    weight: float


def chip_of(gpu: Gpu, precision: str) -> Chip | None:
    """`gpu` at the precision that it really computes `precision` in; None if a rate of it is not known."""
    used = next((name for name in FORMATS.get(precision, ()) if gpu.peak_flops.get(name)), None)
    if used is None or not gpu.bandwidth_bytes_per_s:
        return None
    place = Place(gpu.name, "half" if used in HALF else used)
    return Chip(
        place,
        math.log(gpu.peak_flops[used]) - UNITS.flops,
        math.log(gpu.bandwidth_bytes_per_s) - UNITS.bandwidth,
    )


def transfer(source: Chip, target: Chip, *, regime: str, tables: Tables, stack: str = "") -> Transfer:
    """How much longer a step takes on `target` than on `source`.

    `regime` is one of REGIMES, or "" if nothing is known of the program; `stack` names the software, if measured
    ratios of the same one shall count most.
    """
    rates = rates_log(target, regime=regime, tables=tables) - rates_log(source, regime=regime, tables=tables)
    measured = tables.ratios.get((source.place, target.place), ())
    others = [_Other(row.log_ratio, _weight(row, regime=regime, stack=stack)) for row in measured]
    count = sum(other.weight for other in others)
    share = count / (count + ENOUGH)
    log_ratio = (1 - share) * rates + share * median_of(others) if others else rates
    width = math.exp(tables.width(regime, measured=bool(measured)) * residual_scale(source, target))
    value = math.exp(log_ratio)
    return Transfer(value, value / width, value * width, sum(row.models for row in measured))


def rates_log(chip: Chip, *, regime: str, tables: Tables) -> float:
    """Log seconds of a unit of work by the derated rates of `chip`; only differences between chips mean anything."""
    slopes = [tables.slopes.get(name, Slope(0.0, 0.0)) for name in ("", regime or "-", level_of(chip))]
    names = ("", chip.place.precision, regime or "-")
    derates = [tables.derates.get((chip.place.gpu, name), Derate(1.0)) for name in names]
    return (
        sum(slope.flops for slope in slopes) * chip.flops
        + sum(slope.bandwidth for slope in slopes) * chip.bandwidth
        + sum(math.log(derate.factor) for derate in derates)
    )


def towards(carried_log: float, blind_log: float) -> float:
    """The log of seconds that a log on another GPU gives, moved to that of the closed form, if that is near."""
    if abs(blind_log - carried_log) > BELIEVED:
        return carried_log
    return RESIDUAL_WEIGHT * carried_log + (1 - RESIDUAL_WEIGHT) * blind_log


def residual_scale(source: Chip, target: Chip) -> float:
    """By what the error of a ratio grows with the distance of the two GPUs: slower than the distance itself."""
    distance = math.hypot(target.flops - source.flops, target.bandwidth - source.bandwidth)
    return math.pow(min(max(distance, NEAREST), FARTHEST), GROWTH)


def level_of(chip: Chip) -> str:
    """Whether it computes in 16 bits."""
    return "half" if chip.place.precision == "half" else "full"


def median_of(others: Sequence[tuple[float, float]]) -> float:
    """The weighted median of (value, weight) pairs: the middle of both where the halves meet between two values."""
    ordered = sorted(others)
    half, below = sum(weight for _, weight in ordered) / 2, 0.0
    for index, (value, weight) in enumerate(ordered):
        below += weight
        if math.isclose(below, half) and index + 1 < len(ordered):
            return (value + ordered[index + 1][0]) / 2
        if below > half:
            return value
    return ordered[-1][0]


def _weight(row: Measured, *, regime: str, stack: str) -> float:
    alike = 1.0 if regime in ("", row.regime) else OTHER_REGIME
    return row.models * alike * (1.0 if row.stack == stack or not stack else OTHER_STACK)
