"""Rows of time_scaling.csv as questions: from a run on few GPUs, how fast on more? It predicts nothing.

A row states a rate or a time in one of many units. All become one figure, the rate of all GPUs in units that cancel
against the row's base: the row with the fewest GPUs of the same model, GPU, precision, software and rows a GPU.
"""

from __future__ import annotations

import csv
import re
import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from gpuplan.data import find_gpu

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from gpuplan.model import Gpu

__all__ = ["Kind", "Question", "Row", "family_of", "questions", "read_rows"]

Kind: TypeAlias = Literal["ddp", "data_parallel", "sharded", "model_parallel", "time_to_train"]

LONGEST_FIELD = 1 << 17
MOST_GPUS = 1_000_000
TOKENS_OF_A_SENTENCE = 50
"""Of both languages together, where a row only says "sentences" (WMT: some 25 tokens each)."""
TASK_WORDS = re.compile(r"\b(squad|pretrain(ing)?|summarization|finetun(e|ing)|training|model|mxnet|v1\.5)\b|v1\.5")
"""In a model's name, what is not the model: all its rows are held out together."""
AMP_BYTES, FULL_BYTES = 2, 4
"""Of a gradient: NVIDIA's amp recipes of these tables train BERT and GNMT with apex O2, whose gradients are fp16; of
1.5, 2, 2.5, 3 and 4 bytes, 2 is nearest (docs/decisions/0007)."""
TIME = re.compile(r"^\s*(s|sec|secs|seconds?|ms|milliseconds?|us|min|mins|minutes?|h|hours?|days?)\b")
SECONDS = {"m": 60.0, "h": 3600.0, "d": 86400.0}
STEP = re.compile(r"step|iter|\bit\b|batch|ms")


@dataclass(frozen=True, slots=True)
class Row:
    """One measured row: `rate` is of all GPUs together and comparable within `key` only."""

    id: str
    key: tuple[str, ...]
    model: str
    family: str
    gpu: Gpu | None
    gpus: int
    link: str
    host: str
    batch: str
    kind: Kind
    rate: float
    step_s: float | None
    size_bytes: float | None
    problem: str


class Question(NamedTuple):
    """`row` has to be predicted from `base`, which has fewer GPUs; `alone_s`: an optimizer step of the base."""

    row: Row
    base: Row
    alone_s: float | None
    same_batch: bool

    @property
    def slow(self) -> float:
        """How many times as long a step took as on the base's GPUs, at the same rows a GPU: what is to be told."""
        return self.row.gpus / self.base.gpus * self.base.rate / self.row.rate


def read_rows(path: Path) -> tuple[list[Row], int]:
    """The rows that are not flagged, and how many were. OSError or csv.Error where the file cannot be read."""
    csv.field_size_limit(LONGEST_FIELD)  # of the whole process: other readers leave theirs behind
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        lines = [line for line in csv.DictReader(_without_nul(file)) if any(line.values())]
    kept = [line for line in lines if not (_text(line, "flag"))]
    return [_row(line, index) for index, line in enumerate(kept, start=2)], len(lines) - len(kept)


def questions(rows: Sequence[Row]) -> tuple[list[Question], list[tuple[Row, str]]]:
    """A question for every row with a base of fewer GPUs, and the others with the reason why not."""
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if not row.problem:
            groups[row.key].append(row)
    asked: list[Question] = []
    silent = [(row, row.problem) for row in rows if row.problem]
    for of_key in groups.values():
        fewest = min(row.gpus for row in of_key)
        for row in of_key:
            if row.gpus > 1:
                question = _question(row, of_key) if row.gpus > fewest else None
                asked += [question] if question else []
                silent += [] if question else [(row, "no row with fewer GPUs to start from")]
    return asked, silent


def family_of(model: str) -> str:
    """One name for all rows of a model: `bert_large_squad` and `BERT-large pretrain` are one."""
    words = TASK_WORDS.sub("", model.lower().replace("_", " "))
    return re.sub(r"[^a-z0-9]", "", words) or model.lower()


def _question(row: Row, of_key: Iterable[Row]) -> Question | None:
    fewer = [base for base in of_key if base.gpus < row.gpus]
    alike = [base for base in fewer if base.batch == row.batch]
    chosen = _fewest(alike or _nearest_batch(fewer, row))
    if not chosen:
        return None
    base = min(chosen, key=lambda each: abs(each.rate - statistics.median(other.rate for other in chosen)))
    middle = statistics.median(each.rate for each in chosen)  # several hosts measured it: the typical one
    step = base.step_s * base.rate / middle if base.step_s else None
    return Question(row, _with_rate(base, middle), step, bool(alike))


def _fewest(rows: list[Row]) -> list[Row]:
    least = min((row.gpus for row in rows), default=0)
    return [row for row in rows if row.gpus == least]


def _nearest_batch(rows: list[Row], row: Row) -> list[Row]:
    """Of other rows a GPU: the nearest, as far as both are numbers."""
    wanted = _float(row.batch)
    distances = {_distance(_float(each.batch), wanted) for each in rows}
    return [each for each in rows if _distance(_float(each.batch), wanted) == min(distances)]


def _distance(batch: float | None, wanted: float | None) -> float:
    return max(batch / wanted, wanted / batch) if batch and wanted else float("inf")


def _with_rate(row: Row, rate: float) -> Row:
    values = {name: getattr(row, name) for name in Row.__slots__}
    return Row(**(values | {"rate": rate}))


# ---------------------------------------------------------------- one line


