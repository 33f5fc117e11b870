"""Tables of metrics that a program writes its own way, Lightning's CSVLogger among them: CSV, JSON lines, JSON arrays.

Columns are guessed by their names and confirmed by their figures. Rows that are whole and in order are read many at
once; anything else goes row by row.
"""

from __future__ import annotations

import codecs
import json
import re
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from gpuplan.observe import tables
from gpuplan.observe.logs.columns import SINCE_1970_S, Cells, role_of, uses_decimal_comma
from gpuplan.observe.logs.formats import Facts, Found, Gatherer, Refusal
from gpuplan.observe.logs.steps import COUNTED_ON, CountedOn
from gpuplan.observe.logs.stream import chunks, opened, text_pieces
from gpuplan.observe.records import Doubts, Header, cells_of, header_of
from gpuplan.observe.timing import TIMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gpuplan.observe.logs.formats import Source
    from gpuplan.observe.logs.stream import Chunk

__all__ = ["CsvTable", "JsonArray", "JsonLines"]

COMMENT = b"#"
WITHOUT_TIMES = "the CSVLogger writes no times: the bar of tqdm, or TensorBoard's events, beside it have them"
ARRAY = re.compile(rb'\s*\[\s*\{\s*"')
BETWEEN = " \t\r\n,["
MOST_OBJECT_CHARACTERS = 100_000


class CsvTable:
    """A CSV file with a header that names a step or an epoch."""

    name = "csv"

    def fits(self, source: Source) -> bool:
        """Whether the first line, but for comments, is a header with a place on the run in it."""
        header = _header(source.head)
        return header is not None and _names_a_place(header.names)

    def read(self, source: Source) -> Iterator[Found]:
        """The runs in it; raises Unreadable."""
        header = _header(source.head)
        doubts = Doubts()
        if header is None:
            yield Refusal(str(source.path), "its first line is no header", 1)
            return
        name = "lightning" if {"epoch", "step"} <= set(header.names) and b",," in source.head else self.name
        facts = Facts(name, source.path)
        if name != self.name and not any(role_of(column).name in TIMES for column in header.names):
            facts.notes.append(WITHOUT_TIMES)
        reader = _CsvReader(header, facts, doubts)
        with opened(source.path) as file:
            for chunk in chunks(file, source.path.name, doubts):
                reader.take(chunk)
        yield from _or_refusal(reader.rows, source)


class JsonLines:
    """A file of JSON objects, one a line, that name a step or an epoch."""

    name = "jsonl"

    def fits(self, source: Source) -> bool:
        """Whether one of the first lines is an object with a place on the run in it."""
        rows = _objects(source.head, Cells("", Doubts()), Doubts(), "")
        return any(tables.axis_of(numbers) for numbers in islice(rows, 50))

    def read(self, source: Source) -> Iterator[Found]:
        """The runs in it; raises Unreadable."""
        doubts = Doubts()
        yield from _of_objects(_json_rows(source, doubts), Facts(self.name, source.path), doubts, source)


class JsonArray:
    """A JSON file that is one array of objects, which name a step or an epoch."""

    name = "json"

    def fits(self, source: Source) -> bool:
        """Whether it opens as an array of objects."""
        return bool(ARRAY.match(source.head))

    def read(self, source: Source) -> Iterator[Found]:
        """The runs in it; raises Unreadable."""
        doubts = Doubts()
        cells = Cells(source.path.name, doubts)
        rows = ((number, cells.numbers(_flat(value))) for number, value in enumerate(_array(source, doubts), start=1))
        yield from _of_objects(rows, Facts(self.name, source.path), doubts, source)


class _Rows:
    """Gathers the rows of a table, each at its place on the run."""

    def __init__(self, facts: Facts, doubts: Doubts, place: tables.Place) -> None:
        self.gatherer = Gatherer(facts, doubts, axis=place.axis, by_order=place.by_order)
        self._facts = facts
        self._place = place
        self._counted = CountedOn()

    def key(self, names: Sequence[str]) -> str | None:
        """The column of these that says where a row stands, where one does for every row."""
        return self._place.key(names)

    def take(self, numbers: dict[str, float], line: int) -> None:
        """Take one row; one without a place belongs to the row before."""
        at = self._place.at(numbers, line)
        if at is None:
            if numbers:
                self.gatherer.more(numbers, line)
            return
        if self._place.axis == "step" and not self._place.by_order:
            at = self._counted.at(at, numbers.get("epoch"))
        self.gatherer.row(at, numbers, line)

    def take_many(self, columns: dict[str, Sequence[float]], key: str, line: int) -> None:
        """Take rows that follow each other, the column `key` says where they stand."""
        places = columns[key]
        if self._place.axis == "step":
            places = self._counted.many(places, columns.get("epoch"))
        self.gatherer.stretch(places, columns, line)

    def runs(self) -> Iterator[Found]:
        """What each program wrote, as a run of its own."""
        if self._counted.begins_anew:
            self._facts.notes.append(COUNTED_ON)
        yield from self.gatherer.runs()


