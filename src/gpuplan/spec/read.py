"""Files -> plain values with the place of each: YAML 1.2, JSON and TOML. It knows no key of a spec."""

from __future__ import annotations

import json
import re
import tomllib
from io import StringIO
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from gpuplan.errors import Problem, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_BYTES", "Document", "Place", "read_text"]

MAX_BYTES = 128 * 1024
"""A spec is a page or two; 128 KiB of YAML parse in about a second."""
MAX_NODES = 50_000
MAX_DEPTH = 40

Path: TypeAlias = tuple[str | int, ...]
YAML_TAG = "tag:yaml.org,2002:"
JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')
TOML_HEADER = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?")
TOML_KEY = re.compile(r"(\s*)([A-Za-z0-9_.\"'-]+)\s*=")


class Place(NamedTuple):
    """A position in a text, from 1."""

    line: int
    column: int


class Document(NamedTuple):
    """A parsed text: its value, and where each key and item stands."""

    path: str
    lines: list[str]
    value: Any
    places: dict[Path, Place]

    def place(self, at: Path) -> Place:
        """The place of `at`, or of the nearest enclosing key that has one."""
        for length in range(len(at), -1, -1):
            if at[:length] in self.places:
                return self.places[at[:length]]
        return Place(1, 1)

    def problem(self, message: str, at: Path, hint: str | None = None) -> Problem:
        """A Problem at the place of `at`, with its line."""
        return _problem(message, self.path, self.place(at), self.lines, hint)

    def located(self, at: Path) -> str:
        """`file:line:column` of `at`."""
        place = self.place(at)
        return f"{self.path}:{place.line}:{place.column}"


def read_text(raw: bytes, path: str) -> Document:
    """Parse `raw` by the ending of `path` (YAML unless .json or .toml). Raises SpecError with the place."""
    if len(raw) > MAX_BYTES:
        hint = "list many points in the product of `vary`, or split the experiment"
        raise SpecError([Problem(f"{len(raw):,} bytes; a spec has at most {MAX_BYTES:,}", path=path, hint=hint)])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        message = f"not UTF-8 at byte {error.start}"
        raise SpecError([Problem(message, path=path, line=line, hint="save the file as UTF-8")]) from None
    reader = {"json": _read_json, "toml": _read_toml}.get(path.rpartition(".")[2].lower(), _read_yaml)
    try:
        return reader(text, path)
    except RecursionError:
        raise SpecError([Problem(f"nested deeper than {MAX_DEPTH} levels", path=path)]) from None


def _problem(message: str, path: str, place: Place, lines: list[str], hint: str | None = None) -> Problem:
    text = lines[place.line - 1] if 0 < place.line <= len(lines) else ""
    if len(text) > 200 or not text.isprintable():
        text = ""
    return Problem(message, path=path, line=place.line, column=place.column, text=text, hint=hint)


# ---------------------------------------------------------------- YAML


