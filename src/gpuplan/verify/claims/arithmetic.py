"""The sums that a document writes out: `8 nodes x 6.5 GB = 52 GB`, `52 GB / 80 GB (65%)`, `12x` in a table.

Only what is written as arithmetic is reckoned again; units have to come out right, or it is left alone.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.units import format_number
from gpuplan.verify.claims.claim import Claim, gap
from gpuplan.verify.claims.figures import BYTES, NONE, PRICE, TIME, USD, Dimension, Figure, figures
from gpuplan.verify.claims.linking import TOLERANCE
from gpuplan.verify.claims.words import contradiction, spoken

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuplan.model import Finding
    from gpuplan.verify.claims.passages import Passage

__all__ = ["equations", "ratios"]

TIMES = re.compile(r"^\s*(?:[\w-]+\s){0,2}[x*]\s*$")
EACH = re.compile(r"^[^=]{0,40}\($")
OVER = re.compile(r"^\s*(?:[\w-]+\s){0,2}[÷/]\s*$")
EQUALS = re.compile(r"^[^=≈]{0,40}(?<![<>=!])[=≈]\s*$")
UNKNOWN_UNIT = re.compile(r"\s?(?:[A-Zµ%°]|[a-z]{1,3}\b)")
SHARE = re.compile(r"^\s*\($")
LONGEST_PRODUCT = 120
"""Characters; nobody writes a longer one out."""

UNITS = {TIME: "s", BYTES: "B", USD: "USD", PRICE: "USD/s"}


class Term(NamedTuple):
    """What the left side comes to so far."""

    low: float
    high: float
    dimension: Dimension
    words: str


def equations(passages: Sequence[Passage], *, name: str) -> Iterator[Finding]:
    """Products and quotients with their result beside them, where the result is another one."""
    for part in passages:
        if part.column or "http" in part.text:
            continue
        yield from _in_line(part, name)


def _in_line(part: Passage, name: str) -> Iterator[Finding]:
    found = figures(part.text)
    left: Term | None = None
    is_product = False
    for one, other in pairwise(found):
        between = part.text[one.end : other.start]
        left = left or _term(one)
        sign = _sign(one, between, other)
        if sign in ("x", "/") and len(left.words) < LONGEST_PRODUCT:
            left, is_product = _joined(left, _term(other), sign), True
        elif sign == "=" and is_product:
            yield from _judged(left, other, part, name)
            left, is_product = None, False
        else:
            left, is_product = None, False


def _sign(one: Figure, between: str, other: Figure) -> str | None:
    """What stands between two figures; `6x L40 (48GB VRAM each)` is a product too."""
    if EQUALS.match(between):
        return "="
    if TIMES.match(between) or (one.noun == "x" and not between.strip()):
        return "x"
    if one.text.endswith("x") and EACH.match(between):
        return "x"
    if OVER.match(between) and ("÷" in between or (one.dimension == other.dimension != NONE)):
        return "/"
    return "=" if other.noun == "%" and SHARE.match(between) else None


def _term(figure: Figure) -> Term:
    return Term(figure.low, figure.high, figure.dimension, figure.text.strip("(~≈ "))


def _joined(left: Term, right: Term, sign: str) -> Term:
    power = 1 if sign == "x" else -1
    dimension = Dimension(*(a + power * b for a, b in zip(left.dimension, right.dimension, strict=True)))
    words = f"{left.words} {sign} {right.words}"
    if sign == "x":
        return Term(left.low * right.low, left.high * right.high, dimension, words)
    if not right.low:
        return Term(0.0, float("inf"), dimension, words)
    return Term(left.low / right.high, left.high / right.low, dimension, words)


def _judged(left: Term, right: Figure, part: Passage, name: str) -> Iterator[Finding]:
    is_unknown = right.dimension == NONE and not right.noun and UNKNOWN_UNIT.match(part.text[right.end :])
    if left.dimension != right.dimension or right.bound or is_unknown:
        return
    claim = _claim(right, part, name)
    off = gap(left.low, left.high, claim)
    if off > TOLERANCE:
        unit = UNITS.get(right.dimension, "")
        middle = (left.low + left.high) / 2
        shown = f"{100 * middle:.0f} %" if right.noun == "%" else spoken(middle, unit)
        yield contradiction(
            "claim-arithmetic",
            message=f"{left.words} = {shown}, not {claim.text}",
            because=f"off by a factor of {format_number(off)}",
            fix="reckon it again",
            claims=(claim,),
            off=off,
        )


def _claim(figure: Figure, part: Passage, name: str) -> Claim:
    return Claim(
        quantity="", low=figure.low, high=figure.high, text=figure.text.strip("(~≈ "), place=f"{name}:{part.line}",
        rounding=figure.rounding, line=part.line, block=part.block, column=part.column,
    )  # fmt: skip


def ratios(passages: Sequence[Passage], *, name: str) -> Iterator[Finding]:
    """A row of a table whose last column says how many times the one figure is the other."""
    rows: dict[tuple[int, int], list[Passage]] = {}
    for part in passages:
        if part.column:
            rows.setdefault((part.block, part.line), []).append(part)
    for cells in rows.values():
        read = [(cell, figures(cell.text)) for cell in cells]
        single = [(cell, found[0]) for cell, found in read if len(found) == 1]
        yield from _row(single, name)


def _row(cells: Sequence[tuple[Passage, Figure]], name: str) -> Iterator[Finding]:
    """Exactly two figures of one kind, then their ratio."""
    if len(cells) != 3 or cells[2][1].noun != "x" or any(figure.noun in ("x", "%") for _, figure in cells[:2]):
        return
    (_, one), (_, other), (cell, ratio) = cells
    if one.dimension != other.dimension or not (one.low > 0 and other.low > 0) or one.bound or other.bound:
        return
    if one.dimension == NONE and one.noun != other.noun:
        return
    claim = _claim(ratio, cell, name)
    below, above = sorted((one, other), key=lambda figure: figure.low, reverse=ratio.high < 1)
    low, high = above.low / below.high, above.high / below.low
    off = gap(low, high, claim)
    if off > TOLERANCE:
        yield contradiction(
            "claim-ratio",
            message=f"{above.text} over {below.text} is {format_number((low + high) / 2)}x, not {claim.text}",
            because=f"off by a factor of {format_number(off)}",
            fix="reckon it again",
            claims=(claim,),
            off=off,
        )
