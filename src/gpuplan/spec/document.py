"""A parsed text with the place of each key, and problems at such places. It knows no format and reads no file."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, TypeAlias

from gpuplan.errors import Problem

__all__ = ["LINE_BREAK", "MAX_DEPTH", "Document", "Path", "Place", "dotted", "place_at", "problem_at"]

MAX_DEPTH = 40
LINE_BREAK = re.compile(r"\r\n|\n")

Path: TypeAlias = tuple[str | int, ...]


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
        """A Problem at the place of `at`, with its line if it is not the document as a whole."""
        lines = self.lines if at[:1] in self.places and at else []
        return problem_at(message, self.path, self.place(at), lines, hint)

    def located(self, at: Path) -> str:
        """`file:line:column` of `at`."""
        place = self.place(at)
        return f"{self.path}:{place.line}:{place.column}"


def dotted(at: Path) -> str:
    """`vary.lr.2`."""
    return ".".join(map(str, at))


def place_at(position: int, text: str, line_break: re.Pattern[str]) -> Place:
    """The line and column of the character at `position`."""
    lines = line_break.split(text[:position])
    return Place(len(lines), len(lines[-1]) + 1)


def problem_at(message: str, path: str, place: Place, lines: list[str], hint: str | None = None) -> Problem:
    """A Problem with the line that it is on."""
    text = lines[place.line - 1] if 0 < place.line <= len(lines) else ""
    # One column for each character, so that the caret stands below the right one.
    shown = "".join(c if c.isprintable() else " " for c in text) if len(text) <= 200 else ""
    return Problem(message, path=path, line=place.line, column=place.column, text=shown, hint=hint)
