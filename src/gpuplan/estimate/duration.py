"""Seconds of a whole run: start-up, steps, evaluation, checkpoints. It never decides whether that is too long."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

from gpuplan.estimate.answers import (
    ASSUMED,
    CLOSED_FORM,
    MEASURED_RUN,
    SCALED,
    Answer,
    Assumption,
    Width,
    around,
    total,
)
from gpuplan.estimate.disk import checkpoint_size, checkpoints_written
from gpuplan.estimate.evidence import equally_long
from gpuplan.model import Quantity
from gpuplan.units import format_duration

if TYPE_CHECKING:
    from gpuplan.estimate.case import Case
    from gpuplan.estimate.evidence import Clue, Clues

__all__ = ["duration"]

ASSUMED_DURATION_S = 3600.0
ASSUMED_STARTUP_S = 15.0
ASSUMED_DISK_BYTES_PER_S = 500e6

OF_INTERPRETER = Width(1.0, 3.0)
"""A row's start-up is the interpreter and the framework; the program's data and model come on top."""
EVALUATED_ROW = 1 / 3
"""Of a trained row: the forward pass alone, of forward and twice as much backward."""


def duration(case: Case, clues: Clues, *, step_s: Quantity) -> Answer:
    """Seconds from the launch of `case` to its end."""
    return _measured(case, clues) or _of_unknown_length(case) or _added_up(case, clues, step_s)


def _measured(case: Case, clues: Clues) -> Answer | None:
    whole = [clue for clue in clues.same if clue.evidence.measurement.duration_s and equally_long(clue, case)]
    if not whole:
        return None
    seconds = median(clue.evidence.measurement.duration_s or 0.0 for clue in whole)
    because = f"measured: {format_duration(seconds)} in {len(whole)} run{'s' * (len(whole) > 1)} of this length"
    return Answer(around(seconds, MEASURED_RUN, source="measured", because=because))


def _of_unknown_length(case: Case) -> Answer | None:
    if case.steps is not None:
        return None
    missing = Assumption(text="how many steps the run takes is not known", change="`roles.steps`, or `roles.epochs`")
    limit = case.experiment.limits.run
    if limit is not None:
        because = f"assumed: as long as `limits.run` allows, {format_duration(limit)}, as no role says how many steps"
        quantity = Quantity(p10=limit * ASSUMED.low, p50=limit, p90=limit, source="assumed", because=because)
        return Answer(quantity, (missing,))
    because = f"assumed: {format_duration(ASSUMED_DURATION_S)}, as neither a role nor `limits.run` says how long"
    return Answer(around(ASSUMED_DURATION_S, ASSUMED, source="assumed", because=because), (missing,))


def _added_up(case: Case, clues: Clues, step_s: Quantity) -> Answer:
    steps = case.steps or 0
    training = step_s.times(steps)
    startup = _startup(case, clues)
    rest = _rest(case, clues, step_s)
    because = (
        f"{format_duration(startup.quantity.p50)} to start + {steps:,} steps of {format_duration(step_s.p50)} "
        f"+ {format_duration(rest.quantity.p50)} for evaluation and checkpoints"
    )
    parts = [training, startup.quantity, rest.quantity]
    return Answer(total(parts, because=because), (*startup.assumptions, *rest.assumptions))


def _startup(case: Case, clues: Clues) -> Answer:
    for clue in (*clues.same, *clues.near):
        measured = clue.evidence.measurement.startup_s
        if measured is not None:
            return Answer(_measured_startup(case, clue, measured))
    if case.gpu.startup_s is not None:
        seconds = case.gpu.startup_s * (2 if case.run.ranks > 1 else 1)  # torchrun imports torch before its ranks do
        because = f"{format_duration(seconds)} to import the framework on {case.gpu.name}"
        return Answer(around(seconds, OF_INTERPRETER, source="assumed", because=because))
    because = f"assumed: {format_duration(ASSUMED_STARTUP_S)} to start"
    return Answer(
        around(ASSUMED_STARTUP_S, ASSUMED, source="assumed", because=because),
        (Assumption(text=because, change="`gpuplan probe` measures it"),),
    )


def _measured_startup(case: Case, clue: Clue, measured: float) -> Quantity:
    launcher = case.gpu.startup_s or 0.0 if case.run.ranks > 1 and clue.evidence.ranks == 1 else 0.0
    because = f"{format_duration(measured)} to start, as measured in {clue.evidence.run}"
    if clue.relation == "same":
        return around(measured, MEASURED_RUN, source="measured", because=because)
    return around(measured + launcher, SCALED, source="scaled", because=because)


def _rest(case: Case, clues: Clues, step_s: Quantity) -> Answer:
    for clue in clues.same:
        measured = clue.evidence.measurement.other_s
        if measured is not None and clue.evidence.kind != "probe":
            seconds = measured * _length_ratio(case, clue)
            because = f"{format_duration(seconds)} outside of steps, as measured in {clue.evidence.run}"
            return Answer(around(seconds, MEASURED_RUN, source="measured", because=because))
    evaluating, saving = _evaluation(case, step_s), _saving(case, clues, step_s)
    because = f"{evaluating.quantity.because}; {saving.quantity.because}"
    both = total([evaluating.quantity, saving.quantity], because=because)
    return Answer(both, (*evaluating.assumptions, *saving.assumptions))


def _length_ratio(case: Case, clue: Clue) -> float:
    """How much longer the run is than the measured one: in epochs, else in steps."""
    measured = clue.evidence.measurement
    if case.epochs and measured.epochs:
        return case.epochs / measured.epochs
    return case.steps / measured.steps if case.steps and measured.steps else 1.0


def _evaluation(case: Case, step_s: Quantity) -> Answer:
    """Every rank evaluates its share, once an epoch: a row costs what its forward pass does."""
    rows = case.eval_rows
    if not rows:
        return Answer(_nothing("no role says how many rows are evaluated"))
    if not case.rows:
        text = "evaluation is left out, as no role says how large a batch is"
        return Answer(_nothing(text), (Assumption(text=text, change="`roles.micro_batch`"),))
    times = math.ceil(case.epochs or 1) if case.run.train else 1
    row_s = step_s.times(EVALUATED_ROW / (case.rows * case.passes))
    because = f"{times} evaluation{'s' * (times > 1)} of {rows:,} rows at a third of a trained row's time"
    quantity = around(row_s.p50 * rows * times, CLOSED_FORM, source="closed_form", because=because)
    text = "a row is assumed to be evaluated in a third of the time that it is trained in"
    return Answer(quantity, (Assumption(text=text, change="`gpuplan probe` measures it"),))


def _saving(case: Case, clues: Clues, step_s: Quantity) -> Answer:
    written = checkpoints_written(case, training_s=step_s.p50 * (case.steps or 0))
    if not written:
        return Answer(_nothing("no checkpoints"))
    seconds = written * checkpoint_size(case, clues).full_bytes / ASSUMED_DISK_BYTES_PER_S
    because = f"{written:,} checkpoints written at {ASSUMED_DISK_BYTES_PER_S / 1e6:.0f} MB/s"
    quantity = around(seconds, ASSUMED, source="assumed", because=because)
    text = f"checkpoints are assumed to be written at {ASSUMED_DISK_BYTES_PER_S / 1e6:.0f} MB/s"
    return Answer(quantity, (Assumption(text=text, change="a finished run replaces it"),))


def _nothing(because: str) -> Quantity:
    return Quantity(p10=0.0, p50=0.0, p90=0.0, source="closed_form", because=because)
