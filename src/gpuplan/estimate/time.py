"""Seconds of one optimizer step, from the strongest thing that is known. It never adds up a whole run.

What is estimated is the mean step of a whole run. The spread of single steps is another thing: it averages out, and
the widths of `answers` say what does not.
"""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.estimate.answers import (
    ASSUMED,
    CLOSED_FORM,
    ELSEWHERE,
    FITTED,
    MEASURED_PROBE,
    MEASURED_RUN,
    SCALED,
    Answer,
    Assumption,
    Width,
    around,
)
from gpuplan.estimate.roofline import step_seconds
from gpuplan.estimate.scaling import LINEAR_RANKS, Point, affine, differs_in_batch_only, ratio
from gpuplan.footprint import Unknown
from gpuplan.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuplan.estimate.case import Case
    from gpuplan.estimate.evidence import Clue, Clues
    from gpuplan.estimate.scaling import Ratio
    from gpuplan.model import Measurement

__all__ = ["mean_step_s", "step_time"]

ASSUMED_STEP_S = 0.5
ASSUMED_RATES: dict[str, dict[str, object]] = {
    "gpu": {"peak_flops": {"fp32": 20e12, "fp16": 80e12, "bf16": 80e12}, "bandwidth_bytes_per_s": 600e9},
    "cpu": {"peak_flops": {"fp32": 50e9}, "bandwidth_bytes_per_s": 20e9, "threads": 1},
}
"""Of a device without any: a mid-range card, one core. They decide the order of magnitude, and nothing else."""

FAR = 4.0
"""Beyond this ratio a scaled figure is no more certain than a closed form."""

PROBE = Assumption(text="the step time was not measured at this size", change="`gpuplan probe` measures it")


class _Scaled(NamedTuple):
    clue: Clue
    ratio: Ratio


def step_time(case: Case, clues: Clues) -> Answer:
    """Seconds of one optimizer step of `case`, all copies of the run sharing the device."""
    return _measured(case, clues) or _scaled(case, clues) or _closed_form(case) or _assumed(case)


def mean_step_s(measurement: Measurement) -> float | None:
    """The mean seconds of a step: of whole epochs, else from the percentiles of single steps, else the median."""
    steps = _steps_of_an_epoch(measurement)
    if measurement.epoch_s and steps:
        return measurement.epoch_s / steps
    low, middle, high = measurement.step_p10_s, measurement.step_s, measurement.step_p90_s
    if low and middle and high:
        return 0.3 * low + 0.4 * middle + 0.3 * high  # Swanson's rule: slow steps pull the mean above the median
    return middle


def _steps_of_an_epoch(measurement: Measurement) -> float | None:
    """From the rows of a rank: the steps of the record may end within an epoch, as those of a probe do."""
    by_rank, batch = measurement.samples_per_epoch_by_rank, measurement.batch_size
    return by_rank[0] * measurement.world_size / batch if by_rank and batch else None


def _measured(case: Case, clues: Clues) -> Answer | None:
    timed = _timed(clues.same)
    runs = [clue for clue in timed if clue.evidence.kind != "probe"]
    used = runs or timed
    if not used:
        return None
    seconds = median(_step_s(clue) for clue in used)
    what = f"{len(used)} {'run' if runs else 'probe'}{'s' * (len(used) > 1)}"
    because = (
        f"measured: {format_duration(seconds)} a step on {case.gpu.name} in {what}, newest {used[0].evidence.taken}"
    )
    sharing = _share(case, used)
    quantity = around(seconds * sharing, MEASURED_RUN if runs else MEASURED_PROBE, source="measured", because=because)
    return Answer(quantity, _sharing(sharing))


def _scaled(case: Case, clues: Clues) -> Answer | None:
    fitted = _fitted(case, [*_timed(clues.same), *_timed(clues.near)])
    if fitted:
        return fitted
    timed = _timed(clues.near) or _timed(clues.elsewhere)
    if not timed:
        return None
    clue, factor = min((_Scaled(clue, ratio(case, clue.case)) for clue in timed), key=_distance)
    width = _width(clue, factor.value)
    if clue.evidence.ranks != case.run.ranks:
        width = _as_far_as_no_speedup(width, factor.value)
    seconds = _step_s(clue) * factor.value
    because = (
        f"scaled: {format_duration(_step_s(clue))} a step of {clue.evidence.run} on {clue.case.gpu.name} "
        f"({_what_differs(clue)}), {factor.because}"
    )
    sharing = _share(case, [clue])
    quantity = around(seconds * sharing, width, source="scaled", because=because)
    return Answer(quantity, (PROBE, *_ranks(clue), *_sharing(sharing)))


