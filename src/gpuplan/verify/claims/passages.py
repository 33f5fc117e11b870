"""A document as passages: sentences, list items and table cells, each with the words that say what it is about.

It knows Markdown's headings, lists, fences and tables; everything else is a line of text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.verify.claims.labels import about, merged

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuplan.verify.claims.claim import About

__all__ = ["ASIDE", "Passage", "label_of", "passages"]

MARKS = re.compile(r"\*\*|__|`|^\s*>\s?|[✅❌⚠️⭐✓]")
ITEM = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)])\s+")
HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*$")
RULE = re.compile(r"^\s*\|?[\s:|-]*-{3,}[\s:|-]*$")
LABEL = re.compile(r"^([^:=|()]{2,60}):\s")
ASIDE = re.compile(r"\([^()]*\)|\bvs\.?\s.*$|\binstead of\b.*$|\brather than\b.*$|\s#\s.*$", re.IGNORECASE)
"""What only stands beside what a line says."""

PLAIN_SIGNS = str.maketrans({
    "\N{MULTIPLICATION SIGN}": "x", "\N{EN DASH}": "-", "\N{MINUS SIGN}": "-", "\N{NO-BREAK SPACE}": " ",
    "\N{NARROW NO-BREAK SPACE}": " ", "\N{THIN SPACE}": " ",
})  # fmt: skip
FENCES = ("```", "~~~")
LONGEST_LINE = 2000


class Passage(NamedTuple):
    """One line or cell; `label` are the words that name it, `inherited` what it is about unless it says otherwise."""

    text: str
    label: str
    line: int
    block: int
    section: int
    column: int
    inherited: About
    heading: str
    in_code: bool


class Open(NamedTuple):
    """Where the reader is: what the headings, the intro line and the items above are about."""

    headings: tuple[tuple[int, str, About], ...] = ()
    section: int = 0
    block: int = 0
    intro: About | None = None
    intro_text: str = ""
    running: About | None = None
    in_code: bool = False
    after_blank: bool = True


NOWHERE = about("")


def passages(text: str) -> list[Passage]:
    """Every line and table cell of the document, in order."""
    lines = text.translate(PLAIN_SIGNS).splitlines()
    found: list[Passage] = []
    at, index = Open(), 0
    while index < len(lines):
        rows = 0 if at.in_code else _table_rows(lines, index)
        if rows:
            at = at._replace(block=at.block + 1, running=None, after_blank=False)
            found += _table(lines[index : index + rows], index + 1, at)
            at = at._replace(block=at.block + 1)
            index += rows
            continue
        at, passage = _line(lines[index][:LONGEST_LINE], index + 1, at)
        found += [passage] if passage else []
        index += 1
    return found


def label_of(text: str) -> str:
    """The words before the first colon, if they are a label."""
    match = LABEL.match(text)
    return match[1].strip() if match else ""


def _line(raw: str, number: int, at: Open) -> tuple[Open, Passage | None]:
    line = _plain(raw)
    if raw.lstrip().startswith(FENCES) or not line:
        is_fence = bool(raw.strip())
        return at._replace(in_code=at.in_code ^ is_fence, after_blank=True), None
    heading = None if at.in_code else HEADING.match(raw)
    if heading:
        return _under(heading, number, at)
    own, is_item = _plain(ITEM.sub("", line)), bool(ITEM.match(raw))
    at = _opened(own, at, is_item=is_item)
    label = label_of(own)
    said = merged(about(ASIDE.sub(" ", own)), about(label, state=True))
    passage = _passage(own, label, number, at, said)
    if said.device or said.model:
        at = at._replace(running=merged(said, at.running or NOWHERE)._replace(variant=None, gpus=None))
    return at._replace(after_blank=False), passage


def _opened(own: str, at: Open, *, is_item: bool) -> Open:
    """A line that ends in a colon opens a block, and so does a paragraph."""
    if is_item or at.in_code:
        return at
    if own.endswith(":"):
        return at._replace(block=at.block + 1, intro=about(own, state=True), intro_text=own, running=None)
    if at.after_blank:
        return at._replace(block=at.block + 1, intro=None, intro_text="", running=None)
    return at


def _plain(text: str) -> str:
    return MARKS.sub("", text).strip()


def _under(heading: re.Match[str], number: int, at: Open) -> tuple[Open, Passage]:
    depth, words = len(heading[1]), _plain(heading[2])
    above = tuple(one for one in at.headings if one[0] < depth)
    own = about(words, state=True)
    at = Open(headings=(*above, (depth, words, own)), section=at.section + 1, block=at.block + 1)
    return at, _passage(words, "", number, at, own)


def _passage(text: str, label: str, number: int, at: Open, said: About) -> Passage:
    upper = [own for _, _, own in reversed(at.headings)]
    inherited = merged(said, at.running or NOWHERE, at.intro or NOWHERE, *upper)
    words = f"{at.intro_text} {label}" if at.intro_text else label
    heading = " / ".join(words for _, words, _ in at.headings)
    return Passage(text, words, number, at.block, at.section, 0, inherited, heading, at.in_code)


def _table_rows(lines: Sequence[str], index: int) -> int:
    """How many lines of a table start here: a head, a rule and rows."""
    if "|" not in lines[index] or index + 1 >= len(lines) or not RULE.match(lines[index + 1]):
        return 0
    count = 2
    while index + count < len(lines) and "|" in lines[index + count]:
        count += 1
    return count


def _table(lines: Sequence[str], first: int, at: Open) -> Iterator[Passage]:
    """Its cells; a column is about what its head says, a row about what its first cell says."""
    heads = _cells(lines[0])
    for offset, line in enumerate(lines[2:], start=2):
        cells = _cells(line)
        row = about(cells[0])
        for column, cell in enumerate(cells):
            head = heads[column] if column < len(heads) else ""
            said = merged(about(ASIDE.sub(" ", cell)), row, about(head, state=True))
            label = f"{cells[0]} {head}" if column else head
            yield _passage(cell, label, first + offset, at, said)._replace(column=column)


def _cells(line: str) -> list[str]:
    return [_plain(cell) for cell in line.strip().strip("|").split("|")]