def _or_refusal(rows: _Rows | None, source: Source) -> Iterator[Found]:
    runs = list(rows.runs()) if rows is not None else []
    yield from runs
    if not runs:
        yield Refusal(str(source.path), "no rows with a number and a step or an epoch, in an order")


def _names_a_place(names: Iterable[str]) -> bool:
    return tables.axis_of({role_of(name).name: 0.0 for name in names}) is not None


def _lines(data: bytes) -> Iterator[bytes]:
    return (line for line in data.splitlines() if line.strip() and not line.lstrip().startswith(COMMENT))


def _header(head: bytes) -> Header | None:
    return header_of(next(_lines(head), b"").decode("utf-8", "replace"))


class _CsvReader:
    """Reads the rows below the header; which column is the place is known after the first of them."""

    def __init__(self, header: Header, facts: Facts, doubts: Doubts) -> None:
        self.rows: _Rows | None = None
        self._header = header
        self._facts = facts
        self._doubts = doubts
        self._cells = Cells(facts.path.name, doubts)
        self._before_rows = True
        self._comma = False

    def take(self, chunk: Chunk) -> None:
        """Take some lines."""
        if not chunk.whole:
            self._doubts[f"{self._facts.path.name}: the last line is cut off"] += 1
            return
        data, line = chunk.data, chunk.line
        if self._before_rows:
            start = _end_of_header(data)
            line += data.count(b"\n", 0, start)
            data, self._before_rows = data[start:], False
            self._learn_numerals(data)
        if self.rows is None:
            end = _end_of_head(data)
            self._take_head(data[:end], line)
            data, line = data[end:], line + data.count(b"\n", 0, end)
        self._take_rest(data, line)

    def _take_head(self, data: bytes, line: int) -> None:
        rows = list(self._read(data, line))
        place = tables.place_of([numbers for _, numbers in rows[: tables.HEAD_ROWS]])
        if place is None:
            return
        self.rows = _Rows(self._facts, self._doubts, place)
        for at_line, numbers in rows:
            self.rows.take(numbers, at_line)

    def _take_rest(self, data: bytes, line: int) -> None:
        if self.rows is None:
            return
        columns = None if self._comma else self._columns(data)
        key = self.rows.key(list(columns)) if columns else None
        if columns and key is not None:
            self.rows.take_many(columns, key, line)
            return
        for at_line, numbers in self._read(data, line):
            self.rows.take(numbers, at_line)

    def _learn_numerals(self, data: bytes) -> None:
        rows = (cells_of(line.decode("utf-8", "replace"), self._header.delimiter) for line in _lines(data))
        self._comma = uses_decimal_comma(islice(rows, tables.HEAD_ROWS), self._header.delimiter)
        if self._comma:
            self._facts.notes.append("its numbers are read with a comma before the decimals")
            self._cells = Cells(self._facts.path.name, self._doubts, comma=True)

    def _columns(self, data: bytes) -> dict[str, Sequence[float]] | None:
        """The rows by column where each cell of each row is a plain number; None otherwise."""
        delimiter, width = self._header.delimiter.encode(), len(self._header.names)
        rows = data.replace(b"\r\n", b"\n") if b"\r" in data else data
        if b"_" in rows:
            return None
        cells = rows.replace(b"\n", delimiter + b"\n" + delimiter).split(delimiter)
        # Whole rows have their line end in every (width + 1)th cell and nowhere else.
        if len(cells) % (width + 1) != 1 or set(cells[width :: width + 1]) != {b"\n"}:
            return None
        found: dict[str, Sequence[float]] = {}
        for index, name in enumerate(self._header.names):
            try:
                figures = list(map(float, cells[index : -1 : width + 1]))
            except ValueError:
                return None
            role = role_of(name, "", since_1970=figures[0] >= SINCE_1970_S)
            found[role.name] = figures if role.factor == 1 else [role.factor * figure for figure in figures]
        return found if len(found) == width else None

    def _read(self, data: bytes, line: int) -> Iterator[tuple[int, dict[str, float]]]:
        for number, text in enumerate(data.decode("utf-8", "replace").splitlines(), start=line):
            if not text.strip() or text.startswith(COMMENT.decode()):
                continue
            cells = cells_of(text, self._header.delimiter)
            if cells == self._header.names or self._is_new_header(cells):
                continue
            if len(cells) != len(self._header.names):
                self._doubts[f"{self._facts.path.name}: a row has not the header's columns"] += 1
                continue
            numbers = self._cells.numbers(self._named(cells))
            if numbers:
                yield number, numbers
            elif any(cells):
                self._doubts[f"{self._facts.path.name}: a row has no numbers"] += 1

    def _is_new_header(self, cells: list[str]) -> bool:
        """Whether the row names columns again, and others: those hold from here on."""
        if cells[:1] != self._header.names[:1] or not _names_a_place(cells):
            return False
        self._header = Header(cells, self._header.delimiter)
        return True

    def _named(self, cells: list[str]) -> dict[str, str]:
        names = self._header.names
        if len(set(names)) < len(names):
            self._doubts[f"{self._facts.path.name}: two columns of one name: the last counts"] = 1
        return dict(zip(names, cells, strict=True))


