"""TensorBoard's event files: scalars by step, with the clock of each. A folder of them is one run.

It reads scalars alone, and leaves out a record whose checksum is wrong.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.observe.logs.binary import Field, as_double, as_float, fields, tf_records
from gpuplan.observe.logs.formats import Facts, Found, Gatherer, Refusal
from gpuplan.observe.logs.stream import opened
from gpuplan.observe.records import Doubts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gpuplan.observe.logs.formats import Source

__all__ = ["TensorBoard"]

WALL_TIME, STEP, SUMMARY = 1, 2, 5
VALUE, TAG, SIMPLE_VALUE, TENSOR = 1, 1, 2, 8
DTYPE, TENSOR_CONTENT, FLOATS, DOUBLES = 1, 4, 5, 6
DT_FLOAT, DT_DOUBLE = 1, 2
IMAGE_BYTES = 4096
"""A value larger than this is a picture or a histogram, never a scalar."""


class Event(NamedTuple):
    """The scalars of one event."""

    at: float
    step: int
    scalars: dict[str, float]


class TensorBoard:
    """`events.out.tfevents.*`."""

    name = "tensorboard"

    def fits(self, source: Source) -> bool:
        """Whether the first record is the version that every event file opens with."""
        return b"brain.Event:" in source.head[:64]

    def read(self, source: Source) -> Iterator[Found]:
        """The run in it; raises Unreadable."""
        doubts = Doubts()
        name = source.path.name
        gatherer = Gatherer(Facts(self.name, source.path, name=_run_name(source.path)), doubts, axis="step")
        for event in _events(source.path, doubts):
            for tag in event.scalars:
                if len(tag) > 100 or not tag.isprintable():
                    doubts[f"{name}: a scalar's name cannot be shown"] += 1
            if event.scalars:
                gatherer.row(float(event.step), {**event.scalars, "wall_time": event.at})
        runs = list(gatherer.runs())
        yield from runs
        if not runs:
            yield Refusal(str(source.path), "no scalar in it")


def _run_name(path: Path) -> str:
    folder = path.resolve().parent
    return folder.parent.name if folder.name in {"tb", "runs", "logs", "tensorboard"} else folder.name


def _events(path: Path, doubts: Doubts) -> Iterator[Event]:
    with opened(path) as file:
        for record in tf_records(file.read, path.name, doubts):
            try:
                yield _event(record)
            except ValueError:
                doubts[f"{path.name}: a record is no event"] += 1


def _event(record: bytes) -> Event:
    at, step, scalars = 0.0, 0, {}
    for field in fields(record):
        if field.number == WALL_TIME:
            at = as_double(field)
        elif field.number == STEP:
            step = field.bits
        elif field.number == SUMMARY:
            scalars = _scalars(field.content)
    return Event(at, step, scalars)


def _scalars(summary: bytes) -> dict[str, float]:
    found = {}
    for value in fields(summary):
        if value.number != VALUE or len(value.content) > IMAGE_BYTES:
            continue
        tag, figure = "", None
        for field in fields(value.content):
            if field.number == TAG:
                tag = field.content.decode("utf-8", "replace")
            elif field.number == SIMPLE_VALUE:
                figure = as_float(field)
            elif field.number == TENSOR:
                figure = _of_tensor(field)
        if tag and figure is not None:
            found[tag.lower()] = figure
    return found


def _of_tensor(tensor: Field) -> float | None:
    """The one number of a tensor without a shape, as newer writers keep scalars; None for anything else."""
    kind, content = 0, b""
    for field in fields(tensor.content):
        if field.number == DTYPE:
            kind = field.bits
        elif field.number in {TENSOR_CONTENT, FLOATS, DOUBLES}:
            content = field.content
    layout = {(DT_FLOAT, 4): "<f", (DT_DOUBLE, 8): "<d"}.get((kind, len(content)))
    return float(struct.unpack(layout, content)[0]) if layout else None
