"""Measured rows of models with public dimensions, as the footprint of their step. It predicts nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data.models import find_model
from gpuplan.data.workloads import find_workload
from gpuplan.footprint import Unknown
from gpuplan.footprint.named import footprint_of_facts
from gpuplan.footprint.shapes import footprint_of_shape

if TYPE_CHECKING:
    from time_rows import TimeRow

    from gpuplan.data.models import ModelFacts
    from gpuplan.data.workloads import WorkloadFacts
    from gpuplan.model import Footprint

__all__ = ["Shaped", "shaped"]

PER_STEP = ("ms", "s/it", "s/step", "s/batch")
USUAL_BATCH = 128
USUAL_SEQUENCE = 384
"""Of a BERT where the row does not say it: SQuAD's."""
PRETRAINING_PASSES = 64
"""NVIDIA's BERT pretraining accumulates gradients over thousands of rows (its README)."""
MEAN_FRAMES = 566
"""Of a clip of LJSpeech: 23.92 hours in 13,100 clips at 22,050 Hz and 256 samples a frame (its page). A step computes
all clips as long as its longest; only real frames count as done (train.py: the sum of `output_lengths`)."""
TRANSLATION = 2
"""A row of GNMT is a sentence and its translation; throughput counts the tokens of both."""


class Shaped(NamedTuple):
    """A row and its step: micro-batch, passes, and how many of what was timed are one optimizer step."""

    row: TimeRow
    footprint: Footprint
    batch: int
    passes: int
    items_of_step: float


class _Named(NamedTuple):
    footprint: Footprint
    sequence: int
    family: str


def shaped(row: TimeRow) -> Shaped | None:
    """The training step behind `row`; None where its dimensions or its unit are not known."""
    if "train" not in row.mode:
        return None
    precision = "fp16" if row.level == "half" else row.sample.chip.place.precision
    workload = find_workload(_name(row))
    found = _workload(row, workload, precision) if workload else _transformer(row, precision)
    items = _items(row, found) if found else None
    if found is None or items is None:
        return None
    batch = _batch(row) or USUAL_BATCH
    passes = PRETRAINING_PASSES if "pretrain" in row.sample.model else 1
    whole = items if row.unit.startswith(PER_STEP) else float(batch * passes * items)
    return Shaped(row, found.footprint, batch, passes, whole)


def _name(row: TimeRow) -> str:
    """Lambda trains Transformer-XL without `--adaptive` (config_v1/*.sh): with a softmax over all words."""
    full = row.family.startswith("lambda") and row.sample.model.startswith("transformerxl")
    return f"Transformer-XL {row.sample.model.removeprefix('transformerxl')}, full softmax" if full else row.model


def _workload(row: TimeRow, workload: WorkloadFacts, precision: str) -> _Named | None:
    """At its own size: an image column may state another network's."""
    sequence = _number(row.size) if workload.family == "transformer_xl" else None
    found = footprint_of_shape(workload.name, precision=precision, sequence=sequence)
    return None if isinstance(found, Unknown) else _Named(found, sequence or workload.sequence, workload.family)


def _transformer(row: TimeRow, precision: str) -> _Named | None:
    facts = _facts(row.model)
    if facts is None:
        return None
    if facts.kind == "encoder":
        facts = replace(facts, classes=2)  # SQuAD has two outputs; pretraining predicts few tokens of a row
    sequence = _number(row.size) or (USUAL_SEQUENCE if facts.kind == "encoder" else None)
    found = footprint_of_facts(facts, sequence=sequence, precision=precision)
    return None if isinstance(found, Unknown) or sequence is None else _Named(found, sequence, facts.family)


def _facts(name: str) -> ModelFacts | None:
    """The model that the first words of `name` mean: what follows is the task."""
    words = re.findall(r"[a-z0-9.]+", name.lower()[:200])
    for count in range(len(words), 0, -1):
        found = find_model("-".join(words[:count]))
        if found:
            return found
    return None


def _items(row: TimeRow, found: _Named) -> int | None:
    """What of the row's unit one row of the batch is: None for a unit that is not known of the model."""
    unit = row.unit
    if unit.startswith(("images", "sequences", "samples", *PER_STEP)):
        return 1
    if unit.startswith("tokens"):
        return found.sequence * (TRANSLATION if found.family == "gnmt" else 1)
    if unit.startswith(("mels", "audio", "items")):
        return {"tacotron2": MEAN_FRAMES, "waveglow": found.sequence, "ncf": 1}.get(found.family)
    return None


def _batch(row: TimeRow) -> int | None:
    """Of `10@FP16, 4@TF32` the one of the row's precision."""
    for batch, precision in re.findall(r"(\d{1,9})@(\w+)", row.batch):
        if (precision.upper() in {"FP16", "AMP", "BF16"}) == (row.level == "half"):
            return int(batch)
    return _number(row.batch)


def _number(text: str) -> int | None:
    digits = re.search(r"\d{1,9}", text)
    return (int(digits.group()) or None) if digits else None
