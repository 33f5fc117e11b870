"""Tables of metrics that a program writes its own way, Lightning's CSVLogger among them: CSV and JSON lines.

Columns are guessed by their names and confirmed by their figures. Rows that are whole and in order are read many at
once; anything else goes row by row.
"""

from __future__ import annotations

import json
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from gpuplan.observe import tables
from gpuplan.observe.logs.formats import Facts, Found, Gatherer, Refusal
from gpuplan.observe.logs.stream import chunks, opened
from gpuplan.observe.records import Doubts, cells_of, header_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuplan.observe.logs.formats import Source
    from gpuplan.observe.logs.stream import Chunk
    from gpuplan.observe.records import Header

__all__ = ["CsvTable", "JsonLines"]


class CsvTable:
    """A CSV file with a header that names a step or an epoch."""

    name = "csv"

    def fits(self, source: Source) -> bool:
        """Whether the first line is a header with a place on the run in it."""
        header = _header(source.head)
        return header is not None and tables.axis_of(dict.fromkeys(map(str.lower, header.names), 0.0)) is not None

    def read(self, source: Source) -> Iterator[Found]:
        """The runs in it; raises Unreadable."""
        header = _header(source.head)
        doubts = Doubts()
        if header is None:
            yield Refusal(str(source.path), "its first line is no header", 1)
            return
        name = "lightning" if {"epoch", "step"} <= set(header.names) and b",," in source.head else self.name
        reader = _CsvReader(header, Facts(name, source.path), doubts)
        with opened(source.path) as file:
            for chunk in chunks(file, source.path.name, doubts):
                reader.take(chunk)
        yield from _or_refusal(reader.gatherer, source)


class JsonLines:
    """A file of JSON objects, one a line, that name a step or an epoch."""

    name = "jsonl"

    def fits(self, source: Source) -> bool:
        """Whether one of the first lines is an object with a place on the run in it."""
        return any(tables.axis_of(numbers) for numbers in islice(_objects(source.head, Doubts(), ""), 50))

    def read(self, source: Source) -> Iterator[Found]:
        """The runs in it; raises Unreadable."""
        doubts = Doubts()
        rows = _json_rows(source, doubts)
        head = list(islice(rows, tables.HEAD_ROWS))
        place = tables.place_of([numbers for _, numbers in head])
        if place is None:
            yield Refusal(str(source.path), "no row with a number and a step or an epoch")
            return
        facts = Facts(self.name, source.path)
        gatherer = Gatherer(facts, doubts, axis=place.axis, by_order=place.by_order)
        for line, numbers in chain(head, rows):
            _add(gatherer, place, numbers, line)
        yield from _or_refusal(gatherer, source)


def _or_refusal(gatherer: Gatherer | None, source: Source) -> Iterator[Found]:
    runs = list(gatherer.runs()) if gatherer is not None else []
    yield from runs
    if not runs:
        yield Refusal(str(source.path), "no rows with a number and a step or an epoch, in an order")


def _add(gatherer: Gatherer, place: tables.Place, numbers: dict[str, float], line: int) -> None:
    at = place.at(numbers, line)
    if at is not None:
        gatherer.row(at, numbers, line)
    elif numbers:
        gatherer.more(numbers, line)


def _header(head: bytes) -> Header | None:
    first = next((line for line in head.splitlines() if line.strip()), b"")
    return header_of(first.decode("utf-8", "replace"))


