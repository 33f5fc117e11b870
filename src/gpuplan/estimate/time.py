"""Seconds of one optimizer step, from the strongest thing that is known. It never adds up a whole run.

What is estimated is the mean step of a whole run. The spread of single steps is another thing: it averages out, and
the widths of `answers` say what does not.
"""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data.derates import shipped_tables
from gpuplan.estimate.answers import (
    ASSUMED,
    CLOSED_FORM,
    ELSEWHERE,
    FITTED,
    MEASURED_PROBE,
    MEASURED_RUN,
    SCALED,
    UNMEASURED_STEP,
    Answer,
    Assumption,
    Width,
    around,
    together,
    weakest,
)
from gpuplan.estimate.between import between_sizes
from gpuplan.estimate.evidence import mean_step_s
from gpuplan.estimate.loading import device_seconds, loading, waited, with_loading
from gpuplan.estimate.pace import paced
from gpuplan.estimate.roofline import regime_of, step_seconds
from gpuplan.estimate.scaling import (
    LINEAR_RANKS,
    Point,
    Ratio,
    affine,
    differs_in_batch_only,
    on_ranks,
    ratio,
)
from gpuplan.estimate.sharing import Sharing, mode_on, sharing
from gpuplan.estimate.transfer import RESIDUAL_WEIGHT, chip_of, towards, transfer
from gpuplan.footprint import Unknown
from gpuplan.units import format_duration, format_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuplan.estimate.case import Case
    from gpuplan.estimate.evidence import Clue, Clues
    from gpuplan.model import Quantity

__all__ = ["StepTime", "step_time"]

ASSUMED_STEP_S = 0.5
ASSUMED_RATES: dict[str, dict[str, object]] = {
    "gpu": {"peak_flops": {"fp32": 20e12, "fp16": 80e12, "bf16": 80e12}, "bandwidth_bytes_per_s": 600e9},
    "cpu": {"peak_flops": {"fp32": 50e9}, "bandwidth_bytes_per_s": 20e9, "threads": 1},
}
"""Of a device without any: a mid-range card, one core. They decide the order of magnitude, and nothing else."""

FAR = 4.0
"""Beyond this ratio a scaled figure is no more certain than a closed form."""


class StepTime(NamedTuple):
    """Seconds of one optimizer step, and what was taken for granted.

    `utilization` is the share of it in which the device works, all copies together, None where that is not known;
    `waits` says that loading is the larger part of it.
    """

    quantity: Quantity
    assumptions: tuple[Assumption, ...]
    utilization: float | None = None
    waits: bool = False


class _Found(NamedTuple):
    """A step of one copy alone, and the facts that it was made from; `is_whole`: its wait for data is in it."""

    answer: Answer
    used: Sequence[Clue] = ()
    is_whole: bool = False


class _Scaled(NamedTuple):
    clue: Clue
    ratio: Ratio


def step_time(case: Case, clues: Clues) -> StepTime:
    """Seconds of one optimizer step of `case`, all copies of the run sharing the device."""
    found = _measured(case, clues) or _scaled(case, clues) or _closed_form(case) or _assumed(case)
    busy = _busy(case, found)
    beside = _beside_its_like(case, found, busy)
    if found.is_whole:
        waits = any(waited(clue) for clue in found.used)
        return _whole(case, found, beside, busy=busy, waits=waits)
    load = loading(case, clues)
    if load is None:
        return _whole(case, found, _with_pace(case, beside), busy=busy)
    loaded = with_loading(beside.quantity, load)
    answer = Answer(loaded.quantity, (*beside.assumptions, *load.assumptions))
    return _whole(case, found, _with_pace(case, answer), busy=busy, waits=loaded.rules)


