"""YAML 1.2 -> plain values with the place of each; bombs, cycles and tags are refused. It builds no Python object."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from gpuplan.errors import Problem, SpecError
from gpuplan.spec.document import MAX_DEPTH, Document, Path, Place, place_at, problem_at

__all__ = ["MAX_NODES", "read_yaml"]

MAX_NODES = 20_000
"""As many keys and values take a second to parse."""

YAML_TAG = "tag:yaml.org,2002:"
IMPOSSIBLE = re.compile(r"\\U(?!000|0010)|^%YAML", re.MULTILINE)
HINTS = {
    "'\\t'": "indent with spaces, not with tabs",
    "mapping values are not allowed": "quote a value that holds a colon and a space",
    "expected <block end>": "quote a value that begins with { or [; indent the keys of one level alike",
    "undefined alias": "quote a value that begins with *",
    "found undefined tag": "quote a value that begins with !",
}
TEXT_KINDS = frozenset({"str", "timestamp", "value", "merge"})
PLAIN_KINDS = frozenset({"null", "bool", "int", "float"})
YAML_BREAK = re.compile(r"\r\n|[\n\r]")


def read_yaml(text: str, path: str) -> Document:
    """Parse YAML text. Raises SpecError with the place."""
    lines = YAML_BREAK.split(text)
    try:
        node = _compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        message = " ".join(part for part in (error.context, error.problem) if part)
        hint = next((hint for part, hint in HINTS.items() if part in message), None)
        raise SpecError([problem_at(f"not YAML: {message}", path, place, lines, hint)]) from None
    except ReaderError as error:
        message = f"not YAML: the character #x{error.character:04x} is not allowed"
        raise SpecError([problem_at(message, path, place_at(error.position, text, YAML_BREAK), lines)]) from None
    except (YAMLError, ValueError, OverflowError, LookupError, AssertionError):
        # ruamel lets some of Python's own errors through, for what the pattern finds.
        found = IMPOSSIBLE.search(text)
        place = place_at(found.start() if found else 0, text, YAML_BREAK)
        message = "not YAML: an escape or a %YAML version that does not exist"
        raise SpecError([problem_at(message, path, place, lines)]) from None
    walk = _YamlWalk(path, lines)
    value = {} if node is None else walk.value(node, (), depth=0)
    if walk.problems:
        raise SpecError(walk.problems)
    return Document(path, lines, value, walk.places)


def _compose(text: str) -> Node | None:
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _LimitedComposer
    node: Node | None = yaml.compose(StringIO(text))
    return node


class _LimitedComposer(Composer):
    """Refuses a text with too many values or levels while it is being read, not after."""

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader)
        self.warn_double_anchors = False
        self.nodes = self.levels = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.nodes += 1
        self.levels += 1
        if self.nodes > MAX_NODES or self.levels > MAX_DEPTH + 1:
            raise ComposerError(None, None, _limit(self.nodes), self.parser.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self.levels -= 1
        return node


def _limit(nodes: int) -> str:
    return f"more than {MAX_NODES:,} values" if nodes > MAX_NODES else f"nested deeper than {MAX_DEPTH} levels"


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
            message = f"{_limit(self.nodes)} (aliases count each time)"
            raise SpecError([problem_at(message, self.path, self._place(node), self.lines)])
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
        known = len(self.problems)
        values = [self.value(part, (*at, "<<"), depth=depth) for part in parts]
        if len(self.problems) == known and not all(isinstance(value, dict) for value in values):
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
        if kind in TEXT_KINDS:
            return text
        if kind not in PLAIN_KINDS:
            return self._refuse(f"the tag {kind!r} is not allowed", node)
        try:
            return _plain_value(kind, text)
        except (ValueError, KeyError):
            return self._refuse(f"{text[:60]!r} is no {kind} that a spec can hold", node)

    def _place(self, node: Node) -> Place:
        return Place(node.start_mark.line + 1, node.start_mark.column + 1)

    def _refuse(self, message: str, node: Node) -> None:
        self.problems.append(problem_at(message, self.path, self._place(node), self.lines))


def _plain_value(kind: str, text: str) -> Any:
    """A scalar by its YAML 1.2 type. Raises ValueError or KeyError."""
    if kind == "null":
        return None
    if kind == "bool":
        return {"true": True, "false": False}[text.lower()]
    plain = text.replace("_", "")
    if kind == "int":
        return int(plain, {"0x": 16, "0o": 8, "0b": 2}.get(plain.lstrip("+-")[:2].lower(), 10))
    return float(plain.lower().replace(".inf", "inf").replace(".nan", "nan"))
