"""Files -> plain values with the place of each: YAML 1.2, JSON and TOML. It knows no key of a spec."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

from gpuplan.errors import Problem, SpecError
from gpuplan.spec.document import LINE_BREAK, MAX_DEPTH, Document, Path, Place, dotted, place_at, problem_at
from gpuplan.spec.read_yaml import read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_BYTES", "read_text"]

MAX_BYTES = 128 * 1024
"""A spec is a page or two; so much YAML parses in about a second."""
MAX_INTEGER = 2**63 - 1

NO_ARGUMENT = re.compile("[\0\ud800-\udfff]")
LONG_NUMBER = re.compile(r"(?<![0-9_])[0-9_]{1000,}")
JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')
TOML_TEXT = re.compile(r"""#[^\n]*|\"{3}(?:\\.|[^\\])*?\"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'""", re.DOTALL)
TOML_BETWEEN_MARKS = re.compile(r"[^=,{}\[\]\n]+")
TOML_KEY = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")


def read_text(raw: bytes, path: str) -> Document:
    """Parse `raw` by the ending of `path` (YAML unless .json or .toml). Raises SpecError with the place."""
    if len(raw) > MAX_BYTES:
        hint = "list many points in the product of `vary`, or split the experiment"
        raise SpecError([Problem(f"more than {MAX_BYTES:,} bytes", path=path, hint=hint)])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = place_at(error.start, raw.decode("latin-1"), LINE_BREAK)
        problem = problem_at(f"not UTF-8 at byte {error.start}", path, place, [], "save the file as UTF-8")
        raise SpecError([problem]) from None
    reader = {"json": _read_json, "toml": _read_toml}.get(path.rpartition(".")[2].lower(), read_yaml)
    try:
        document = reader(text, path)
    except RecursionError:
        raise SpecError([Problem(f"nested deeper than {MAX_DEPTH} levels", path=path)]) from None
    problems = [document.problem(message, at) for at, message in _impossible(document.value, ())]
    if problems:
        raise SpecError(problems)
    return document