def _measured(case: Case, clues: Clues) -> _Found | None:
    timed = _timed(clues.same)
    runs = [clue for clue in timed if clue.evidence.kind != "probe"]
    used = runs or timed
    if not used:
        return None
    seconds = median(_mean_s(clue) for clue in used)
    what = f"{len(used)} {'run' if runs else 'probe'}{'s' * (len(used) > 1)}"
    because = (
        f"measured: {format_duration(seconds)} a step on {case.gpu.name} in {what}, newest {used[0].evidence.taken}"
    )
    quantity = around(seconds, MEASURED_RUN if runs else MEASURED_PROBE, source="measured", because=because)
    return _Found(Answer(quantity), used, is_whole=True)


def _scaled(case: Case, clues: Clues) -> _Found | None:
    fitted = _fitted(case, [*_timed(clues.same), *_timed(clues.near)])
    if fitted:
        return fitted
    timed = _timed(clues.near)
    if not timed:
        return _transferred(case, _timed(clues.elsewhere))
    lined = between_sizes(case, timed, step_s=_step_s)
    if lined:
        return _Found(lined.answer, lined.used)
    clue, factor = min((_Scaled(clue, _sized(case, clue)) for clue in timed), key=_distance)
    return _from(clue, factor, together(_width(factor.value), factor.width))


def _transferred(case: Case, timed: Sequence[Clue]) -> _Found | None:
    """From a log of the program on another GPU: first to this size there, then to this GPU.

    Of several GPUs the one with the narrowest way here counts.
    """
    if not timed:
        return None
    ways = [_way(case, clue) for clue in timed]
    way = min(ways, key=lambda way: way.width.high / way.width.low)
    return _from(way.clue, way.ratio, way.width, way.assumptions)


class _Way(NamedTuple):
    clue: Clue
    ratio: Ratio
    width: Width
    assumptions: tuple[Assumption, ...] = ()


def _way(case: Case, clue: Clue) -> _Way:
    there = replace(case, gpu=clue.case.gpu)
    sized = _sized(there, clue)
    at_size = together(_width(sized.value), sized.width) if clue.differs else Width(1.0, 1.0)
    precision = _precision(case)
    source, target = chip_of(there.gpu, precision), chip_of(case.gpu, precision)
    if source is None or target is None:
        return _unrelated(case, clue)
    found = transfer(source, target, regime=_regime(there), tables=shipped_tables())
    width = together(at_size, Width(found.low / found.value, found.high / found.value))
    told = f"{format_number(found.value)} from {there.gpu.name} to {case.gpu.name}, {_grounds(found.models)}"
    because = told if sized.value == 1 else f"{told}, and {sized.because}"
    blended = _towards_closed_form(case, clue, Ratio(sized.value * found.value, f"x{because}"))
    return _Way(clue, blended, width, _assumed_precision(case))


def _towards_closed_form(case: Case, clue: Clue, carried: Ratio) -> Ratio:
    """A log imports what was peculiar to its GPU and host: the closed form of this GPU has a say, if it was fitted."""
    roofline = step_seconds(case)
    if roofline is None or roofline.log_width is None:
        return carried
    blind = roofline.seconds / _step_s(clue)
    value = math.exp(towards(math.log(carried.value), math.log(blind)))
    if value == carried.value:
        return carried
    told = f"x{format_number(value)}: {carried.because}; the closed form, {format_duration(roofline.seconds)}"
    return Ratio(value, f"{told}, counts {1 - RESIDUAL_WEIGHT:.0%}")


def _unrelated(case: Case, clue: Clue) -> _Way:
    """A rate of one of the two is not known: by closed forms, if there are any."""
    factor = ratio(case, clue.case, measured_s=_step_s(clue))
    return _Way(clue, factor, ELSEWHERE if 1 / FAR <= factor.value <= FAR else CLOSED_FORM)


def _sized(case: Case, clue: Clue) -> Ratio:
    return ratio(case, clue.case, measured_s=_step_s(clue))


def _precision(case: Case) -> str:
    return case.known.precision if case.known else case.shape.precision or "fp32"


