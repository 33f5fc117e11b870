"""Seconds of a whole run: start-up, compilation, steps, evaluation, checkpoints.

It never decides whether that is too long.
"""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

from gpuplan.estimate.answers import (
    ASSUMED,
    CLOSED_FORM,
    ELSEWHERE,
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
from gpuplan.estimate.loading import loading
from gpuplan.model import Quantity
from gpuplan.units import format_bytes, format_count, format_duration, format_number

if TYPE_CHECKING:
    from gpuplan.estimate.case import Case
    from gpuplan.estimate.evidence import Clue, Clues

__all__ = ["duration"]

ASSUMED_DURATION_S = 3600.0
ASSUMED_STARTUP_S = 15.0
ASSUMED_DISK_BYTES_PER_S = 500e6
"""Of a SATA SSD, which markets and clusters have at the least. Weights that are drawn and not read come as fast: torch
2.13 fills linear layers at 570 to 1,020 MB/s on one core, measured here in November 2026."""
COMPILING_S = 60.0
COMPILING = Width(0.12, 5.0)
"""torch.compile of GPT-2 124M and its backward pass takes about a minute (nanoGPT's train.py says so, 2023), of 4 small
layers 7 s (nanoGPT pull request 392, November 2023), of 1.5 billion parameters minutes; encoders of 2 and 6 layers took
51 and 37 s on one core, torch 2.13, measured here in November 2026."""

EVALUATED_ROW = 1 / 3
"""Of a trained row: the forward pass alone, of forward and twice as much backward."""
LEAST_GRADIENT_BYTES = 2.0
"""Of a parameter, for those that gradients tell the number of."""
OF_INTERPRETER = Width(1.0, 3.0)
"""A row's start-up is the interpreter and the framework; the program's data and imports of its own come on top."""
WORTH_SAYING_S = 1.0


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
    training = step_s.times(case.steps or 0)
    startup = _startup(case, clues)
    rest = _rest(case, clues, step_s)
    because = (
        f"{format_duration(startup.quantity.p50)} to start + {_length(case, step_s.p50)} "
        f"+ {format_duration(rest.quantity.p50)} for evaluation and checkpoints"
    )
    parts = [training, startup.quantity, rest.quantity]
    return Answer(total(parts, because=because), (*startup.assumptions, *rest.assumptions))


def _length(case: Case, step_s: float) -> str:
    """Steps, epochs, samples and tokens of one copy of the run, as far as the roles tell them."""
    steps = case.steps or 0
    told = []
    if case.epochs and steps:
        each = format_duration(step_s * steps / case.epochs)
        told.append(f"{format_number(case.epochs)} epoch{'s' * (case.epochs != 1)} of {each}")
    if case.rows and steps:
        samples = case.rows * case.passes * case.run.ranks * steps
        told.append(f"{format_count(samples)} samples")
        told += [f"{format_count(samples * case.shape.sequence)} tokens"] if case.shape.sequence else []
    return f"{steps:,} steps of {format_duration(step_s)}" + (f" ({', '.join(told)})" if told else "")


# ---------------------------------------------------------------- start-up


def _startup(case: Case, clues: Clues) -> Answer:
    for clue in (*clues.same, *clues.near, *clues.elsewhere):
        measured = clue.evidence.measurement.startup_s
        if measured is not None:
            return _measured_startup(case, clue, measured)
    parts = [_framework(case), *_weights(case), *_compilation(case)]
    because = " + ".join(part.quantity.because for part in parts)
    assumptions = tuple(assumption for part in parts for assumption in part.assumptions)
    return Answer(total([part.quantity for part in parts], because=because), assumptions)


def _measured_startup(case: Case, clue: Clue, measured: float) -> Answer:
    """From the launch to the first step: weights are loaded and compiled in it."""
    because = f"{format_duration(measured)} to start, as measured in {clue.evidence.run}"
    if clue.relation == "same":
        return Answer(around(measured, MEASURED_RUN, source="measured", because=because))
    launcher = case.gpu.startup_s or 0.0 if case.run.ranks > 1 and clue.evidence.ranks == 1 else 0.0
    larger = max(0.0, _weights_bytes(case) - _weights_bytes(clue.case)) / ASSUMED_DISK_BYTES_PER_S
    width = SCALED if clue.relation == "near" else ELSEWHERE
    quantity = around(measured + launcher + larger, width, source="scaled", because=because)
    compiling = [] if clue.case.shape.compiles else _compilation(case)
    assumptions = tuple(assumption for part in compiling for assumption in part.assumptions)
    return Answer(total([quantity, *(part.quantity for part in compiling)], because=because), assumptions)


def _framework(case: Case) -> Answer:
    if case.gpu.startup_s is not None:
        seconds = case.gpu.startup_s * (2 if case.run.ranks > 1 else 1)  # torchrun imports torch before its ranks do
        because = f"{format_duration(seconds)} to import the framework on {case.gpu.name}"
        return Answer(around(seconds, OF_INTERPRETER, source="assumed", because=because))
    because = f"assumed: {format_duration(ASSUMED_STARTUP_S)} to start"
    return Answer(
        around(ASSUMED_STARTUP_S, ASSUMED, source="assumed", because=because),
        (Assumption(text=because, change="`gpuplan probe` measures it"),),
    )


def _weights(case: Case) -> list[Answer]:
    """They are read from disk, or drawn at random."""
    size_bytes = _weights_bytes(case)
    if not size_bytes:
        return []
    seconds = size_bytes / ASSUMED_DISK_BYTES_PER_S
    because = (
        f"{format_duration(seconds)} to load {format_bytes(size_bytes)} of weights "
        f"at {ASSUMED_DISK_BYTES_PER_S / 1e6:.0f} MB/s"
    )
    text = f"weights are assumed to be loaded or drawn at {ASSUMED_DISK_BYTES_PER_S / 1e6:.0f} MB/s"
    flagged = (Assumption(text=text, change="`gpuplan probe` measures it"),) if seconds >= WORTH_SAYING_S else ()
    return [Answer(around(seconds, ASSUMED, source="assumed", because=because), flagged)]


def _weights_bytes(case: Case) -> float:
    return 4.0 * case.known.parameters if case.known else 0.0


def _compilation(case: Case) -> list[Answer]:
    if not case.shape.compiles:
        return []
    because = f"assumed: {format_duration(COMPILING_S)} to compile the model"
    quantity = around(COMPILING_S, COMPILING, source="assumed", because=because)
    return [Answer(quantity, (Assumption(text=because, change="`gpuplan probe` measures it, or a finished run"),))]


# ---------------------------------------------------------------- outside of steps


def _rest(case: Case, clues: Clues, step_s: Quantity) -> Answer:
    for clue in clues.same:
        measured = clue.evidence.measurement.other_s
        if measured is not None and clue.evidence.kind != "probe":
            seconds = measured * _length_ratio(case, clue)
            because = f"{format_duration(seconds)} outside of steps, as measured in {clue.evidence.run}"
            return Answer(around(seconds, MEASURED_RUN, source="measured", because=because))
    evaluating, saving = _evaluation(case, clues, step_s), _saving(case, clues, step_s)
    because = f"{evaluating.quantity.because}; {saving.quantity.because}"
    both = total([evaluating.quantity, saving.quantity], because=because)
    return Answer(both, (*evaluating.assumptions, *saving.assumptions))


def _length_ratio(case: Case, clue: Clue) -> float:
    """How much longer the run is than the measured one: in epochs, else in steps."""
    measured = clue.evidence.measurement
    if case.epochs and measured.epochs:
        return case.epochs / measured.epochs
    return case.steps / measured.steps if case.steps and measured.steps else 1.0


def _evaluation(case: Case, clues: Clues, step_s: Quantity) -> Answer:
    """Every rank evaluates its share, once an epoch: a row costs what its forward pass and its loading do."""
    rows = case.eval_rows
    if not rows:
        return Answer(_nothing("no role says how many rows are evaluated"))
    if not case.rows:
        text = "evaluation is left out, as no role says how large a batch is"
        return Answer(_nothing(text), (Assumption(text=text, change="`roles.micro_batch`"),))
    times = math.ceil(case.epochs or 1) if case.run.train else 1
    forward = _forward_share(case)
    steps = rows / (case.rows * case.passes * case.run.ranks)
    seconds = times * steps * _evaluated_s(case, clues, step_s.p50, forward=forward)
    because = f"{times} evaluation{'s' * (times > 1)} of {rows:,} rows at {forward:.0%} of a trained row's time"
    text = f"a row is assumed to be evaluated in {forward:.0%} of the time that it is trained in"
    quantity = around(seconds, CLOSED_FORM, source="closed_form", because=because)
    return Answer(quantity, (Assumption(text=text, change="`gpuplan probe` measures it"),))


def _forward_share(case: Case) -> float:
    """Of a trained row: as much backward for its activations, and for the parameters that are trained."""
    known = case.known
    if known is None or not known.parameters:
        return EVALUATED_ROW
    trained = known.trainable or known.gradient_bytes / LEAST_GRADIENT_BYTES
    return 1 / (2 + min(trained / known.parameters, 1.0))


def _evaluated_s(case: Case, clues: Clues, step_s: float, *, forward: float) -> float:
    """Seconds to evaluate as many rows as one step trains on."""
    load = loading(case, clues)
    if load is None:
        return forward * step_s
    if load.is_serial:
        return forward * max(0.0, step_s - load.seconds.p50) + load.seconds.p50
    return max(forward * step_s, load.seconds.p50)


def _saving(case: Case, clues: Clues, step_s: Quantity) -> Answer:
    written = checkpoints_written(case, training_s=step_s.p50 * (case.steps or 0))
    if not written:
        return Answer(_nothing("no checkpoints"))
    size = checkpoint_size(case, clues)
    seconds = (written * size.full_bytes + size.weights_bytes) / ASSUMED_DISK_BYTES_PER_S
    rate = f"{ASSUMED_DISK_BYTES_PER_S / 1e6:.0f} MB/s"
    because = f"{written:,} checkpoints and the final weights written at {rate}"
    quantity = around(seconds, ASSUMED, source="assumed", because=because)
    text = f"checkpoints are assumed to be written at {rate}"
    return Answer(quantity, (Assumption(text=text, change="a finished run replaces it"),))


def _nothing(because: str) -> Quantity:
    return Quantity(p10=0.0, p50=0.0, p90=0.0, source="closed_form", because=because)
