"""Rows of measured memory and of fits, each as a workload with the number it has to meet. It predicts nothing.

A row that cannot be read becomes a row with a reason, never an exception: files come from other projects.
"""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from memory_text import degree, described, origin_of, summed, whole_number

from gpuplan.data import find_gpu
from gpuplan.data.images import find_image_network
from gpuplan.data.models import find_model
from gpuplan.estimate.published import Origin
from gpuplan.footprint.convolution import ImageWorkload
from gpuplan.footprint.libraries import prepare
from gpuplan.footprint.lookalike import lookalike
from gpuplan.footprint.perceptron import Perceptron, perceptron_of
from gpuplan.footprint.recipe import OPTIMIZERS
from gpuplan.footprint.training import Workload, split
from gpuplan.model import Gpu
from gpuplan.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import TextIO

    from gpuplan.data.models import ModelFacts

DETECTOR_PIXELS = 800.0 * 1333
"""Of a detector's training image where none is stated (COCO at its usual size)."""

__all__ = ["Metric", "Row", "read_rows"]

Metric = Literal["allocated", "reserved", "device"]

NOT_A_STEP = re.compile(r"model init|weights only|context only|after init|load(ing)? only")
LONGEST_FIELD = 1 << 24
LARGEST_CARD_GIB = 10_000
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
    origin: Origin | None = None
    torch: str = ""
    ranks_summed: int = 1
    assumed: tuple[str, ...] = ()
    reason: str = ""
    excluded: str = ""


def read_rows(path: Path) -> list[Row]:
    """Every row of the file at `path`, in its order."""
    csv.field_size_limit(LONGEST_FIELD)
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        return [_row(number, raw) for number, raw in _numbered(file)]


def _numbered(file: TextIO) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row by column name with the number of its line, as far as the file is one of rows."""
    reader = csv.DictReader(line.replace("\0", "") for line in file)
    try:
        for number, raw in enumerate(reader, start=2):
            texts = {key.strip().lower(): value for key, value in raw.items() if isinstance(key, str)}
            yield number, {key: value.strip() for key, value in texts.items() if isinstance(value, str)}
    except csv.Error as error:
        yield reader.line_num, {"id": f"line {reader.line_num}", "notes": f"not CSV from here on: {error}", "tier": "C"}


def _row(number: int, raw: Mapping[str, str]) -> Row:
    gpu, capacity = _card(raw)
    common: dict[str, Any] = {
        "id": raw.get("id") or f"line {number}",
        "group": raw.get("group") or raw.get("id", "").rsplit("-", 1)[0] or "?",
        "tier": (raw.get("tier") or "A").upper()[:1],
        "model": raw.get("model", ""),
        "batch": whole_number(raw.get("micro_batch", "")) or 1,
        "metric": _metric(raw.get("metric", "")),
        "measured_bytes": _bytes(raw),
        "label": raw.get("label", ""),
        "gpu": gpu,
        "ranks_summed": (whole_number(raw.get("gpus", "")) or 1) if summed(raw) else 1,
        "torch": described(raw).torch_version,
        "capacity_bytes": capacity,
    }
    excluded = "measured outside of a training step" if NOT_A_STEP.search(raw.get("task", "").lower()) else ""
    try:
        found = _workload(raw)
    except (ValueError, KeyError, ArithmeticError) as error:
        return Row(**common, family="", work=None, reason=f"not understood: {error!r}"[:200], excluded=excluded)
    return Row(
        **common,
        family=found.family,
        work=found.work,
        origin=found.origin,
        assumed=found.assumed,
        excluded=excluded,
    )


class _Card(NamedTuple):
    gpu: Gpu | None
    memory_bytes: float | None


def _card(raw: Mapping[str, str]) -> _Card:
    """The row's GPU, one of the memory that is stated where its name is not known, or none."""
    name = raw.get("gpu", "")
    known = find_gpu(name)
    in_name = re.search(r"(\d+(?:\.\d+)?)\s*gi?b\b", name.lower())
    stated = _number(raw.get("gpu_mem_gb", "")) or (_number(in_name.group(1)) if in_name and not known else None)
    if stated is None or stated > LARGEST_CARD_GIB:
        return _Card(known, float(known.memory_bytes) if known else None)
    plain = Gpu(name=name or "a card", memory_bytes=int(stated * GIB), source="the row", checked="assumed")
    return _Card(known or plain, stated * GIB)


@dataclass(frozen=True, slots=True)
class _Found:
    work: Workload | Perceptron | ImageWorkload
    family: str
    origin: Origin
    assumed: tuple[str, ...]


def _workload(raw: Mapping[str, str]) -> _Found:
    if raw.get("model", "").upper().startswith("MLP"):
        return _Found(perceptron_of(raw["model"], _millions(raw)), "mlp", Origin("perceptron"), ())
    image = _image(raw)
    if image is not None:
        program = "detector" if image.facts.detector else "image"
        return _Found(image, "image", Origin(program), ("blocks fitted on other networks",))
    model, assumed = _model(raw)
    asked = described(raw)
    prepared = prepare(model, asked)
    assumed = (*assumed, *(("what torch.compile fuses",) if asked.compiled else ()))
    sequence = _tokens(raw.get("seq_len", ""))
    if model.patch:
        sequence = (model.image // model.patch) ** 2 + 1
    if not sequence:
        sequence = DEFAULT_SEQUENCE if prepared.recipe.trains else 64
        assumed = (*assumed, f"{sequence} tokens a row")
    model = split(model, tensor=degree(raw, "tp"), pipeline=degree(raw, "pp"))
    work = Workload(model, prepared.recipe, sequence)
    return _Found(work, model.family, origin_of(raw), (*assumed, *prepared.assumed))


def _tokens(text: str) -> int:
    """The first number of `text`; `8k` is 8192."""
    thousands = re.search(r"(\d+(?:\.\d+)?)\s*k\b", text.lower())
    return round(1024 * float(thousands.group(1)[:9])) if thousands else whole_number(text)


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
    column = raw.get("params_millions", "").lower()
    given = _number(column)
    if given:
        return given
    sizes = r"(\d+(?:\.\d+)?)\s*([bm])\b"
    named = re.findall(sizes, column) or re.findall(sizes, raw.get("model", "").lower())
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
    """The measured peak, in the unit that stands with it, in its column, or in that column's name.

    `GB` is 10^9 only where the metric or the unit says so.
    """
    column = next((name for name in PEAK_COLUMNS if raw.get(name)), "")
    found = re.fullmatch(r"([\d.,_]+(?:e[+-]?\d+)?)\s*([a-z]*)", raw.get(column, "").lower())
    value = _number(found.group(1)) if found else None
    if not found or not value:
        return None
    unit = found.group(2) or raw.get("unit", "").lower() or column.removeprefix("peak_").replace("gb", "")
    unstated = 1e9 if "1e9" in raw.get("metric", "").lower() else float(GIB)
    return value * next((size for words, size in UNITS if re.match(words, unit)), unstated)


PEAK_COLUMNS = ("peak_gb", "peak_gib", "peak_mib", "peak_mb", "peak_bytes")
UNITS = (
    (r"gib|.*2\^30", float(GIB)), (r"gb", 1e9), (r"mib|.*2\^20", float(MIB)), (r"mb", 1e6), (r"kib", 1024.0),
    (r"b$|bytes?$", 1.0), (r"tib", 1024.0 * GIB),
)  # fmt: skip
"""Of a number by how its unit begins; anything else, as in `G`, is taken for GiB, which is what tools print so."""


def _number(text: str) -> float | None:
    try:
        value = float((text or "").replace(",", ""))
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None
