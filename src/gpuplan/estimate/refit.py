"""The tables of `estimate.transfer` from measured step times, any of them held out. It never reads a file."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import permutations
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data.derates import Derate, Measured, Slope, Tables
from gpuplan.estimate.ridge import Equation, ridge
from gpuplan.estimate.transfer import level_of, median_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuplan.data.derates import Place
    from gpuplan.estimate.transfer import Chip

__all__ = ["INSIDE", "PRIOR", "Residual", "Sample", "fitted_tables", "fitted_widths"]

PRIOR = Slope(-0.4, -0.55)
"""Of a GPU that nothing is known of: between the two rates, nearer to the bandwidth (time.md, rule f: 0.31, 0.66)."""
PENALTY_SERIES, PENALTY_SLOPE, PENALTY_SLOPE_OF, PENALTY_GPU, PENALTY_GPU_OF = 1e-3, 0.3, 1.0, 1.0, 2.0
"""In measured rows: how many it takes before half of what they say is believed. The weakest for what all share."""

INSIDE, FEWEST = 0.84, 20
"""The share that a width is fitted to hold, more than 80 % since the models to come are not those of the tables."""


class Sample(NamedTuple):
    """One measured step time; those of a series differ in the GPU, and in nothing else that is known to matter."""

    series: str
    model: str
    stack: str
    regime: str
    chip: Chip
    log_seconds: float


class _Term(NamedTuple):
    """A coefficient: the level of a series, a slope, or a GPU's derate, of all or of some."""

    kind: str
    name: str = ""
    of: str = ""


def fitted_tables(samples: Sequence[Sample]) -> Tables:
    """Slopes, derates and measured ratios of `samples`; a regime of "" is one that is not known."""
    found = ridge(_equations(samples), {term: _penalty(term) for sample in samples for term in _factors(sample)})
    return Tables(_slopes(found), _derates(found, samples), _ratios(samples))


class Residual(NamedTuple):
    """The error of a held-out log ratio over `residual_scale`, and whether the two GPUs were measured at all."""

    regime: str
    measured: bool
    error: float


def fitted_widths(residuals: Sequence[Residual]) -> dict[tuple[str, bool], float]:
    """Of each regime, and of all, what INSIDE of the held-out errors stay below; none for fewer than FEWEST."""
    found: dict[tuple[str, bool], list[float]] = defaultdict(list)
    for residual in residuals:
        for regime in {residual.regime, ""}:
            found[regime, residual.measured].append(residual.error)
    return {
        key: sorted(errors)[math.ceil(INSIDE * len(errors)) - 1]
        for key, errors in found.items()
        if len(errors) >= FEWEST
    }


def _equations(samples: Sequence[Sample]) -> list[Equation[_Term]]:
    weights, levels = _weights(samples), _levels(samples)
    return [
        Equation(_factors(sample), _beyond_prior(sample) - levels[sample.series], weights[sample.model])
        for sample in samples
    ]


def _weights(samples: Sequence[Sample]) -> dict[str, float]:
    """A model that was measured in many series speaks for one model still."""
    series: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        series[sample.model].add(sample.series)
    return {model: len(found) ** -0.5 for model, found in series.items()}


def _levels(samples: Sequence[Sample]) -> dict[str, float]:
    """Of each series, so that the solver starts near."""
    targets: dict[str, list[float]] = defaultdict(list)
    for sample in samples:
        targets[sample.series].append(_beyond_prior(sample))
    return {series: fmean(found) for series, found in targets.items()}


def _beyond_prior(sample: Sample) -> float:
    return sample.log_seconds - PRIOR.flops * sample.chip.flops - PRIOR.bandwidth * sample.chip.bandwidth


def _factors(sample: Sample) -> dict[_Term, float]:
    chip, (gpu, precision) = sample.chip, sample.chip.place
    factors = {_Term("series", sample.series): 1.0, _Term("gpu", gpu): 1.0, _Term("gpu", gpu, precision): 1.0}
    if sample.regime:
        factors[_Term("gpu", gpu, sample.regime)] = 1.0
    for name in filter(None, ("any", level_of(chip), sample.regime)):
        of = "" if name == "any" else name
        factors[_Term("flops", of=of)] = chip.flops
        factors[_Term("bandwidth", of=of)] = chip.bandwidth
    return factors


def _penalty(term: _Term) -> float:
    if term.kind == "series":
        return PENALTY_SERIES
    if term.kind == "gpu":
        return PENALTY_GPU_OF if term.of else PENALTY_GPU
    return PENALTY_SLOPE_OF if term.of else PENALTY_SLOPE


def _slopes(found: dict[_Term, float]) -> dict[str, Slope]:
    names = [term.of for term in found if term.kind == "flops"]
    slopes = {name: Slope(found[_Term("flops", of=name)], found[_Term("bandwidth", of=name)]) for name in names}
    common = slopes.get("", Slope(0.0, 0.0))
    return slopes | {"": Slope(common.flops + PRIOR.flops, common.bandwidth + PRIOR.bandwidth)}


def _derates(found: dict[_Term, float], samples: Sequence[Sample]) -> dict[tuple[str, str], Derate]:
    seen: dict[_Term, list[Sample]] = defaultdict(list)
    for sample in samples:
        for term in _factors(sample):
            seen[term].append(sample)
    return {
        (term.name, term.of): Derate(math.exp(value), len(seen[term]), len({sample.model for sample in seen[term]}))
        for term, value in found.items()
        if term.kind == "gpu"
    }


class _Pair(NamedTuple):
    source: Place
    target: Place
    regime: str
    stack: str


def _ratios(samples: Sequence[Sample]) -> dict[tuple[Place, Place], tuple[Measured, ...]]:
    by_model = _ratios_by_model(samples)
    found: dict[tuple[Place, Place], list[Measured]] = defaultdict(list)
    for pair, models in by_model.items():
        ratios = [(ratio, 1 / len(model)) for model in models.values() for ratio in model]
        measured = Measured(pair.regime, pair.stack, median_of(ratios), len(models))
        found[pair.source, pair.target].append(measured)
    return {places: tuple(rows) for places, rows in found.items()}


def _ratios_by_model(samples: Sequence[Sample]) -> dict[_Pair, dict[str, list[float]]]:
    series: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        series[sample.series].append(sample)
    found: dict[_Pair, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for members in series.values():
        for first, second in permutations(members, 2):
            if first.chip.place != second.chip.place:
                pair = _Pair(first.chip.place, second.chip.place, first.regime, first.stack)
                found[pair][first.model].append(second.log_seconds - first.log_seconds)
    return found
