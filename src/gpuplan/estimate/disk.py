"""Bytes on disk that one run leaves: its checkpoints, its final model, its logs. It never looks at a disk."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.estimate.answers import Answer, Assumption
from gpuplan.model import Quantity
from gpuplan.units import format_bytes, format_number, parse_duration

if TYPE_CHECKING:
    from gpuplan.estimate.case import Case
    from gpuplan.estimate.evidence import Clues
    from gpuplan.model import Source

__all__ = ["CheckpointSize", "checkpoint_size", "checkpoints_written", "disk"]

LOG_BYTES = 10 * 10**6
"""Logs and metrics of one run; assumed, and small beside any checkpoint."""
ASSUMED_CHECKPOINT_BYTES = 10**9

MOST_CHECKPOINTS = 10**9
"""More are a typing error."""

EVERY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(steps?|epochs?)\s*", re.IGNORECASE)


class CheckpointSize(NamedTuple):
    """Bytes of one checkpoint, of weights alone, and how that is known."""

    full_bytes: float
    weights_bytes: float
    source: Source
    because: str


def disk(case: Case, clues: Clues, *, training_s: float) -> Answer:
    """Bytes of one run, all its copies together; `training_s` tells how often a save every few minutes happens."""
    size = checkpoint_size(case, clues)
    if not case.run.train:
        return Answer(_quantity(case, size, kept=(0, 0, 0), final=(0, 0, 0), because="an evaluation writes no model"))
    checkpoint = case.experiment.checkpoint
    written = checkpoints_written(case, training_s=training_s)
    if checkpoint.every is None and checkpoint.keep is None:
        because = f"{size.because}; the spec does not say what is saved, one is assumed"
        assumption = Assumption(text="one checkpoint is assumed to be saved", change="`checkpoint.every` and `.keep`")
        return Answer(_quantity(case, size, kept=(0, 1, 1), final=(0, 0, 1), because=because), (assumption,))
    kept = _kept(case, written)
    because = f"{kept} checkpoint{'s' * (kept != 1)} of {size.because}, and the final weights"
    # A new checkpoint is complete before the oldest is deleted.
    most = kept + (written is None or written > kept)
    quantity = _quantity(case, size, kept=(kept, kept, most), final=(0, 1, 1), because=because)
    return Answer(quantity, _assumptions(case, size, written=written))


def checkpoints_written(case: Case, *, training_s: float) -> int | None:
    """How many checkpoints a run writes by `checkpoint.every`; None where that cannot be told."""
    every = case.experiment.checkpoint.every
    if every is None:
        return None
    match = EVERY.fullmatch(every)
    if match is None:
        return _times(training_s, _seconds_of(every))
    if match[2].lower().startswith("step"):
        return _times(case.steps, float(match[1]))
    return _times(case.epochs, float(match[1]))


def checkpoint_size(case: Case, clues: Clues) -> CheckpointSize:
    """One checkpoint: measured, else weights and optimizer states, else assumed."""
    weights = 4.0 * case.known.parameters if case.known else 0.0
    for clue in (*clues.same, *clues.near, *clues.elsewhere):
        measured = clue.evidence.measurement.checkpoint_bytes
        if measured is None:
            continue
        factor = case.known.checkpoint_bytes / clue.case.known.checkpoint_bytes if case.known and clue.case.known else 1
        source: Source = "measured" if clue.relation == "same" else "scaled"
        full = measured * factor
        return CheckpointSize(
            full, min(weights, full), source, f"{format_bytes(full)} ({source} in {clue.evidence.run})"
        )
    if case.known:
        each = format_number(case.known.checkpoint_bytes / max(1, case.known.parameters))
        because = f"{format_bytes(case.known.checkpoint_bytes)} ({each} B a parameter: weights and optimizer states)"
        return CheckpointSize(float(case.known.checkpoint_bytes), weights, case.known.source, because)
    because = f"{format_bytes(ASSUMED_CHECKPOINT_BYTES)} (assumed)"
    return CheckpointSize(float(ASSUMED_CHECKPOINT_BYTES), 0.0, "assumed", because)


def _seconds_of(every: str) -> float | None:
    try:
        return parse_duration(every)
    except ValueError:
        return None


def _times(length: float | None, every: float | None) -> int | None:
    return math.floor(min(length / every, MOST_CHECKPOINTS)) if length is not None and every else None


def _kept(case: Case, written: int | None) -> int:
    keep = case.experiment.checkpoint.keep
    if keep is None:
        return 1 if written is None else written
    return min(keep, MOST_CHECKPOINTS if written is None else written)


def _quantity(
    case: Case, size: CheckpointSize, *, kept: tuple[int, int, int], final: tuple[int, int, int], because: str
) -> Quantity:
    # Some programs save weights alone: then a checkpoint is as large as the final model.
    smallest = size.weights_bytes or 0.2 * size.full_bytes
    low_size = size.full_bytes if size.source == "measured" else min(smallest, size.full_bytes)
    high_size = size.full_bytes * (5 if size.source == "assumed" else 1.05)
    sizes = (low_size, size.full_bytes, high_size)
    low, middle, high = (
        case.run.copies * (LOG_BYTES + count * full + extra * size.weights_bytes)
        for count, full, extra in zip(kept, sizes, final, strict=True)
    )
    return Quantity(p10=low, p50=middle, p90=high, source=size.source, because=because)


def _assumptions(case: Case, size: CheckpointSize, *, written: int | None) -> tuple[Assumption, ...]:
    found = []
    if size.source == "assumed":
        found.append(Assumption(text=f"a checkpoint of {size.because}", change="`footprint.model`, or run it once"))
    if written is None and case.experiment.checkpoint.keep is None:
        text = "how many checkpoints are kept is not known, one is assumed"
        found.append(Assumption(text=text, change="`checkpoint.keep`, or `roles.steps`"))
    return tuple(found)