def _impossible(value: Any, at: Path) -> Iterator[tuple[Path, str]]:
    """What no format forbids and nothing after this can carry: in a command line, a name or a database."""
    if len(at) > MAX_DEPTH:
        yield at, f"nested deeper than {MAX_DEPTH} levels"
    elif isinstance(value, dict):
        for key, item in value.items():
            if NO_ARGUMENT.search(key):
                yield (*at, key), f"{key}: it holds a character that no command line can carry"
            yield from _impossible(item, (*at, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _impossible(item, (*at, index))
    elif isinstance(value, str) and NO_ARGUMENT.search(value):
        yield at, f"{dotted(at)}: it holds a character that no command line can carry"
    elif isinstance(value, int) and abs(value) > MAX_INTEGER:
        yield at, f"{dotted(at)}: a whole number beyond 64 bits"


# ---------------------------------------------------------------- JSON


def _read_json(text: str, path: str) -> Document:
    lines = LINE_BREAK.split(text)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        message = f"not JSON: {error.msg.removesuffix(' at')}"
        raise SpecError([problem_at(message, path, Place(error.lineno, error.colno), lines)]) from None
    except ValueError:
        raise _too_many_digits(text, path, lines) from None
    places: dict[Path, Place] = {}
    repeated: dict[Path, Problem | None] = {}
    for at, place, is_key in _json_places(text):
        if at in places and (is_key or at[:-1] in repeated):
            inside = at[:-1] in repeated
            repeated[at] = None if inside else problem_at(f"{at[-1]}: written twice", path, place, lines)
        places.setdefault(at, place)
    problems = [problem for problem in repeated.values() if problem]
    if problems:
        raise SpecError(problems)
    return Document(path, lines, value, places)


def _too_many_digits(text: str, path: str, lines: list[str]) -> SpecError:
    """For the ValueError of Python's own limit on the digits of a whole number."""
    found = LONG_NUMBER.search(text)
    place = place_at(found.start() if found else 0, text, LINE_BREAK)
    return SpecError([problem_at("a whole number beyond 64 bits", path, place, lines)])


def _json_places(text: str) -> Iterator[tuple[Path, Place, bool]]:
    """Where each key (True) and item (False) of a valid JSON text stands, down to the first that is too deep."""
    at: list[str | int] = []
    is_key = False
    line, line_start, last = 1, 0, 0
    for match in JSON_TOKEN.finditer(text):
        skipped = text.count("\n", last, match.start())
        if skipped:
            line, line_start = line + skipped, text.rfind("\n", last, match.start()) + 1
        last = match.start()
        word, place = match[0], Place(line, match.start() - line_start + 1)
        if len(at) > MAX_DEPTH:
            return
        if word in "{[":
            yield tuple(at), place, False
            at.append("" if word == "{" else 0)
            is_key = word == "{"
        elif word in "}]":
            at.pop()
        elif word == ",":
            previous = at[-1]
            at[-1] = previous + 1 if isinstance(previous, int) else ""
            is_key = not isinstance(previous, int)
        elif is_key:
            at[-1] = json.loads(word)
            yield tuple(at), place, True
            is_key = False
        elif word != ":" and isinstance(at[-1] if at else 0, int):
            yield tuple(at), place, False


# ---------------------------------------------------------------- TOML


def _read_toml(text: str, path: str) -> Document:
    lines = LINE_BREAK.split(text)
    bare = TOML_TEXT.sub(_filler, text)
    # tomllib takes quadratic time and memory on a key of very many parts.
    for match in TOML_BETWEEN_MARKS.finditer(bare):
        if match[0].count(".") > MAX_DEPTH:
            message = f"nested deeper than {MAX_DEPTH} levels"
            raise SpecError([problem_at(message, path, place_at(match.start(), text, LINE_BREAK), lines)])
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+), column (\d+)", str(error))
        place = Place(int(found[1]), int(found[2])) if found else Place(len(lines), len(lines[-1]) + 1)
        message = str(error).partition(" (at ")[0]
        raise SpecError([problem_at(f"not TOML: {message}", path, place, lines)]) from None
    except ValueError:
        raise _too_many_digits(text, path, lines) from None
    return Document(path, lines, value, dict(_toml_places(lines, LINE_BREAK.split(bare))))


def _filler(match: re.Match[str]) -> str:
    """As long as the string or the comment that it replaces, without anything that has a meaning in TOML."""
    return re.sub(r"[^\n]", " " if match[0][0] == "#" else "_", match[0])


def _toml_places(lines: list[str], bare: list[str]) -> Iterator[tuple[Path, Place]]:
    """Where each table and key stands. An item of an array has the place of its key."""
    table: Path = ()
    counts: dict[Path, int] = {}
    depth = 0
    for number, (line, outline) in enumerate(zip(lines, bare, strict=True), start=1):
        start = len(outline) - len(outline.lstrip())
        end = outline.find("=")
        if depth == 0 and outline[start : start + 1] == "[":
            *parents, last = _toml_keys(line[start : len(outline.rstrip())])
            table = (*_indexed(parents, counts), last)
            if outline[start : start + 2] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            yield table, Place(number, start + 1)
        elif depth == 0 and end > 0:
            yield (*table, *_toml_keys(line[start:end])), Place(number, start + 1)
            depth = _opened(outline)
        else:
            depth += _opened(outline)


def _opened(outline: str) -> int:
    return sum(outline.count(mark) for mark in "[{") - sum(outline.count(mark) for mark in "]}")


def _indexed(parts: list[str], counts: dict[Path, int]) -> Path:
    """The path of a table, with the index of the newest item of each array of tables on the way."""
    at: Path = ()
    for part in parts:
        at = (*at, part)
        if at in counts:
            at = (*at, counts[at])
    return at


def _toml_keys(text: str) -> list[str]:
    return [part.strip("\"'") for part in TOML_KEY.findall(text)]