def _read_yaml(text: str, path: str) -> Document:
    lines = text.splitlines()
    try:
        node = YAML(typ="safe", pure=True).compose(StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        message = " ".join(part for part in (error.context, error.problem) if part)
        raise SpecError([_problem(f"not YAML: {message}", path, place, lines)]) from None
    except (YAMLError, ValueError) as error:
        message = str(error).splitlines()[0] if str(error) else "unreadable"
        raise SpecError([_problem(f"not YAML: {message}", path, _character_place(error, text), lines)]) from None
    walk = _YamlWalk(path, lines)
    value = {} if node is None else walk.value(node, (), depth=0)
    if walk.problems:
        raise SpecError(walk.problems)
    return Document(path, lines, value, walk.places)


def _character_place(error: Exception, text: str) -> Place:
    position = getattr(error, "position", None)
    if not isinstance(position, int):
        return Place(1, 1)
    before = text[:position]
    return Place(before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1)


class _YamlWalk:
    """Plain values of a YAML node tree; every mistake is collected, aliases are counted, cycles refused."""

    def __init__(self, path: str, lines: list[str]) -> None:
        self.path = path
        self.lines = lines
        self.places: dict[Path, Place] = {}
        self.problems: list[Problem] = []
        self.nodes = 0
        self.open_nodes: set[int] = set()

    def value(self, node: Node, at: Path, *, depth: int) -> Any:
        self.nodes += 1
        self.places.setdefault(at, self._place(node))
        if self.nodes > MAX_NODES or depth > MAX_DEPTH:
            limit = f"more than {MAX_NODES:,} values" if self.nodes > MAX_NODES else f"deeper than {MAX_DEPTH} levels"
            raise SpecError([_problem(f"{limit} (aliases count each time)", self.path, self._place(node), self.lines)])
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if id(node) in self.open_nodes:
            return self._refuse("an alias to something that contains it", node)
        self.open_nodes.add(id(node))
        value = self._collection(node, at, depth=depth + 1)
        self.open_nodes.discard(id(node))
        return value

    def _collection(self, node: Node, at: Path, *, depth: int) -> Any:
        if isinstance(node, SequenceNode) and node.tag == YAML_TAG + "seq":
            return [self.value(item, (*at, index), depth=depth) for index, item in enumerate(node.value)]
        if isinstance(node, MappingNode) and node.tag == YAML_TAG + "map":
            return self._mapping(node, at, depth=depth)
        return self._refuse(f"the tag {str(node.tag).removeprefix(YAML_TAG)!r} is not allowed", node)

    def _mapping(self, node: MappingNode, at: Path, *, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        merged: list[dict[str, Any]] = []
        for key_node, value_node in node.value:
            if key_node.tag == YAML_TAG + "merge":
                merged += self._merge(value_node, at, depth=depth)
            elif (key := self._key(key_node)) is None:
                continue
            elif key in mapping:
                self._refuse(f"{key}: written twice", key_node)
            else:
                self.places[(*at, key)] = self._place(key_node)
                mapping[key] = self.value(value_node, (*at, key), depth=depth)
        for other in merged:
            mapping = other | mapping
        return mapping

    def _merge(self, node: Node, at: Path, *, depth: int) -> list[dict[str, Any]]:
        parts = node.value if isinstance(node, SequenceNode) else [node]
        values = [self.value(part, (*at, "<<"), depth=depth) for part in parts]
        if not all(isinstance(value, dict) for value in values):
            self._refuse("<< takes a mapping, or a list of mappings", node)
        return [value for value in values if isinstance(value, dict)]

    def _key(self, node: Node) -> str | None:
        if isinstance(node, ScalarNode) and node.tag in {YAML_TAG + name for name in ("str", "int", "float", "bool")}:
            return str(node.value)
        self._refuse("a key has to be a plain word", node)
        return None

    def _scalar(self, node: ScalarNode) -> Any:
        kind = str(node.tag).removeprefix(YAML_TAG)
        text = str(node.value)
        if kind in {"str", "timestamp"}:
            return text
        try:
            return _plain_value(kind, text)
        except (ValueError, KeyError):
            return self._refuse(f"{text[:60]!r} is no {kind} that a spec can hold", node)

    def _place(self, node: Node) -> Place:
        return Place(node.start_mark.line + 1, node.start_mark.column + 1)

    def _refuse(self, message: str, node: Node) -> None:
        self.problems.append(_problem(message, self.path, self._place(node), self.lines))


def _plain_value(kind: str, text: str) -> Any:
    """A scalar by its YAML 1.2 type. Raises ValueError or KeyError."""
    if kind == "null":
        return None
    if kind == "bool":
        return {"true": True, "false": False}[text.lower()]
    plain = text.replace("_", "")
    if kind == "int":
        return int(plain, {"0x": 16, "0o": 8, "0b": 2}.get(plain.lstrip("+-")[:2].lower(), 10))
    if kind == "float":
        return float(plain.lower().replace(".inf", "inf").replace(".nan", "nan"))
    raise ValueError(kind)


# ---------------------------------------------------------------- JSON


def _read_json(text: str, path: str) -> Document:
    lines = text.splitlines()
    twice: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in items]
        twice.extend(name for name in set(names) if names.count(name) > 1)
        return dict(items)

    try:
        value = json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        raise SpecError([_problem(f"not JSON: {error.msg}", path, Place(error.lineno, error.colno), lines)]) from None
    except ValueError as error:
        raise SpecError([_problem(f"not JSON: {error}", path, Place(1, 1), lines)]) from None
    places = dict(_json_places(text))
    document = Document(path, lines, value, places)
    if twice:
        at = next((key for key in places if key and key[-1] == twice[0]), ())
        raise SpecError([document.problem(f"{twice[0]}: written twice", at)])
    return document


def _json_places(text: str) -> Iterator[tuple[Path, Place]]:
    """Where each key and item of a valid JSON text stands."""
    at: list[str | int] = []
    is_key = False
    line, line_start, last = 1, 0, 0
    for match in JSON_TOKEN.finditer(text):
        skipped = text.count("\n", last, match.start())
        if skipped:
            line, line_start = line + skipped, text.rfind("\n", last, match.start()) + 1
        last = match.start()
        word, place = match[0], Place(line, match.start() - line_start + 1)
        if word in "{[":
            yield tuple(at), place
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
            yield tuple(at), place
            is_key = False
        elif word != ":" and isinstance(at[-1] if at else 0, int):
            yield tuple(at), place


# ---------------------------------------------------------------- TOML


def _read_toml(text: str, path: str) -> Document:
    lines = text.splitlines()
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+), column (\d+)", str(error))
        place = Place(int(found[1]), int(found[2])) if found else Place(len(lines) or 1, 1)
        message = str(error).partition(" (at ")[0]
        raise SpecError([_problem(f"not TOML: {message}", path, place, lines)]) from None
    except ValueError as error:
        raise SpecError([_problem(f"not TOML: {error}", path, Place(1, 1), lines)]) from None
    return Document(path, lines, value, dict(_toml_places(lines)))


def _toml_places(lines: list[str]) -> Iterator[tuple[Path, Place]]:
    """Where each table and key stands. An item of an array has the place of its key."""
    table: Path = ()
    counts: dict[Path, int] = {}
    for number, line in enumerate(lines, start=1):
        header, key = TOML_HEADER.fullmatch(line), TOML_KEY.match(line)
        if header:
            table = _toml_path(header[2])
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            yield table, Place(number, len(line) - len(line.lstrip()) + 1)
        elif key:
            yield (*table, *_toml_path(key[2])), Place(number, len(key[1]) + 1)


def _toml_path(text: str) -> Path:
    return tuple(part.strip().strip("\"'") for part in text.split("."))