def _regime(there: Case) -> str:
    """By the footprint: launch-bound where the kernels' start takes longer than their work on the measured GPU."""
    roofline = step_seconds(there)
    if roofline and roofline.bound == "launch":
        return "launch"
    return regime_of(there.known, rows=there.rows or 1) if there.known else ""


def _assumed_precision(case: Case) -> tuple[Assumption, ...]:
    if case.known or case.shape.precision:
        return ()
    text = "the precision is not known: fp32 is assumed on both GPUs"
    return (Assumption(text=text, change="name its setting in `roles.precision`"),)


def _grounds(models: int) -> str:
    if models:
        return f"as {models} measurements of other models say"
    return "by their rates, as no model was measured on both"


def _from(clue: Clue, factor: Ratio, width: Width, assumptions: tuple[Assumption, ...] = ()) -> _Found:
    because = (
        f"scaled: {format_duration(_step_s(clue))} a step of {clue.evidence.run} on {clue.case.gpu.name} "
        f"({_what_differs(clue)}), {factor.because}"
    )
    quantity = around(_step_s(clue) * factor.value, width, source="scaled", because=because)
    return _Found(Answer(quantity, (UNMEASURED_STEP, *assumptions, *_ranks(clue))), [clue])


def _fitted(case: Case, clues: Sequence[Clue]) -> _Found | None:
    alike = [clue for clue in clues if differs_in_batch_only(clue, case) and clue.case.rows]
    points = [Point(float(clue.case.rows or 0), _step_s(clue)) for clue in alike]
    seconds = affine(points, float(case.rows)) if case.rows else None
    if seconds is None:
        return None
    sizes = sorted({int(point.at) for point in points})
    because = f"scaled: a line through the measured batches {', '.join(map(str, sizes))} on {case.gpu.name}"
    near = min(sizes) / 2 <= (case.rows or 0) <= 2 * max(sizes)
    width = FITTED if near else SCALED
    quantity = around(seconds, width, source="scaled", because=because)
    return _Found(Answer(quantity, (UNMEASURED_STEP,)), alike)


def _closed_form(case: Case) -> _Found | None:
    roofline = step_seconds(case)
    if roofline is None:
        return None
    ranked = on_ranks(case, roofline.seconds)
    width = together(_fitted_width(roofline.log_width) if roofline.log_width else CLOSED_FORM, ranked.width)
    because = roofline.because + (f"; {ranked.because}" if case.run.ranks > 1 else "")
    quantity = around(roofline.seconds * ranked.slow, width, source="closed_form", because=because)
    ranks = (ranked.assumption,) if case.run.ranks > 1 else ()
    return _Found(Answer(quantity, (UNMEASURED_STEP, *roofline.assumptions, *ranks)))


def _fitted_width(log_width: float) -> Width:
    return Width(math.exp(-log_width), math.exp(log_width))


def _assumed(case: Case) -> _Found:
    """From rates that such a device may have, else nothing but an order of magnitude."""
    roofline = step_seconds(replace(case, gpu=case.gpu.model_copy(update=ASSUMED_RATES[case.gpu.kind])))
    seconds = roofline.seconds if roofline else ASSUMED_STEP_S
    because = f"assumed: {format_duration(seconds)} a step, as nothing is measured and {_what_is_missing(case)}"
    quantity = around(seconds, ASSUMED, source="assumed", because=because)
    text = f"the step time is a guess: nothing is measured and {_what_is_missing(case)}"
    guess = Assumption(text=text, change="`gpuplan probe` measures it")
    return _Found(Answer(quantity, (guess,)))


def _what_is_missing(case: Case) -> str:
    if isinstance(case.footprint, Unknown):
        return case.footprint.reason
    if case.rows is None:
        return "no role says how large a batch is"
    return f"no rate of {case.gpu.name} is known"


def _timed(clues: Sequence[Clue]) -> list[Clue]:
    return [clue for clue in clues if mean_step_s(clue.evidence.measurement)]


def _mean_s(clue: Clue) -> float:
    return mean_step_s(clue.evidence.measurement) or 0.0


