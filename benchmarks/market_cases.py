"""Sweeps, clusters and markets to plan, made from stated distributions and a seed. It reads no trace or price list.

Price levels and kinds of GPUs: 2025-26 markets, order of magnitude. A run's time on a kind: a mix of compute and
memory traffic, each inverse to the card's rate, with 8 % of noise. Shapes of public traces: see TRACES.
"""

from __future__ import annotations

import math
import random
import statistics
from typing import NamedTuple

from gpuplan.place.problem import JobClass, Problem, Rentable

GIB = 2**30
HOUR_S = 3600


class Card(NamedTuple):
    """A GPU kind: memory, dense 16-bit rate, memory traffic, and what an hour costs on demand."""

    name: str
    memory_gib: int
    tflops: float
    gb_per_s: float
    usd_per_h: float


CARDS = (
    Card("T4", 15, 65, 300, 0.30),
    Card("RTX 3090", 24, 71, 936, 0.20),
    Card("A10", 24, 125, 600, 0.75),
    Card("L4", 24, 121, 300, 0.55),
    Card("RTX 4090", 24, 165, 1008, 0.38),
    Card("RTX 5090", 32, 210, 1792, 0.52),
    Card("A40", 48, 150, 696, 0.42),
    Card("RTX A6000", 48, 155, 768, 0.47),
    Card("L40S", 48, 240, 864, 0.85),
    Card("RTX 6000 Ada", 48, 240, 960, 0.74),
    Card("A100 40GB", 40, 312, 1555, 1.19),
    Card("A100 80GB", 80, 312, 2039, 1.45),
    Card("H100 SXM", 80, 760, 3350, 2.35),
    Card("H200", 141, 760, 4800, 3.20),
    Card("B200", 180, 1700, 8000, 5.20),
)
REFERENCE = next(card for card in CARDS if card.name == "A100 80GB")
CLASSES = {10: 5, 60: 10, 300: 25, 1000: 40}


class Trace(NamedTuple):
    """What is known of the GPU jobs of a public cluster trace: seconds that they run, GPUs that they ask for."""

    median_s: float
    mean_s: float
    mean_gpus: float


TRACES = {
    "Philly": Trace(874.0, 18_006.1, 1.93),
    "Helios": Trace(206.0, 6_651.7, 3.72),
    "PAI": Trace(480.7, 4_787.1, 0.68),
    "Acme Seren": Trace(122.0, 1_414.3, 5.68),
    "Acme Kalos": Trace(124.0, 1_259.7, 26.77),
}
"""data/cluster_summary.csv of github.com/InternLM/AcmeTrace (CC BY 4.0), read 2026-11-20; the median of GPUs is 1, in
PAI a half. The runs made from these are not the traces' own jobs: lognormal durations of that median and mean, and
1, 2, 4 or 8 GPUs with that mean as far as a median of 1 allows."""


class Shape(NamedTuple):
    """What decides how long a run takes: seconds on the reference card, the share of them that is compute."""

    reference_s: float
    compute_share: float
    memory_gib: float
    utilization: float
    gpus: int


def sweep(runs: int, offers: int, *, seed: int, distinct: bool = False) -> Problem:
    """A sweep in 5 to 40 classes (or all runs distinct) and a market, both drawn from a seed."""
    dice = random.Random(seed)
    market = tuple(_offer(number, dice) for number in range(offers))
    shapes = [_shape(dice) for _ in range(CLASSES.get(runs, 40))]
    counts = _counts(runs, len(shapes), dice)
    if distinct:
        shapes = [_varied(shape, dice) for shape, count in zip(shapes, counts, strict=True) for _ in range(count)]
        counts = [1] * len(shapes)
    jobs = tuple(
        _job(f"class{number}", shape, count, dice)
        for number, (shape, count) in enumerate(zip(shapes, counts, strict=True))
    )
    return Problem(jobs=jobs, offers=market)


