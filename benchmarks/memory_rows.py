"""Rows of measured memory and of fits, each as a workload with the number it has to meet. It predicts nothing.

A row that cannot be read becomes a row with a reason, never an exception: files come from other projects.
"""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from memory_text import degree, described, summed, whole_number

from gpuplan.data import find_gpu
from gpuplan.data.images import find_image_network
from gpuplan.data.models import find_model
from gpuplan.footprint.convolution import ImageWorkload
from gpuplan.footprint.libraries import prepare
from gpuplan.footprint.lookalike import lookalike
from gpuplan.footprint.perceptron import Perceptron, perceptron_of
from gpuplan.footprint.recipe import OPTIMIZERS
from gpuplan.footprint.training import Workload, split
from gpuplan.units import GIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gpuplan.data.models import ModelFacts
    from gpuplan.model import Gpu

DETECTOR_PIXELS = 800.0 * 1333
"""Of a detector's training image where none is stated (COCO at its usual size)."""

__all__ = ["Metric", "Row", "read_rows"]

Metric = Literal["allocated", "reserved", "device"]

NOT_A_STEP = re.compile(r"model init|weights only|context only|after init|load(ing)? only")
DEFAULT_SEQUENCE = 512
"""Where a table states none: unpacked instruction data (Alpaca and its like) has batches of about this length."""


@dataclass(frozen=True, slots=True)
class Row:
    """One number to meet, or one label, and the workload it belongs to; `reason` says why there is no workload."""

    id: str
    group: str
    tier: str
    model: str
    family: str
    batch: int
    metric: Metric
    measured_bytes: float | None
    label: str
    gpu: Gpu | None
    capacity_bytes: float | None
    work: Workload | Perceptron | ImageWorkload | None
    torch: str = ""
    ranks_summed: int = 1
    assumed: tuple[str, ...] = ()
    reason: str = ""
    excluded: str = ""


def read_rows(path: Path) -> list[Row]:
    """Every row of the file at `path`, in its order."""
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        return [
            _row(number, {k: v or "" for k, v in raw.items() if k}) for number, raw in _numbered(csv.DictReader(file))
        ]


def _numbered(reader: csv.DictReader[str]) -> Iterator[tuple[int, dict[str, str]]]:
    for number, raw in enumerate(reader, start=2):
        yield number, {key: value for key, value in raw.items() if isinstance(key, str) and not isinstance(value, list)}


def _row(number: int, raw: Mapping[str, str]) -> Row:
    gpu = find_gpu(raw.get("gpu", ""))
    capacity = _number(raw.get("gpu_mem_gb", "")) or 0.0
    common: dict[str, Any] = {
        "id": raw.get("id") or f"line {number}",
        "group": raw.get("group") or raw.get("id", "").rsplit("-", 1)[0] or "?",
        "tier": raw.get("tier") or "A",
        "model": raw.get("model", ""),
        "batch": whole_number(raw.get("micro_batch", "")) or 1,
        "metric": _metric(raw.get("metric", "")),
        "measured_bytes": _bytes(raw),
        "label": raw.get("label", ""),
        "gpu": gpu,
        "ranks_summed": (whole_number(raw.get("gpus", "")) or 1) if summed(raw) else 1,
        "torch": described(raw).torch_version,
        "capacity_bytes": capacity * GIB or (float(gpu.memory_bytes) if gpu else None),
    }
    excluded = "measured outside of a training step" if NOT_A_STEP.search(raw.get("task", "").lower()) else ""
    try:
        found = _workload(raw)
    except (ValueError, KeyError, ArithmeticError) as error:
        return Row(**common, family="", work=None, reason=f"not understood: {error!r}"[:200], excluded=excluded)
    return Row(**common, family=found.family, work=found.work, assumed=found.assumed, excluded=excluded)


@dataclass(frozen=True, slots=True)
class _Found:
    work: Workload | Perceptron | ImageWorkload
    family: str
    assumed: tuple[str, ...]


def _workload(raw: Mapping[str, str]) -> _Found:
    if raw.get("model", "").upper().startswith("MLP"):
        return _Found(perceptron_of(raw["model"], _millions(raw)), "mlp", ())
    image = _image(raw)
    if image is not None:
        return _Found(image, "image", ("blocks fitted on other networks",))
    model, assumed = _model(raw)
    prepared = prepare(model, described(raw))
    sequence = whole_number(raw.get("seq_len", ""))
    if model.patch:
        sequence = (model.image // model.patch) ** 2 + 1
    if not sequence:
        sequence = DEFAULT_SEQUENCE if prepared.recipe.trains else 64
        assumed = (*assumed, f"{sequence} tokens a row")
    model = split(model, tensor=degree(raw, "tp"), pipeline=degree(raw, "pp"))
    work = Workload(model, prepared.recipe, sequence)
    return _Found(work, model.family, (*assumed, *prepared.assumed))


def _image(raw: Mapping[str, str]) -> ImageWorkload | None:
    facts = None if find_model(raw.get("model", "")) else find_image_network(raw.get("model", ""))
    if facts is None:
        return None
    edges = re.search(r"(\d{2,4})\s*[x\u00d7]\s*(\d{2,4})", raw.get("seq_len", ""))
    square = whole_number(raw.get("seq_len", ""))
    pixels = float(int(edges.group(1)) * int(edges.group(2))) if edges else float(square**2)
    if facts.detector and not pixels:
        pixels = DETECTOR_PIXELS
    asked = described(raw)
    optimizer = OPTIMIZERS[asked.optimizer or "sgd_momentum"]
    return ImageWorkload(facts, pixels, 2 if asked.precision == "amp" else 4, optimizer.state_ratio)


def _model(raw: Mapping[str, str]) -> tuple[ModelFacts, tuple[str, ...]]:
    name = raw.get("model", "")
    known = find_model(name)
    model = known or lookalike(_millions(raw) * 1e6, near=name)
    assumed = () if known else (f"dimensions of {name} are not known",)
    labels = re.search(r"(\d+) labels", raw.get("task", ""))
    classifies = labels or "classif" in raw.get("task", "") or "reward" in raw.get("task", "")
    if classifies and not model.classes:
        model = replace(model, classes=int(labels.group(1)) if labels else 2)
    return model, assumed


def _millions(raw: Mapping[str, str]) -> float:
    """Of parameters: the row's column, else a figure such as `7B` in the model's name."""
    given = _number(raw.get("params_millions", ""))
    if given:
        return given
    named = re.findall(r"(\d+(?:\.\d+)?)\s*([bm])\b", raw.get("model", "").lower())
    if not named:
        raise ValueError("neither its dimensions nor its number of parameters are known")
    return float(named[-1][0]) * (1000 if named[-1][1] == "b" else 1)


def _metric(text: str) -> Metric:
    lower = text.lower()
    if "reserved" in lower:
        return "reserved"
    if "alloc" in lower or "active" in lower:
        return "allocated"
    if "nvml" in lower or "nvidia" in lower or "smi" in lower or "device" in lower or "wandb" in lower:
        return "device"
    return "reserved"


def _bytes(raw: Mapping[str, str]) -> float | None:
    """The measured peak; `GB` is 10^9 only where the metric or the unit says so."""
    value = _number(raw.get("peak_gb", ""))
    if not value:
        return None
    unit = raw.get("unit", "").lower()
    if "gib" in unit or "2^30" in unit:
        return value * GIB
    decimal = "1e9" in raw.get("metric", "").lower() or unit.startswith("gb")
    return value * (1e9 if decimal else GIB)


def _number(text: str) -> float | None:
    try:
        value = float((text or "").replace(",", ""))
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None
