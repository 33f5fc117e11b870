"""Rows of measured step times on one GPU, and the pairs of them that differ in the GPU only. It predicts nothing.

A row that cannot be read becomes a reason, never an exception: files come from other projects.
"""

from __future__ import annotations

import csv
import math
import re
import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, NamedTuple

from time_names import model_key, never_in_16_bits, regime_of

from gpuplan.data import find_gpu
from gpuplan.estimate.refit import Sample
from gpuplan.estimate.transfer import chip_of, level_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TextIO

    from gpuplan.estimate.transfer import Chip
    from gpuplan.model import Gpu

__all__ = ["Pair", "Rows", "TimeRow", "pairs_of", "read_time_rows"]

LONGEST_FIELD = 1 << 24
PRECISIONS = {
    "amp": "fp16", "amp_fp16": "fp16", "fp16": "fp16", "half": "fp16", "float16": "fp16", "amp_bf16": "bf16",
    "bf16": "bf16", "bfloat16": "bf16", "tf32": "tf32", "fp32": "fp32", "float32": "fp32",
}  # fmt: skip
NOT_PAIRED = ("qwen", "litgpt", "litgpt-rt", "pagating", "timm train")
"""Families whose rows differ in more than the GPU (the choice of time_baselines.py)."""
ANY_BATCH = "lambda"
"""Lambda chose the batch by the card: its rows are compared all the same, an item for an item."""
ANY_PRECISION = ("lambda", "dle", "ryu")
"""Families that take TF32 where the card has it, or 16 bits, within a group."""


@dataclass(frozen=True, slots=True)
class TimeRow:
    """The median time of an item of one model on one GPU, at one precision and batch."""

    family: str
    group: str
    model: str
    batch: str
    gpu: Gpu
    sample: Sample
    unit: str
    size: str
    mode: str
    source: str

    @property
    def level(self) -> str:
        """Whether it computed in 16 bits."""
        return level_of(self.sample.chip)

    @property
    def generation(self) -> str:
        """GPUs of one compute capability have the same chip, or close relatives of it."""
        return self.gpu.compute_capability or self.gpu.name


class Rows(NamedTuple):
    """What could be read, and of the rest how many rows for each reason."""

    rows: list[TimeRow]
    left_out: Counter[str]


class Pair(NamedTuple):
    """One model on two GPUs."""

    source: TimeRow
    target: TimeRow

    @property
    def log_ratio(self) -> float:
        """Measured."""
        return self.target.sample.log_seconds - self.source.sample.log_seconds


class _RefusedError(ValueError):
    """The row says nothing that can be used; the text says why."""


class _Raw(NamedTuple):
    family: str
    group: str
    model: str
    batch: str
    gpu: Gpu
    chip: Chip
    seconds: float
    unit: str
    size: str
    mode: str
    source: str


def read_time_rows(paths: Iterable[Path]) -> Rows:
    """The usable rows of all files; raises OSError for a file that cannot be read."""
    csv.field_size_limit(LONGEST_FIELD)
    left_out: Counter[str] = Counter()
    raws = []
    for path in paths:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            for row in _lines(file):
                try:
                    raws.append(_raw(row))
                except _RefusedError as error:
                    left_out[str(error)] += 1
    return Rows(list(_merged(raws)), left_out)


def pairs_of(rows: Sequence[TimeRow]) -> list[Pair]:
    """Ordered pairs of different GPUs within a group, as time_baselines.py makes them."""
    groups: dict[tuple[str, str], list[TimeRow]] = defaultdict(list)
    for row in rows:
        if row.family not in NOT_PAIRED:
            groups[row.family, row.group].append(row)
    return [
        Pair(first, second)
        for members in groups.values()
        for first, second in permutations(members, 2)
        if first.gpu.name != second.gpu.name and first.sample.series == second.sample.series
    ]


def _lines(file: TextIO) -> Iterator[Mapping[str, str]]:
    reader = csv.DictReader((line.replace("\0", "") for line in file), restval="")
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            continue
        yield {key: value for key, value in row.items() if isinstance(key, str) and isinstance(value, str)}