def _fitted(case: Case, clues: Sequence[Clue]) -> Answer | None:
    alike = [clue for clue in clues if differs_in_batch_only(clue, case) and clue.case.rows]
    points = [Point(float(clue.case.rows or 0), _step_s(clue)) for clue in alike]
    seconds = affine(points, float(case.rows)) if case.rows else None
    if seconds is None:
        return None
    sizes = sorted({int(point.at) for point in points})
    because = f"scaled: a line through the measured batches {', '.join(map(str, sizes))} on {case.gpu.name}"
    near = min(sizes) / 2 <= (case.rows or 0) <= 2 * max(sizes)
    width = FITTED if near else SCALED
    sharing = _share(case, alike)
    quantity = around(seconds * sharing, width, source="scaled", because=because)
    return Answer(quantity, (PROBE, *_sharing(sharing)))


def _closed_form(case: Case) -> Answer | None:
    roofline = step_seconds(case)
    if roofline is None:
        return None
    ranks = (LINEAR_RANKS,) if case.run.ranks > 1 else ()
    seconds = roofline.seconds * case.run.copies
    quantity = around(seconds, CLOSED_FORM, source="closed_form", because=roofline.because)
    return Answer(quantity, (PROBE, *roofline.assumptions, *ranks, *_sharing(case.run.copies)))


def _assumed(case: Case) -> Answer:
    """From rates that such a device may have, else nothing but an order of magnitude."""
    roofline = step_seconds(replace(case, gpu=case.gpu.model_copy(update=ASSUMED_RATES[case.gpu.kind])))
    seconds = roofline.seconds if roofline else ASSUMED_STEP_S
    because = f"assumed: {format_duration(seconds)} a step, as nothing is measured and {_what_is_missing(case)}"
    quantity = around(seconds * case.run.copies, ASSUMED, source="assumed", because=because)
    text = f"the step time is a guess: nothing is measured and {_what_is_missing(case)}"
    guess = Assumption(text=text, change="`gpuplan probe` measures it")
    return Answer(quantity, (guess, *_sharing(case.run.copies)))


def _what_is_missing(case: Case) -> str:
    if isinstance(case.footprint, Unknown):
        return case.footprint.reason
    if case.rows is None:
        return "no role says how large a batch is"
    return f"no rate of {case.gpu.name} is known"


def _timed(clues: Sequence[Clue]) -> list[Clue]:
    return [clue for clue in clues if mean_step_s(clue.evidence.measurement)]


def _step_s(clue: Clue) -> float:
    return mean_step_s(clue.evidence.measurement) or 0.0


def _distance(scaled: _Scaled) -> tuple[float, int]:
    """Nearest first: the smallest ratio, then the fewest differences; ties stay in the order of the clues."""
    return abs(math.log(scaled.ratio.value)), len(scaled.clue.differs)


def _as_far_as_no_speedup(width: Width, factor: float) -> Width:
    """That ranks scale linearly is assumed: it may also be that they do not help at all."""
    return Width(min(width.low, 1 / factor), max(width.high, 1 / factor))


def _width(clue: Clue, factor: float) -> Width:
    if clue.relation == "elsewhere":
        return ELSEWHERE if 1 / FAR <= factor <= FAR else CLOSED_FORM
    return SCALED if 1 / FAR <= factor <= FAR else CLOSED_FORM


def _what_differs(clue: Clue) -> str:
    return f"other {', '.join(clue.differs)}" if clue.differs else "the same settings"


def _ranks(clue: Clue) -> tuple[Assumption, ...]:
    return (LINEAR_RANKS,) if "ranks" in clue.differs else ()


def _share(case: Case, used: Sequence[Clue]) -> int:
    """How many share the device that did not when it was measured: a probe is of one copy, a run of all."""
    return case.run.copies if any(clue.evidence.kind == "probe" for clue in used) else 1


def _sharing(copies: int) -> tuple[Assumption, ...]:
    if copies == 1:
        return ()
    text = f"{copies} copies on one device are assumed to take {copies} times as long as one"
    return (Assumption(text=text, change="run it once: a measured run of all copies replaces it"),)
