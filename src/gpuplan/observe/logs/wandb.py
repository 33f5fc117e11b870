"""Weights & Biases files of an offline run: `run-<id>.wandb`, with history, configuration and what the machine did.

W&B counts calls of its log function; where the program logs a step of its own, that is the step. It reads values
alone: no code, no artefacts, no console output. The files beside it are copies of what is in it.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from gpuplan.observe.logs.binary import as_double, fields, leveldb_records
from gpuplan.observe.logs.formats import Facts, Found, Gatherer, Refusal
from gpuplan.observe.logs.machine import Shares
from gpuplan.observe.logs.memory import plausible_bytes
from gpuplan.observe.logs.stream import opened, unpacked
from gpuplan.observe.records import Doubts, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.observe.logs.formats import Source

__all__ = ["Wandb"]

MAGIC = b":W&B"
HISTORY, CONFIG, STATS, RUN, ENVIRONMENT = 2, 4, 7, 17, 26
ITEM, STEP, KEY, NESTED_KEY, INTEGER, NUMBER, JSON = 1, 2, 1, 2, 5, 6, 16
RUN_ID, RUN_CONFIG, DISPLAY_NAME = 1, 4, 8
GPU_TYPE, GPU_COUNT = 18, 19
MOST_JSON_BYTES = 10_000
OWN_STEPS = ("train/global_step", "trainer/global_step", "global_step")
"""What the Trainer of Hugging Face, Lightning and many a script call the step."""


class Wandb:
    """`run-<id>.wandb`."""

    name = "wandb"

    def fits(self, source: Source) -> bool:
        """Whether it opens as those files do."""
        return source.head.startswith(MAGIC)

    def read(self, source: Source) -> Iterator[Found]:
        """The run in it; raises Unreadable."""
        reader = _Reader(Facts(self.name, source.path), Doubts())
        with opened(source.path) as file:
            for record in leveldb_records(
                unpacked(file, source.path.name, reader.doubts), source.path.name, reader.doubts
            ):
                reader.take(record)
        yield from reader.finish(source)


class _Reader:
    def __init__(self, facts: Facts, doubts: Doubts) -> None:
        self.doubts = doubts
        self._facts = facts
        self._gatherer = Gatherer(facts, doubts, axis="step", ties=True)
        self._busy = Shares()
        self._step = -1
        self._own_step: float | None = None
        self._counts_calls = True

    def take(self, record: bytes) -> None:
        """Take one record, if it is of a kind that says something."""
        readers = {
            HISTORY: self._history,
            CONFIG: self._config,
            STATS: self._stats,
            RUN: self._run,
            ENVIRONMENT: self._environment,
        }
        try:
            for field in fields(record):
                if field.number in readers:
                    readers[field.number](field.content)
        except ValueError:
            self.doubts[f"{self._facts.path.name}: a record is not one of W&B's"] += 1

    def finish(self, source: Source) -> Iterator[Found]:
        """The run, or why there is none."""
        if self._busy.count:
            self._facts.figures["device_busy"] = self._busy.mean()
        if self._own_step is None and self._counts_calls and self._step > 0:
            self._facts.notes.append(
                "steps are W&B's count of the calls that logged: of a program that logs every n steps there are "
                "n times as many, each of 1/n of the time"
            )
        runs = list(self._gatherer.runs())
        yield from runs
        if not runs:
            yield Refusal(str(source.path), "no history in it")

    def _history(self, message: bytes) -> None:
        step, numbers = None, {}
        for field in fields(message):
            if field.number == STEP:
                step = next((inner.bits for inner in fields(field.content) if inner.number == 1), 0)
            elif field.number == ITEM:
                key, value = _item(field.content)
                figure = number(value)
                if figure is not None and key:
                    numbers[key.lower()] = figure
        stated = numbers.pop("_step", None)
        at = stated if stated is not None else self._step + 1 if step is None else step
        self._counts_calls = self._counts_calls and at == self._step + 1
        self._step = int(at) if math.isfinite(at) else self._step
        own = next((numbers[key] for key in OWN_STEPS if key in numbers), None)
        if own is not None:
            self._own_step = own
        elif self._own_step is not None:
            self._gatherer.more(numbers)
            return
        if numbers:
            self._gatherer.row(float(at) if own is None else own, numbers)

    def _config(self, message: bytes) -> None:
        for field in fields(message):
            if field.number == ITEM:
                key, value = _item(field.content)
                self._setting(key, value)

    def _setting(self, key: str, value: Any) -> None:
        inner = value.get("value") if isinstance(value, dict) and "value" in value else value
        take_setting(self._facts, key, inner)

    def _run(self, message: bytes) -> None:
        for field in fields(message):
            if field.number == RUN_CONFIG:
                self._config(field.content)
            elif field.number == DISPLAY_NAME or (field.number == RUN_ID and not self._facts.name):
                self._facts.name = field.content.decode("utf-8", "replace")

    def _environment(self, message: bytes) -> None:
        for field in fields(message):
            if field.number == GPU_TYPE and field.content:
                self._facts.gpu = field.content.decode("utf-8", "replace")[:100]
            elif field.number == GPU_COUNT and 0 < field.bits <= 4096:
                self._facts.settings["gpu_count"] = field.bits

    def _stats(self, message: bytes) -> None:
        for field in fields(message):
            if field.number != 3:
                continue
            key, value = _item(field.content)
            figure = number(value)
            if not key.startswith("gpu.") or figure is None or not math.isfinite(figure):
                continue
            if key.endswith(".gpu"):
                self._busy.add(figure / 100)
            elif key.endswith(".memoryAllocatedBytes") and plausible_bytes(figure):
                known = self._facts.figures.get("peak_device_bytes", 0)
                self._facts.figures["peak_device_bytes"] = max(int(figure), known)


def take_setting(facts: Facts, key: str, value: Any) -> None:
    """A configured value that is a number, a text or true/false; those of inner ones by `outer.inner`."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if not isinstance(inner, dict):
                take_setting(facts, f"{key}.{name}", inner)
        return
    name = "".join(each if each.isascii() and (each.isalnum() or each == "_") else "_" for each in key)[:100]
    if not name or name.startswith("_") or name[0].isdigit():
        return
    usable = (
        isinstance(value, bool)
        or (isinstance(value, int) and abs(value) < 2**63)
        or (isinstance(value, float) and math.isfinite(value))
        or (isinstance(value, str) and len(value) <= 200 and value.isprintable())
    )
    if usable:
        facts.settings[name] = value
    if (
        name.lower() in {"world_size", "num_processes", "n_gpus", "ngpu"}
        and isinstance(value, int)
        and 0 < value <= 4096
    ):
        facts.ranks = int(value)


def _item(message: bytes) -> tuple[str, Any]:
    """The key and the value of an item, whose value is JSON in older files and typed in newer ones."""
    key = ""
    nested: list[str] = []
    value: Any = None
    for field in fields(message):
        if field.number == KEY:
            key = field.content.decode("utf-8", "replace")
        elif field.number == NESTED_KEY:
            nested.append(field.content.decode("utf-8", "replace"))
        elif field.number == INTEGER:
            value = field.bits >> 1 ^ -(field.bits & 1)
        elif field.number == NUMBER:
            value = as_double(field)
        elif field.number == JSON and len(field.content) <= MOST_JSON_BYTES:
            value = _json(field.content)
    return key or ".".join(nested), value


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
