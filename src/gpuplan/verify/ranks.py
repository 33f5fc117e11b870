"""Check that several ranks are worth having: what they exchange against what each has to do. It never runs one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.estimate.case import case_of
from gpuplan.estimate.communication import brief
from gpuplan.estimate.evidence import clues_of
from gpuplan.estimate.pace import throughput
from gpuplan.estimate.roofline import step_seconds
from gpuplan.estimate.scaling import WORTH, alone_seconds, break_even_of, topology_of
from gpuplan.estimate.time import step_time
from gpuplan.verify.case import ranks_at

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from gpuplan.estimate import case as estimated
    from gpuplan.expand import Shape
    from gpuplan.model import Estimate, Finding, Gpu, Run
    from gpuplan.verify.case import Case

__all__ = ["ranks_are_worth_it"]


class _Step(NamedTuple):
    """A run on some ranks: a step of it, and all the rows that it gets through in a second."""

    case: estimated.Case
    step_s: float
    waits: bool
    samples_per_s: float


@dataclass(frozen=True, slots=True)
class _Loss:
    """What several ranks make of one, what is worth it, and why no more."""

    ranks: int
    gpu: str
    speedup: float
    worth: int
    because: str
    remedy: str


def ranks_are_worth_it(case: Case) -> Iterator[Finding]:
    """Ranks that get through fewer rows than one does, or that lose a quarter of what each could do alone."""
    found: dict[_Loss, list[Run]] = {}
    for kind in _kinds(case).values():
        run, estimate = kind[0]
        loss = _loss(case, run, case.world.gpus.get(estimate.gpu))
        if loss is not None:
            found.setdefault(loss, []).extend(run for run, _ in kind)
    for loss, runs in found.items():
        yield _finding(case, loss, runs)


def _kinds(case: Case) -> dict[Hashable, list[tuple[Run, Estimate]]]:
    """The runs on several ranks that are still to do, those together that are judged by the first of them."""
    todo = {run.key for run in case.todo}
    kinds: dict[Hashable, list[tuple[Run, Estimate]]] = {}
    for run, shape in zip(case.runs, case.shapes, strict=True):
        if run.ranks > 1 and run.train and run.key in todo:
            fastest = _fastest(case.estimates.get(run.name, ()))
            if fastest is not None:
                kinds.setdefault(_kind(run, shape, fastest), []).append((run, fastest))
    return kinds


def _fastest(estimates: tuple[Estimate, ...]) -> Estimate | None:
    """Where ranks have the least to do, and so the most to lose."""
    fitting = [one for one in estimates if one.memory.fits != "NO FIT"]
    return min(fitting, key=lambda one: one.duration_s.p50, default=None)


def _kind(run: Run, shape: Shape, estimate: Estimate) -> Hashable:
    """A thousand sizes are not a thousand kinds: alike are steps, and batches, within a factor of two."""
    sizes = (_doublings(shape.batch), _doublings(shape.micro_batch), _doublings(estimate.step_s.p50))
    return run.command, run.ranks, run.copies, shape.accumulation, estimate.gpu, sizes


def _doublings(size: float | None) -> int | None:
    return round(math.log2(size)) if size else None


def _loss(case: Case, run: Run, gpu: Gpu | None) -> _Loss | None:
    """None where the ranks are worth it, or where no role says how many rows a step has."""
    one = _on(case, run, gpu, ranks=1)
    whole = _on(case, run, gpu, ranks=run.ranks)
    if gpu is None or one is None or whole is None:
        return None
    speedup = whole.samples_per_s / one.samples_per_s
    if speedup >= WORTH * run.ranks:
        return None
    fewer = {count: _on(case, run, gpu, ranks=count) for count in _powers(run.ranks)}
    worth = [count for count, step in fewer.items() if step and step.samples_per_s >= WORTH * count * one.samples_per_s]
    because, remedy = _reason(one, whole, speedup / run.ranks)
    return _Loss(run.ranks, gpu.name, speedup, max(worth, default=1), because, remedy)


def _on(case: Case, run: Run, gpu: Gpu | None, *, ranks: int) -> _Step | None:
    """The same settings on so many ranks: a batch of all of them is divided anew, one of each rank is not.

    None where no role says how large it is, or nothing is known of a step.
    """
    if gpu is None:
        return None
    there = case_of(run.model_copy(update={"ranks": ranks}), case.experiment, gpu=gpu, world=case.world)
    step = step_time(there, clues_of(there))
    if step.quantity.source == "assumed":
        return None
    pace = throughput(there, step.quantity.p50)
    return _Step(there, step.quantity.p50, step.waits, pace.samples_per_s) if pace else None


def _powers(ranks: int) -> list[int]:
    return [2**power for power in range(1, ranks.bit_length()) if 2**power < ranks]


def _reason(one: _Step, whole: _Step, efficiency: float) -> tuple[str, str]:
    """The largest loss in words, and what makes it smaller: loading, exchange, or ranks with too little to do."""
    if whole.waits:
        return "they wait for their data", "more loader workers and CPU cores"
    alone_s = alone_seconds(whole.case, whole.step_s, topology_of(whole.case)) or whole.step_s
    exchange = break_even_of(whole.case, alone_s, most=whole.case.run.ranks, between=False)
    kept = exchange.at[-1].efficiency
    if kept <= efficiency / kept:
        return exchange.words, "more rows between exchanges: a larger batch, or accumulated passes"
    rows = (whole.case.rows or 0) * whole.case.passes
    all_rows = (one.case.rows or 0) * one.case.passes
    words = f"{rows:,} rows a rank take {brief(alone_s)}, and all {all_rows:,} on one rank {brief(one.step_s)}"
    roofline = step_seconds(whole.case)
    if roofline and roofline.bound == "launch":
        words += ": the start of kernels rules, not their work"
    return words, "a larger batch, so that each rank has more to do"


def _finding(case: Case, loss: _Loss, runs: list[Run]) -> Finding:
    told = f"{loss.speedup:.2g}x as fast as one, {loss.speedup / loss.ranks:.0%} of linear"
    slower = f"slower than one: {loss.speedup:.2g}x as fast"
    count = "one rank is" if loss.worth == 1 else f"{loss.worth} ranks are"
    beside = f"; or {loss.ranks // loss.worth} runs at once" if len(case.todo) > 1 else ""
    return case.finding(
        "warning",
        "scaling",
        message=f"{loss.ranks} ranks on {loss.gpu} are predicted {slower if loss.speedup < 1 else told}",
        because=f"{loss.because}; {count} worth it",
        fix=f"`ranks: {loss.worth}`{beside}; or {loss.remedy}",
        at=ranks_at(case.experiment),
        runs=runs,
    )