def _end_of_header(data: bytes) -> int:
    """Where the line of the header ends, comments and empty lines before it."""
    end = 0
    for line in data.splitlines(keepends=True):
        end += len(line)
        if next(_lines(line), b""):
            break
    return end


def _end_of_head(data: bytes) -> int:
    """Where the first rows end, from which the columns are known."""
    end = 0
    for _ in range(tables.HEAD_ROWS):
        end = data.find(b"\n", end) + 1
        if end == 0:
            return len(data)
    return end


def _of_objects(
    rows: Iterator[tuple[int, dict[str, float]]], facts: Facts, doubts: Doubts, source: Source
) -> Iterator[Found]:
    head = list(islice(rows, tables.HEAD_ROWS))
    place = tables.place_of([numbers for _, numbers in head])
    if place is None:
        yield Refusal(str(source.path), "no row with a number and a step or an epoch")
        return
    gathered = _Rows(facts, doubts, place)
    for line, numbers in chain(head, rows):
        gathered.take(numbers, line)
    yield from _or_refusal(gathered, source)


def _json_rows(source: Source, doubts: Doubts) -> Iterator[tuple[int, dict[str, float]]]:
    cells = Cells(source.path.name, doubts)
    with opened(source.path) as file:
        for chunk in chunks(file, source.path.name, doubts):
            rows = _objects(chunk.data, cells, doubts, source.path.name, whole=chunk.whole)
            yield from enumerate(rows, start=chunk.line)


def _objects(data: bytes, cells: Cells, doubts: Doubts, name: str, *, whole: bool = True) -> Iterator[dict[str, float]]:
    """The numbers of each line's object, empty for a line without; nested ones by their path, as in gpu/0/memory."""
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            yield cells.numbers(_flat(value))
        else:
            doubts[f"{name}: {'a line is no JSON object' if whole else 'the last line is cut off'}"] += 1
            yield {}


def _array(source: Source, doubts: Doubts) -> Iterator[dict[str, Any]]:
    """The objects of an array, one by one; what follows an object that cannot be read is left out."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    with opened(source.path) as file:
        for piece in text_pieces(file, source.path.name, doubts):
            rest += decoder.decode(piece)
            start, values = _values(rest)
            yield from (value for value in values if isinstance(value, dict))
            rest = rest[start:]
            if len(rest) > MOST_OBJECT_CHARACTERS:
                break
    if rest.strip() != "]":
        doubts[f"{source.path.name}: its end is cut off, or what follows is no JSON"] += 1


def _values(text: str) -> tuple[int, list[Any]]:
    """The whole values that the text holds one after the other, and where the first that is not whole begins."""
    parse, start = json.JSONDecoder().raw_decode, 0
    found: list[Any] = []
    while True:
        while start < len(text) and text[start] in BETWEEN:
            start += 1
        try:
            value, start = parse(text, start)
        except (ValueError, RecursionError):
            return start, found
        found.append(value)


def _flat(value: dict[str, Any]) -> dict[str, Any]:
    """An object whose inner objects' values stand under `outer/inner`."""
    inner = {
        f"{name}/{key}": each
        for name, nested in value.items()
        if isinstance(nested, dict)
        for key, each in nested.items()
    }
    return value | inner if inner else value
