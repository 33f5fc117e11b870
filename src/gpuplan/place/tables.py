"""A problem as small numbers: kinds, offers, the bundles of each class on each kind. It never chooses among them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.place.problem import Refused, whole_seconds
from gpuplan.units import format_bytes

if TYPE_CHECKING:
    from gpuplan.place.problem import JobClass, Problem, Rentable

__all__ = ["Bundle", "Kind", "Lot", "Tables", "cut_runs", "run_seconds", "tables_of"]

HOUR_S = 3600


class Kind(NamedTuple):
    """What decides how long a run takes: offers of one kind share all times."""

    gpu: str
    memory_bytes: int
    pace: float


class Bundle(NamedTuple):
    """`runs` runs of one class at once on the same `gpus` GPUs, for `seconds`."""

    job: int
    runs: int
    seconds: int
    gpus: int


class Lot(NamedTuple):
    """An offer in whole seconds; `head_s` passes before its first run can start, `setup_s` of it on the bill."""

    number: int
    kind: int
    gpus: int
    usd_per_s: float
    available: int
    setup_s: int
    head_s: int
    longest_s: float
    billing_s: int
    minimum_s: int
    group: str | None

    def room_s(self, deadline_s: float) -> float:
        """The seconds that its GPUs can work before the deadline, or the end of its session."""
        return min(deadline_s - self.head_s, self.longest_s - self.setup_s)

    def cost_usd(self, span_s: float) -> float:
        """The bill when its last run ends `span_s` after its first begins."""
        used_s = self.setup_s + span_s
        if self.billing_s > 1:
            used_s = math.ceil(used_s / self.billing_s) * self.billing_s
        return self.usd_per_s * max(used_s, self.minimum_s)


@dataclass(frozen=True, slots=True)
class Tables:
    """A problem without names.

    Attributes:
        counts, gpus: of each class that fits somewhere: how many runs, how wide.
        names: of those classes.
        lots: the offers that can be used, in the order of the problem.
        bundles: bundles[class][kind], by number of runs, none of which is beaten by smaller ones in sequence.
        best: best[class][kind][n - 1], the bundle of at most n runs that takes least GPU time a run.
        by_price: the offers of each kind, the cheapest GPU first.
        quickest_s: of each class, one run on its quickest kind.
        work_s: everything in sequence, each class on its slowest kind: no machine need work longer.
        extra_usd: what all runs cost beside the machines.
    """

    problem: Problem
    names: tuple[str, ...]
    counts: tuple[int, ...]
    gpus: tuple[int, ...]
    kinds: tuple[Kind, ...]
    lots: tuple[Lot, ...]
    bundles: tuple[tuple[tuple[Bundle, ...], ...], ...]
    best: tuple[tuple[tuple[Bundle, ...], ...], ...]
    by_price: tuple[tuple[Lot, ...], ...]
    quickest_s: tuple[int, ...]
    work_s: int
    extra_usd: float
    refused: tuple[Refused, ...]


def tables_of(problem: Problem) -> Tables:
    """Look up every class on every kind; classes that fit nowhere are refused with the reason for each kind."""
    kinds = tuple(dict.fromkeys(_kind(offer) for offer in problem.offers))
    lots = tuple(_lot(number, offer, kinds) for number, offer in enumerate(problem.offers) if offer.available > 0)
    widest = [max((lot.gpus for lot in lots if lot.kind == number), default=0) for number in range(len(kinds))]
    placed: list[JobClass] = []
    refused: list[Refused] = []
    bundles: list[tuple[tuple[Bundle, ...], ...]] = []
    for job in problem.jobs:
        rows = tuple(_bundles(len(placed), job, kind, problem, wide) for kind, wide in zip(kinds, widest, strict=True))
        if any(rows):
            placed.append(job)
            bundles.append(rows)
        else:
            refused.append(_refusal(job, kinds, problem, widest))
    return Tables(
        problem=problem,
        names=tuple(job.name for job in placed),
        counts=tuple(job.count for job in placed),
        gpus=tuple(job.gpus for job in placed),
        kinds=kinds,
        lots=lots,
        bundles=tuple(bundles),
        best=tuple(tuple(_best_by_runs(row) for row in rows) for rows in bundles),
        by_price=tuple(tuple(sorted((lot for lot in lots if lot.kind == at), key=_price)) for at in range(len(kinds))),
        quickest_s=tuple(min(row[0].seconds for row in rows if row) for rows in bundles),
        work_s=sum(
            job.count * max(row[0].seconds for row in rows if row) for job, rows in zip(placed, bundles, strict=True)
        ),
        extra_usd=math.fsum(job.count * job.transfer_usd for job in placed),
        refused=tuple(refused),
    )


def run_seconds(job: JobClass, kind: Kind, runs: int, problem: Problem) -> int:
    """How long `runs` runs of a class take together on one GPU (or one gang on its GPUs) of a kind."""
    alone_s = job.duration_s[kind.gpu] * kind.pace
    slowdown = problem.slowdown(runs, job.utilization[kind.gpu]) if runs > 1 else 1.0
    return max(1, whole_seconds(alone_s * slowdown + runs * job.transfer_s))


def cut_runs(by_runs: tuple[Bundle, ...], runs: int) -> tuple[Bundle, ...]:
    """`runs` runs as bundles, those of least GPU time first; `by_runs` is a row of `Tables.best`."""
    cut: list[Bundle] = []
    while runs:
        best = by_runs[min(runs, len(by_runs)) - 1]
        cut += [best] * (runs // best.runs)
        runs %= best.runs
    return tuple(cut)


def _kind(offer: Rentable) -> Kind:
    return Kind(offer.gpu, offer.memory_bytes, offer.pace)


def _lot(number: int, offer: Rentable, kinds: tuple[Kind, ...]) -> Lot:
    setup_s = whole_seconds(offer.setup_s)
    return Lot(
        number=number,
        kind=kinds.index(_kind(offer)),
        gpus=offer.gpu_count,
        usd_per_s=offer.price_usd_per_h / HOUR_S,
        available=offer.available,
        setup_s=setup_s,
        head_s=setup_s + whole_seconds(offer.wait_s),
        longest_s=offer.longest_s,
        billing_s=offer.billing_s,
        minimum_s=offer.minimum_s,
        group=offer.group,
    )


def _most_runs(job: JobClass, kind: Kind, problem: Problem) -> int:
    """How many processes of a class fit into the memory of one GPU of a kind, n contexts and the margin counted."""
    usable_bytes = kind.memory_bytes * (1 - problem.margin)
    fit = int(usable_bytes // job.memory_bytes[kind.gpu]) if job.memory_bytes[kind.gpu] else problem.most_per_gpu
    return min(fit, 1 if job.gpus > 1 else problem.most_per_gpu, job.count)


def _bundles(number: int, job: JobClass, kind: Kind, problem: Problem, widest: int) -> tuple[Bundle, ...]:
    """Sizes worth having: one that takes no less than smaller ones in sequence is left out, as they can replace it."""
    if kind.gpu not in job.duration_s or job.gpus > widest:
        return ()
    quickest_s = [0]
    kept = []
    for runs in range(1, _most_runs(job, kind, problem) + 1):
        seconds = run_seconds(job, kind, runs, problem)
        in_parts_s = min((quickest_s[part] + quickest_s[runs - part] for part in range(1, runs)), default=math.inf)
        if seconds < in_parts_s:
            kept.append(Bundle(number, runs, seconds, job.gpus))
        quickest_s.append(int(min(seconds, in_parts_s)))
    return tuple(kept)


def _best_by_runs(bundles: tuple[Bundle, ...]) -> tuple[Bundle, ...]:
    best: list[Bundle] = []
    for runs in range(1, bundles[-1].runs + 1 if bundles else 1):
        within = (bundle for bundle in bundles if bundle.runs <= runs)
        best.append(min(within, key=lambda bundle: (bundle.seconds / bundle.runs, bundle.runs)))
    return tuple(best)


def _price(lot: Lot) -> tuple[float, int]:
    """Of an hour of one GPU on a machine that works as long as it is set up, or an hour."""
    return (lot.usd_per_s * (HOUR_S + lot.setup_s) / lot.gpus, lot.number)


def _refusal(job: JobClass, kinds: tuple[Kind, ...], problem: Problem, widest: list[int]) -> Refused:
    reasons = {kind.gpu: _reason(job, kind, problem, wide) for kind, wide in zip(kinds, widest, strict=True)}
    return Refused(job.name, reasons or {"any": "nothing is on offer"})


def _reason(job: JobClass, kind: Kind, problem: Problem, widest: int) -> str:
    if widest == 0:
        return "none is available"
    if kind.gpu not in job.duration_s:
        return "no estimate for it on this GPU"
    usable_bytes = int(kind.memory_bytes * (1 - problem.margin))
    if job.memory_bytes[kind.gpu] > usable_bytes:
        return f"needs {format_bytes(job.memory_bytes[kind.gpu])} of {format_bytes(usable_bytes)} usable"
    return f"needs {job.gpus} GPUs in one machine; the largest has {widest}"
