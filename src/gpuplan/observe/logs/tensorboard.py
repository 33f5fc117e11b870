"""TensorBoard's event files: scalars by step, with the clock of each.

It reads scalars alone, and leaves out a record whose checksum is wrong. A scalar that is counted otherwise than the
others, as a validation by epochs among steps, is a value and no row.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.observe.logs.binary import Field, as_double, as_float, fields, tf_records
from gpuplan.observe.logs.formats import Facts, Found, Gatherer, Refusal, run_name
from gpuplan.observe.logs.stream import opened, unpacked
from gpuplan.observe.records import Doubts
from gpuplan.observe.values import Values

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gpuplan.observe.logs.formats import Source, Traced

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
        facts = Facts(self.name, source.path, name=run_name(source.path.absolute().parent))
        gatherer, counts = Gatherer(facts, doubts, axis="step"), _Counts()
        for event in _events(source.path, doubts):
            for tag in event.scalars:
                if len(tag) > 100 or not tag.isprintable():
                    doubts[f"{name}: a scalar's name cannot be shown"] += 1
            scalars = counts.of_steps(event)
            if scalars:
                gatherer.row(float(event.step), {**scalars, "wall_time": event.at})
        facts.notes += counts.notes()
        runs = list(gatherer.runs())
        yield from (counts.added(run) if len(runs) == 1 else run for run in runs)
        if not runs:
            yield Refusal(str(source.path), "no scalar in it")


class _Counts:
    """Tells scalars that are counted by steps from those with a count of their own, which is behind the steps.

    A scalar whose own count goes back is a program that began anew, and stays where it is.
    """

    def __init__(self) -> None:
        self._newest = -1
        self._last: dict[str, int] = {}
        self._others = Values()

    def of_steps(self, event: Event) -> dict[str, float]:
        """The scalars of an event that are counted by steps."""
        found = {}
        for tag, figure in event.scalars.items():
            before = self._last.get(tag, -1)
            self._last[tag] = event.step
            if tag in self._others.by_name or before < event.step < self._newest:
                self._others.add(tag, event.step, figure)
            else:
                found[tag] = figure
        self._newest = event.step if found else self._newest
        return found

    def notes(self) -> list[str]:
        """Which scalars have a count of their own."""
        names = [name for name in self._others.by_name if len(name) <= 100 and name.isprintable()]
        return [f"{name} has a count of its own, perhaps of epochs: only its last and best are taken" for name in names]

    def added(self, run: Traced) -> Traced:
        """The run with their last and best figures."""
        measured = run.measurement
        final, best = measured.final | self._others.last(), measured.best | self._others.best()
        return run.model_copy(update={"measurement": measured.model_copy(update={"final": final, "best": best})})


def _events(path: Path, doubts: Doubts) -> Iterator[Event]:
    with opened(path) as file:
        for record in tf_records(unpacked(file, path.name, doubts), path.name, doubts):
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
