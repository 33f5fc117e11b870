"""Claims listed one a line: `name = value unit`, with `@ device` or `@ model` where several are meant. No prose."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from gpuplan.errors import Problem
from gpuplan.units import parse_bytes, parse_duration, parse_usd
from gpuplan.verify.claims.claim import VOCABULARY, Claim
from gpuplan.verify.claims.labels import about

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["is_list", "listed_claim", "listed_claims"]

LINE = re.compile(
    r"^\s*(?:-\s+)?(?P<name>[A-Za-z][\w -]{0,40}?)\s*(?:@\s*(?P<about>[^=:]{1,80}?)\s*)?[=:]\s*(?P<value>.+?)\s*$"
)
COUNT = re.compile(
    r"(?P<number>\d{1,15}(?:,\d{3})*(?:\.\d{1,9})?(?:[eE]\d{1,2})?)\s*(?P<suffix>[kKMGBT]?)(?:\s?x|\s[A-Za-z/ ]+)?"
)
RATE = re.compile(r"(?P<number>\d{1,12}(?:\.\d{1,9})?)\s*(?:it|steps|iterations|samples|rows|tokens)\s?/\s?s(?:ec)?")
PRICE = re.compile(r"\$?\s?(?P<number>\d{1,9}(?:\.\d{1,6})?)\s*(?:USD|\$)?\s?/\s?(?P<per>h|hr|hour|day)")
RANGE = re.compile(r"^(?P<low>\$?[\d.,]+)\s*(?:-|to)\s*(?P<high>\$?[\d.,]+.*)$")
SUFFIXES = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12}


def is_list(text: str) -> bool:
    """Whether every line is `name = value`; comments and empty lines aside."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return bool(lines) and all("=" in line and LINE.match(line) for line in lines)


def listed_claims(text: str, *, name: str) -> tuple[tuple[Claim, ...], tuple[Problem, ...]]:
    """The claims of the list `name`, and every line that is none."""
    claims, problems = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.partition(" #")[0]
        if not content.strip() or content.lstrip().startswith("#"):
            continue
        found = listed_claim(content, path=name, line=number)
        if isinstance(found, Claim):
            claims.append(found)
        else:
            problems.append(found)
    return tuple(claims), tuple(problems)


def listed_claim(text: str, *, path: str, line: int = 0) -> Claim | Problem:
    """One claim of a list or of `--claim`, or what is wrong with it."""
    match = LINE.match(text[:400])
    if match is None:
        return _problem(f"{text.strip()[:60]!r} is no claim", path, line, text, hint="as in: run = 1.4 h")
    name = " ".join(match["name"].lower().replace("_", " ").split())
    term = VOCABULARY.get(name)
    if term is None:
        near = difflib.get_close_matches(name, VOCABULARY, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(VOCABULARY)}"
        return _problem(f"nothing is called {match['name']!r}", path, line, text, hint=hint)
    value = match["value"].strip("\"' ")
    try:
        low, high = _read(value, term.unit)
    except ValueError as error:
        return _problem(
            f"{term.name}: {error}", path, line, text, hint=f"{term.name} = {term.example} ({term.meaning})"
        )
    return Claim(
        quantity=term.name, low=low, high=high, text=value, place=f"{path}:{line}" if line else path,
        rounding=0.0, about=about(match["about"] or ""), line=line, words=text.strip(),
    )  # fmt: skip


def _problem(message: str, path: str, line: int, text: str, *, hint: str) -> Problem:
    return Problem(message, path=path, line=max(1, line), text=text.strip()[:100], hint=hint)


def _read(text: str, unit: str) -> tuple[float, float]:
    """Low and high in SI; of a range the unit stands behind the second figure."""
    parse = PARSERS[unit]
    span = RANGE.match(text)
    if span is None:
        value = parse(text)
        return _positive(value), value
    high = parse(span["high"])
    words = re.sub(r"^\$?[\d.,]+", "", span["high"])
    low = parse(span["low"] + words)
    if low > high:
        raise ValueError(f"{text!r} goes down")
    return _positive(low), high


def _positive(value: float) -> float:
    if not 0 < value < 1e30:
        raise ValueError("more than nothing, please")
    return value


def _count(text: str) -> float:
    match = COUNT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is no number")
    return float(match["number"].replace(",", "")) * SUFFIXES[match["suffix"]]


def _rate(text: str) -> float:
    match = RATE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is no rate such as 4.34 it/s")
    return float(match["number"])


def _price(text: str) -> float:
    match = PRICE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is no price such as 0.35 USD/h")
    return float(match["number"]) / (86400 if match["per"] == "day" else 3600)


def _money(text: str) -> float:
    return parse_usd(text)


PARSERS: dict[str, Callable[[str], float]] = {
    "": _count, "s": parse_duration, "B": parse_bytes, "1/s": _rate, "USD/s": _price, "USD": _money,
}  # fmt: skip