def _row(line: Mapping[str, str | None], index: int) -> Row:
    gpus, value = _float(_text(line, "gpus")), _float(_text(line, "measured_value"))
    unit, notes, model = _text(line, "unit").lower(), _text(line, "notes"), _text(line, "model")
    gpu_name, group, batch = _text(line, "gpu"), _text(line, "group"), _text(line, "batch_per_gpu")
    count = int(gpus) if gpus and gpus == int(gpus) and 1 <= gpus <= MOST_GPUS else 0
    kind = _kind(line)
    rate = _rate(value, unit, gpus=count, kind=kind) if value and count else None
    precision = _text(line, "precision").lower()
    return Row(
        id=_text(line, "id") or f"line {index}",
        key=(group, model, gpu_name, precision, _text(line, "mode"), unit, kind, _text(line, "seq_len_or_image")),
        model=model,
        family=family_of(model),
        gpu=find_gpu(gpu_name),
        gpus=count,
        link=_text(line, "interconnect"),
        host=_host(notes),
        batch=batch,
        kind=kind,
        rate=rate or 0.0,
        step_s=_step_s(line, value, unit, gpus=count) if rate else None,
        size_bytes=_gradient_bytes(line, precision),
        problem=_problem(line, count, value, rate),
    )


def _problem(line: Mapping[str, str | None], gpus: int, value: float | None, rate: float | None) -> str:
    if not gpus:
        return f"no count of GPUs: {_text(line, 'gpus')[:20]!r}"
    if not value:
        return f"no measured value above zero: {_text(line, 'measured_value')[:20]!r}"
    return "" if rate else f"an unknown unit: {_text(line, 'unit')[:40]!r}"


def _kind(line: Mapping[str, str | None]) -> Kind:
    said = " ".join(_text(line, name) for name in ("notes", "framework", "interconnect", "mode", "source", "group"))
    text = said.lower().replace(" ", "").replace("_", "").replace("-", "")
    unit = _text(line, "unit").lower()
    if "train" in unit and TIME.match(unit.replace("time to train", "min")):
        return "time_to_train"
    if "mlperf" in text and TIME.match(unit):
        return "time_to_train"
    if "dataparallel" in text.replace("distributeddataparallel", "").replace("shardeddataparallel", ""):
        return "data_parallel"
    if re.search(r"\b(tp|pp)\s*[=:]?\s*\d|tensor.?parallel|pipeline.?parallel|megatron", said.lower()):
        return "model_parallel"
    if any(word in text for word in ("fsdp", "zero1", "zero2", "zero3", "deepspeed", "shardeddataparallel")):
        return "sharded"
    return "ddp"


def _rate(value: float, unit: str, *, gpus: int, kind: Kind) -> float | None:
    """Of all GPUs, up to a factor that all rows of one unit share."""
    if TIME.match(unit) or kind == "time_to_train":
        # The time of a step is that of every GPU's own rows; of an epoch or a training, that of all rows.
        return gpus / value if STEP.search(unit) and "epoch" not in unit and "train" not in unit else 1 / value
    if not re.search(r"/\s*s|per\s*sec|/\s*sec|per\s*s\b|flop|mfu|fps|/\s*min|per\s*min|/\s*day|per\s*day|/\s*h", unit):
        return None
    return value * gpus if _is_per_gpu(unit) else value


def _is_per_gpu(unit: str) -> bool:
    if re.search(r"all gpus|total|global|aggregate", unit):
        return False
    return bool(re.search(r"(per|/)\s*(gpu|device|accelerator|chip)|mfu|flop", unit))


def _step_s(line: Mapping[str, str | None], value: float | None, unit: str, *, gpus: int) -> float | None:
    """Seconds of one step of all GPUs, where unit and rows a GPU say so."""
    if value is None:
        return None
    if TIME.match(unit):
        is_step = STEP.search(unit) and "1000" not in unit and "epoch" not in unit
        return value * _unit_seconds(unit) if is_step else None
    rows = _float(_text(line, "batch_per_gpu"))
    if not rows or not re.search(r"/\s*s|per\s*sec", unit):
        return None
    of_one = value if _is_per_gpu(unit) else value / gpus
    if re.search(r"image|sequence|sample|seq/|img", unit):
        return rows / of_one
    tokens = _tokens(_text(line, "seq_len_or_image")) if "token" in unit else None
    return rows * tokens / of_one if tokens else None


def _unit_seconds(unit: str) -> float:
    found = TIME.match(unit)
    word = found.group(1) if found else "s"
    if word in ("ms", "milliseconds", "millisecond"):
        return 1e-3
    return 1e-6 if word == "us" else SECONDS.get(word[0], 1.0)


def _tokens(said: str) -> float | None:
    """Tokens of one row that the unit counts: `tgt 192 + mem 192` are 192."""
    if "sentence" in said:
        return TOKENS_OF_A_SENTENCE
    found = re.match(r"\D{0,12}(\d+)", said)
    return float(found.group(1)) if found else None


def _gradient_bytes(line: Mapping[str, str | None], precision: str) -> float | None:
    millions = _float(_text(line, "params_millions"))
    if not millions:
        return None
    return millions * 1e6 * (AMP_BYTES if precision.startswith(("amp", "fp16", "bf16")) else FULL_BYTES)


def _host(notes: str) -> str:
    """Which machine or maker's series it ran on, without the count of GPUs: `2x3090` and `8x3090` are one."""
    first = notes.split(";", maxsplit=1)[0]
    named = re.search(r"system (\S+)", first)
    return re.sub(r"(?<![A-Za-z0-9])\d+x_?|(?<=_)\d+x(?=[A-Z0-9])", "", named.group(1)) if named else first


def _without_nul(lines: Iterable[str]) -> Iterable[str]:
    return (line.replace("\0", "") for line in lines)


def _text(line: Mapping[str, str | None], name: str) -> str:
    value = line.get(name)
    return value.strip() if isinstance(value, str) else ""


def _float(text: str) -> float | None:
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        return None
    return value if 0 < value < 1e18 else None
