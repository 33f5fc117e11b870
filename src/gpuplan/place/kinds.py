"""Which GPU kinds are worth estimating every class on, where those are too many: a sample says. It places nothing."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from gpuplan.data import gpu_readings
from gpuplan.estimate import estimate
from gpuplan.estimate.classes import classes_of
from gpuplan.place.rentable import OWN_PLACES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuplan.model import Experiment, Gpu, Offer, Run, World

__all__ = ["kinds_to_estimate"]

MOST_ESTIMATES = 1_500
"""About a second."""
FEWEST_KINDS = 4
SAMPLE = 12
"""Classes that are estimated on every kind, evenly out of all."""


def kinds_to_estimate(
    experiment: Experiment, runs: Sequence[Run], offers: Sequence[Offer], *, world: World
) -> tuple[Gpu, ...]:
    """Every kind on offer, if the estimates are not too many; else those on which a sample of the classes does best.

    Of those that are left, half are the cheapest for the sample, half the fastest; the tiers of stages, one's own
    and the one with most memory always stay.
    """
    kinds = tuple(world.gpus[name] for name in dict.fromkeys(offer.gpu for offer in offers))
    classes = classes_of(runs, experiment)
    if len(classes) * len(kinds) <= MOST_ESTIMATES:
        return kinds
    sample = [alike[0] for alike in classes[:: max(1, len(classes) // SAMPLE)]]
    seconds = {gpu.name: _seconds(sample, experiment, gpu, world) for gpu in kinds}
    prices = _least_prices(offers)
    room = max(FEWEST_KINDS, MOST_ESTIMATES // len(classes))
    cheapest = sorted(seconds, key=lambda gpu: (seconds[gpu] * prices[gpu], gpu))[: (room + 1) // 2]
    fastest = sorted(seconds, key=lambda gpu: (seconds[gpu], gpu))[: room // 2]
    largest = max(kinds, key=lambda gpu: (gpu.memory_bytes, gpu.name)).name
    own = {offer.gpu for offer in offers if offer.place in OWN_PLACES}
    named = {gpu.name for stage in experiment.stages for wish in stage.gpus for gpu in gpu_readings(wish)}
    kept = {*cheapest, *fastest, largest, *own, *named}
    return tuple(gpu for gpu in kinds if gpu.name in kept)


def _seconds(sample: Iterable[Run], experiment: Experiment, gpu: Gpu, world: World) -> float:
    """Mean seconds of a run; twice as long where it does not fit, so that roomy kinds come first among equals."""
    found = [estimate(run, experiment, gpu, world) for run in sample]
    return fmean(one.duration_s.p50 * (2 if one.memory.fits == "NO FIT" else 1) for one in found)


def _least_prices(offers: Iterable[Offer]) -> dict[str, float]:
    prices: dict[str, float] = {}
    for offer in offers:
        price = offer.gpu_price_usd_per_h or 0.0
        prices[offer.gpu] = min(price, prices.get(offer.gpu, price))
    return prices