def owned(runs: int, gpus: int, *, seed: int, gangs: bool = False) -> Problem:
    """Distinct runs on one's own cluster: 3 to 9 kinds of single GPUs without prices (with gangs: nodes of four)."""
    dice = random.Random(seed)
    kinds = dice.sample(CARDS, min(dice.randint(3, 9), gpus))
    width = 4 if gangs else 1
    cards = [*kinds, *dice.choices(kinds, k=gpus // width - len(kinds))] if gpus // width > len(kinds) else kinds
    cards = cards[: gpus // width]
    nodes = tuple(
        Rentable(f"node{at}", card.name, width, card.memory_gib * GIB, price_usd_per_h=0.0, available=1)
        for at, card in enumerate(cards)
    )
    most_gib = max(card.memory_gib for card in cards) * 0.9
    shapes = [_shape(dice) for _ in range(runs)]
    shapes = [
        shape._replace(memory_gib=min(shape.memory_gib, most_gib), gpus=shape.gpus if gangs else 1) for shape in shapes
    ]
    return Problem(tuple(_job(f"run{at}", shape, 1, dice) for at, shape in enumerate(shapes)), nodes)


def like_trace(name: str, runs: int, offers: int, *, seed: int) -> Problem:
    """Distinct runs with the durations and GPU counts of a public trace's summary, on a drawn market."""
    trace = TRACES[name]
    dice = random.Random(seed)
    market = tuple(_offer(number, dice) for number in range(offers))
    spread = math.sqrt(2 * math.log(trace.mean_s / trace.median_s))
    wide = min(0.5, max(0.0, (trace.mean_gpus - 1) / (statistics.fmean((2, 4, 8)) - 1)))
    shapes = [
        _shape(dice)._replace(
            reference_s=min(max(trace.median_s * dice.lognormvariate(0, spread), 60.0), 72 * HOUR_S),
            gpus=dice.choice((2, 4, 8)) if dice.random() < wide else 1,
        )
        for _ in range(runs)
    ]
    return Problem(tuple(_job(f"run{at}", shape, 1, dice) for at, shape in enumerate(shapes)), market)


def _offer(number: int, dice: random.Random) -> Rentable:
    card = dice.choice(CARDS)
    gpu_count = dice.choice((1, 1, 1, 2, 4, 8))
    spot = dice.random() < 0.35
    price = card.usd_per_h * gpu_count * dice.lognormvariate(0, 0.22) * (0.55 if spot else 1)
    return Rentable(
        offer=f"offer{number}",
        gpu=card.name,
        gpu_count=gpu_count,
        memory_bytes=card.memory_gib * GIB,
        price_usd_per_h=round(price, 4),
        available=dice.randint(1, 4) if dice.random() < 0.7 else dice.randint(4, 16),
        setup_s=dice.uniform(0.05, 0.35) * HOUR_S,
        spot=spot,
    )


def _shape(dice: random.Random) -> Shape:
    return Shape(
        reference_s=math.exp(dice.uniform(math.log(0.25), math.log(6))) * HOUR_S,
        compute_share=dice.uniform(0.3, 0.9),
        memory_gib=math.exp(dice.uniform(math.log(3), math.log(60))),
        utilization=dice.uniform(0.2, 1),
        gpus=dice.choice((2, 4)) if dice.random() < 0.12 else 1,
    )


def _varied(shape: Shape, dice: random.Random) -> Shape:
    return shape._replace(
        reference_s=shape.reference_s * dice.lognormvariate(0, 0.25),
        memory_gib=shape.memory_gib * dice.lognormvariate(0, 0.1),
    )


def _counts(runs: int, classes: int, dice: random.Random) -> list[int]:
    """At least one of each, the rest at random."""
    counts = [1] * classes
    for _ in range(runs - classes):
        counts[dice.randrange(classes)] += 1
    return counts


def _job(name: str, shape: Shape, count: int, dice: random.Random) -> JobClass:
    fits = [card for card in CARDS if shape.memory_gib <= card.memory_gib * 0.92]
    return JobClass(
        name=name,
        count=count,
        gpus=shape.gpus,
        duration_s={card.name: _seconds(shape, card) * dice.lognormvariate(0, 0.08) for card in fits},
        memory_bytes={card.name: int(shape.memory_gib * GIB) for card in fits},
        utilization={card.name: min(1.0, shape.utilization * (REFERENCE.tflops / card.tflops) ** 0.7) for card in fits},
    )


def _seconds(shape: Shape, card: Card) -> float:
    compute = shape.compute_share * REFERENCE.tflops / card.tflops
    traffic = (1 - shape.compute_share) * REFERENCE.gb_per_s / card.gb_per_s
    return shape.reference_s * (compute + traffic)