class _CsvReader:
    """Reads the rows below the header; which column is the place is known after the first of them."""

    def __init__(self, header: Header, facts: Facts, doubts: Doubts) -> None:
        self.gatherer: Gatherer | None = None
        self._header = header
        self._names = [name.lower() for name in header.names]
        self._facts = facts
        self._doubts = doubts
        self._place: tables.Place | None = None
        self._key: str | None = None
        self._before_rows = True

    def take(self, chunk: Chunk) -> None:
        """Take some lines."""
        if not chunk.whole:
            self._doubts[f"{self._facts.path.name}: the last line is cut off"] += 1
            return
        data, line = chunk.data, chunk.line
        if self._before_rows:
            start = data.find(b"\n", len(data) - len(data.lstrip())) + 1
            line += data.count(b"\n", 0, start)
            data, self._before_rows = data[start:], False
        if self._place is None:
            end = _end_of_head(data)
            self._take_rows(data[:end], line)
            data, line = data[end:], line + data.count(b"\n", 0, end)
        columns = self._columns(data) if self._place is not None and self._key is not None else None
        if columns is None or self.gatherer is None or self._key is None:
            self._take_rows(data, line)
        else:
            self.gatherer.stretch(columns[self._key], columns, line)

    def _columns(self, data: bytes) -> dict[str, Sequence[float]] | None:
        """The rows by column where each cell of each row is a plain number; None otherwise."""
        delimiter, width = self._header.delimiter.encode(), len(self._names)
        rows = data.replace(b"\r\n", b"\n") if b"\r" in data else data
        if b"_" in rows or len(set(self._names)) < width:
            return None
        cells = rows.replace(b"\n", delimiter + b"\n" + delimiter).split(delimiter)
        # Whole rows have their line end in every (width + 1)th cell and nowhere else.
        if len(cells) % (width + 1) != 1 or set(cells[width :: width + 1]) != {b"\n"}:
            return None
        try:
            return {name: list(map(float, cells[index : -1 : width + 1])) for index, name in enumerate(self._names)}
        except ValueError:
            return None

    def _take_rows(self, data: bytes, line: int) -> None:
        rows = list(self._rows(data, line))
        if self._place is None:
            self._place = tables.place_of([numbers for _, numbers in rows[: tables.HEAD_ROWS]])
            if self._place is None:
                return
            self._key = self._place.key(self._names)
            self.gatherer = Gatherer(self._facts, self._doubts, axis=self._place.axis, by_order=self._place.by_order)
        for at_line, numbers in rows:
            if self.gatherer is not None:
                _add(self.gatherer, self._place, numbers, at_line)

    def _rows(self, data: bytes, line: int) -> Iterator[tuple[int, dict[str, float]]]:
        for number, text in enumerate(data.decode("utf-8", "replace").splitlines(), start=line):
            if not text.strip():
                continue
            cells = cells_of(text, self._header.delimiter)
            if cells == self._header.names:
                continue
            if len(cells) != len(self._names):
                self._doubts[f"{self._facts.path.name}: a row has not the header's columns"] += 1
                continue
            numbers = tables.numbers_of(dict(zip(self._names, cells, strict=True)))
            if numbers:
                yield number, numbers
            elif any(cells):
                self._doubts[f"{self._facts.path.name}: a row has no numbers"] += 1


def _end_of_head(data: bytes) -> int:
    """Where the first rows end, from which the columns are known."""
    end = 0
    for _ in range(tables.HEAD_ROWS):
        end = data.find(b"\n", end) + 1
        if end == 0:
            return len(data)
    return end


def _json_rows(source: Source, doubts: Doubts) -> Iterator[tuple[int, dict[str, float]]]:
    with opened(source.path) as file:
        for chunk in chunks(file, source.path.name, doubts):
            yield from enumerate(_objects(chunk.data, doubts, source.path.name, whole=chunk.whole), start=chunk.line)


def _objects(data: bytes, doubts: Doubts, name: str, *, whole: bool = True) -> Iterator[dict[str, float]]:
    """The numbers of each line's object, empty for a line without; nested ones by their path, as in gpu/0/memory."""
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            yield tables.numbers_of(_flat(value))
        else:
            doubts[f"{name}: {'a line is no JSON object' if whole else 'the last line is cut off'}"] += 1
            yield {}


def _flat(value: dict[str, Any]) -> dict[str, Any]:
    """An object whose inner objects' values stand under `outer/inner`."""
    inner = {
        f"{name}/{key}": each
        for name, nested in value.items()
        if isinstance(nested, dict)
        for key, each in nested.items()
    }
    return value | inner if inner else value
