"""The rules of thumb that people carry a step time from one GPU to another by. Ours has to beat them.

Those of /work/shared/prototypes/time_baselines.py, each under the same hold-out as ours.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from time_rows import Pair

__all__ = ["RULES", "Rule", "median_of_other_models", "power_law"]

Rule = Callable[["Pair"], float | None]
"""The step time on the target over that on the source; None if the rule has nothing to say."""

ROUNDS = 25
SMALLEST_ERROR = 0.02


class _Logs(NamedTuple):
    """Of a pair: how much slower the target is by each rate, and by measurement."""

    flops: float
    bandwidth: float
    measured: float


def _peak(pair: Pair) -> float:
    return math.exp(_logs(pair).flops)


def _bandwidth(pair: Pair) -> float:
    return math.exp(_logs(pair).bandwidth)


def _throughput(pair: Pair) -> float:
    return 1.0 if pair else 0.0


def _geometric_mean(pair: Pair) -> float:
    return math.sqrt(_peak(pair) * _bandwidth(pair))


def _published_law(pair: Pair) -> float:
    return _law(_logs(pair), (0.31, 0.66))


RULES: dict[str, Rule] = {
    "peak ratio": _peak,
    "bandwidth ratio": _bandwidth,
    "throughput carried over": _throughput,
    "geometric mean": _geometric_mean,
    "flops^.31 bw^.66": _published_law,
}


def median_of_other_models(pairs: Sequence[Pair], held_out: Callable[[Pair, Pair], bool]) -> Rule:
    """The median ratio of the models of the family on the same two GPUs, but for those that `held_out` names."""
    by_place: dict[tuple[str, str, str], list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_place[_place(pair)].append(pair)

    def rule(pair: Pair) -> float | None:
        others = [other.log_ratio for other in by_place[_place(pair)] if not held_out(pair, other)]
        return math.exp(median(others)) if others else None

    return rule


def power_law(pairs: Sequence[Pair], held_out: Callable[[Pair], str], excluded: Callable[[Pair, str], bool]) -> Rule:
    """flops^a bandwidth^b with the exponents of least absolute error over the pairs that are not `excluded`."""
    fitted: dict[str, tuple[float, float]] = {}

    def rule(pair: Pair) -> float:
        key = held_out(pair)
        if key not in fitted:
            fitted[key] = _fit([_logs(other) for other in pairs if not excluded(other, key)])
        return _law(_logs(pair), fitted[key])

    return rule


def _place(pair: Pair) -> tuple[str, str, str]:
    return pair.source.family, pair.source.gpu.name, pair.target.gpu.name


def _logs(pair: Pair) -> _Logs:
    source, target = pair.source.sample.chip, pair.target.sample.chip
    return _Logs(source.flops - target.flops, source.bandwidth - target.bandwidth, pair.log_ratio)


def _law(logs: _Logs, exponents: tuple[float, float]) -> float:
    return math.exp(exponents[0] * logs.flops + exponents[1] * logs.bandwidth)


def _fit(logs: Sequence[_Logs]) -> tuple[float, float]:
    """Least absolute deviations by reweighted least squares."""
    exponents, weights = (0.31, 0.66), [1.0] * len(logs)
    for _ in range(ROUNDS):
        rows = list(zip(weights, logs, strict=True))
        ff = sum(w * x.flops**2 for w, x in rows)
        bb = sum(w * x.bandwidth**2 for w, x in rows)
        fb = sum(w * x.flops * x.bandwidth for w, x in rows)
        fy = sum(w * x.flops * x.measured for w, x in rows)
        by = sum(w * x.bandwidth * x.measured for w, x in rows)
        determinant = ff * bb - fb * fb
        if determinant < 1e-9:
            break
        exponents = ((fy * bb - by * fb) / determinant, (by * ff - fy * fb) / determinant)
        errors = [abs(x.measured - math.log(_law(x, exponents))) for x in logs]
        weights = [1 / max(error, SMALLEST_ERROR) for error in errors]
    return exponents