def _step_s(clue: Clue) -> float:
    """Of the device alone: what it waited for data goes its own way, from one size or machine to another."""
    return device_seconds(clue, _mean_s(clue))


def _distance(scaled: _Scaled) -> tuple[float, int]:
    """Nearest first: the smallest ratio, then the fewest differences; ties stay in the order of the clues."""
    return abs(math.log(scaled.ratio.value)), len(scaled.clue.differs)


def _width(factor: float) -> Width:
    return SCALED if 1 / FAR <= factor <= FAR else CLOSED_FORM


def _what_differs(clue: Clue) -> str:
    differs = f"other {', '.join(clue.differs)}" if clue.differs else "the same settings"
    return f"{differs}, without its wait for data" if _step_s(clue) < _mean_s(clue) else differs


def _ranks(clue: Clue) -> tuple[Assumption, ...]:
    return (LINEAR_RANKS,) if "ranks" in clue.differs else ()


def _busy(case: Case, found: _Found) -> float | None:
    """The share of `found`, one copy alone, in which the device works: measured, else by the closed form."""
    measured = [_busy_of(clue, is_whole=found.is_whole) for clue in found.used if clue.evidence.ranks == case.run.ranks]
    known = [share for share in measured if share is not None]
    if known:
        return median(known)
    roofline = step_seconds(case)
    return roofline.utilization / on_ranks(case, roofline.seconds).slow if roofline else None


def _busy_of(clue: Clue, *, is_whole: bool) -> float | None:
    """Of the measured step, or of what is left of it without its wait for data."""
    busy = clue.evidence.measurement.device_busy
    if not busy:
        return None
    return busy if is_whole else min(1.0, busy * _mean_s(clue) / _step_s(clue))


def _beside_its_like(case: Case, found: _Found, busy: float | None) -> Answer:
    """All copies of the run at once on the device: a probe is of one copy, a run that was measured is of all."""
    if case.run.copies == 1 or _has_all_copies(found):
        return found.answer
    shared = _crowd(case, busy)
    times, alone = shared.times, found.answer.quantity
    width = together(_relative(alone), _relative(times))
    because = f"{alone.because}; {times.because}"
    quantity = around(alone.p50 * times.p50, width, source=weakest(alone.source, times.source), because=because)
    return Answer(quantity, (*found.answer.assumptions, *shared.assumptions))


def _has_all_copies(found: _Found) -> bool:
    return bool(found.used) and all(clue.evidence.kind != "probe" for clue in found.used)


def _crowd(case: Case, busy: float | None) -> Sharing:
    """How much longer each of the copies takes; on a CPU they share its cores, and all of them are taken to be busy."""
    copies = case.run.copies
    if case.gpu.kind == "cpu":
        text = f"{copies} copies on one CPU are assumed to take {copies} times as long as one"
        assumption = Assumption(text=text, change="run it once: a measured run of all copies replaces it")
        times = around(float(copies), SCALED, source="assumed", because=f"x{copies} for {copies} copies")
        return Sharing(times, (assumption,))
    return sharing([busy] * copies, mode_on(case.gpu))


def _whole(case: Case, found: _Found, answer: Answer, *, busy: float | None, waits: bool = False) -> StepTime:
    copies = 1 if _has_all_copies(found) else case.run.copies
    alone, together = found.answer.quantity.p50, answer.quantity.p50
    utilization = min(1.0, copies * busy * alone / together) if busy is not None and together else None
    return StepTime(answer.quantity, answer.assumptions, utilization, waits)


def _with_pace(case: Case, answer: Answer) -> Answer:
    quantity = answer.quantity
    told = f"{quantity.because}{paced(case, quantity.p50)}"
    return Answer(quantity.model_copy(update={"because": told}), answer.assumptions)


def _relative(quantity: Quantity) -> Width:
    return Width(quantity.p10 / quantity.p50, quantity.p90 / quantity.p50)