def _raw(row: Mapping[str, str]) -> _Raw:
    if row.get("flag", "").strip():
        raise _RefusedError("flagged in the file")
    if row.get("gpus", "1").strip() not in ("1", "1.0", ""):
        raise _RefusedError("not of one GPU")
    gpu = find_gpu(row.get("gpu", ""))
    if gpu is None:
        raise _RefusedError(f"unknown GPU {row.get('gpu', '')[:40]!r}")
    precision = PRECISIONS.get(row.get("precision", "").strip().lower())
    if precision is None:
        raise _RefusedError(f"unknown precision {row.get('precision', '')[:20]!r}")
    unit, group = row.get("unit", "").strip(), row.get("group", "").strip()
    called = precision
    if never_in_16_bits(group, row.get("model", ""), gpu.memory_bytes / 2**30):
        precision = "tf32" if gpu.peak_flops.get("tf32") else "fp32"
    chip = chip_of(gpu, precision)
    if chip is None:
        raise _RefusedError(f"no {precision} rate or bandwidth of {gpu.name} is known")
    seconds = _seconds(row.get("measured_value", ""), unit)
    mode, model, batch = row.get("mode", ""), row.get("model", "").strip(), row.get("batch_per_gpu", "").strip()
    family = _family(group, mode, low=called in ("fp16", "bf16"))
    size, source = row.get("seq_len_or_image", ""), row.get("source", "").partition(" ")[0]
    return _Raw(family, group, model, batch, gpu, chip, seconds, unit, size, mode, source)


def _seconds(text: str, unit: str) -> float:
    """Of an item: throughputs are turned over. Only ratios within a group are used, so that ms may stay ms."""
    try:
        value = float(text)
    except ValueError:
        raise _RefusedError("the measured value is no number") from None
    if not math.isfinite(value) or not 1e-30 < value < 1e30:
        raise _RefusedError("the measured value is no number above zero")
    if unit.startswith("ms"):
        return value / 1000
    return value if unit.startswith("s/") else 1 / value


def _family(group: str, mode: str, *, low: bool) -> str:
    """What is alike in software and precision, as time_baselines.py has it."""
    project, *rest = group.split("/")
    level = "amp" if low else "fp32/tf32"
    named = {
        "lambda": f"lambda {rest[0] if rest else ''} {level}",
        "neusight": f"neusight {mode}",
        "ryujaehun": f"ryujaehun {rest[-1] if rest else ''}",
        "timm": f"timm {mode}",
        "dle": f"dle {level}",
    }
    return named.get(project, project or "unnamed")


def _merged(raws: Iterable[_Raw]) -> Iterator[TimeRow]:
    """Equal settings measured more than once are one row, of their median."""
    cells: dict[tuple[str, ...], list[_Raw]] = defaultdict(list)
    for raw in raws:
        cells[raw.family, raw.group, raw.gpu.name, raw.chip.place.precision, raw.batch].append(raw)
    rows = [_row(found[0], statistics.median(raw.seconds for raw in found)) for found in cells.values()]
    lambdas = {(row.family, row.group, row.gpu.name): row for row in sorted(rows, key=_batch) if _by_card(row)}
    yield from lambdas.values()
    yield from (row for row in rows if not _by_card(row))


def _batch(row: TimeRow) -> str:
    return row.batch


def _by_card(row: TimeRow) -> bool:
    """Lambda ran each model at the batch that fits the card; of two, the last one in text order counts."""
    return row.family.startswith("lambda")


def _row(raw: _Raw, seconds: float) -> TimeRow:
    settings = [] if raw.family.startswith(ANY_BATCH) else [raw.batch]
    if not raw.family.startswith(ANY_PRECISION):
        settings.append(raw.chip.place.precision)
    stack = re.sub(r" (amp|fp32/tf32|half|fp32)$", "", raw.family)
    sample = Sample(
        series="|".join((raw.family, raw.group, *settings)),
        model=model_key(raw.model),
        stack=stack,
        regime=regime_of(raw.model),
        chip=raw.chip,
        log_seconds=math.log(seconds),
    )
    return TimeRow(
        raw.family, raw.group, raw.model, raw.batch, raw.gpu, sample, raw.unit, raw.size, raw.mode, raw.source
    )
