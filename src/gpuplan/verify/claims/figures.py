"""Numbers with their units in a line of prose, as SI values with dimensions. What has no known unit stays bare.

>>> [(figure.low, figure.high, figure.noun) for figure in figures("8 nodes x 6.5 GB, ~2-3 h")]
[(8.0, 8.0, 'nodes'), (6500000000.0, 6500000000.0, ''), (7200.0, 10800.0, '')]
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

__all__ = ["Dimension", "Figure", "figures"]


class Dimension(NamedTuple):
    """Exponents of seconds, bytes and dollars."""

    s: int = 0
    bytes: int = 0
    usd: int = 0


NONE = Dimension()
TIME, BYTES, USD = Dimension(s=1), Dimension(bytes=1), Dimension(usd=1)
RATE, PRICE = Dimension(s=-1), Dimension(s=-1, usd=1)


class Unit(NamedTuple):
    """What a unit is worth in SI, its dimension, and what it counts."""

    factor: float
    dimension: Dimension = NONE
    noun: str = ""


class Figure(NamedTuple):
    """One number or range; `noun` is what it counts, `bound` what makes it no plain statement: >, <, + or per."""

    low: float
    high: float
    dimension: Dimension
    noun: str
    text: str
    start: int
    end: int
    rounding: float
    bound: str = ""
    timespan: str = ""


TIMES = {
    "ms": 1e-3, "s": 1, "sec": 1, "secs": 1, "second": 1, "seconds": 1, "min": 60, "mins": 60, "minute": 60,
    "minutes": 60, "h": 3600, "hr": 3600, "hrs": 3600, "hour": 3600, "hours": 3600, "day": 86400, "days": 86400,
    "week": 604800, "weeks": 604800, "month": 2_629_800,
}  # fmt: skip
SIZES = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
NOUNS = {
    "steps": ("step", "steps", "iterations", "iters", "updates"),
    "epochs": ("epoch", "epochs"),
    "runs": ("run", "runs", "experiment", "experiments", "configuration", "configurations", "config", "configs", "jobs",
             "trials"),
    "nodes": ("node", "nodes", "copies", "replicas"),
    "gpus": ("GPU", "GPUs", "gpu", "gpus", "cards"),
    "workers": ("worker", "workers"),
    "rows": ("samples", "words", "rows", "examples", "images", "sentences"),
    "sequences": ("sequences",),
    "tokens": ("tokens",),
    "parameters": ("params", "parameters", "param", "parameter"),
}  # fmt: skip
RATES = {"it": "steps", "iter": "steps", "iterations": "steps", "steps": "steps", "samples": "rows", "images": "rows",
         "rows": "rows", "tokens": "tokens", "tok": "tokens"}  # fmt: skip
SUFFIXES = {"k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "": 1.0}

SPANS = {"hour": "hour", "hr": "hour", "h": "hour", "day": "day", "month": "month"}

UNITS: dict[str, Unit] = (
    {name: Unit(factor, TIME) for name, factor in TIMES.items() if name != "month"}
    | {name: Unit(factor, BYTES) for name, factor in SIZES.items()}
    | {word: Unit(1, NONE, noun) for noun, words in NOUNS.items() for word in words}
    | {f"{word}/{per}": Unit(1, RATE, noun) for word, noun in RATES.items() for per in ("s", "sec", "second")}
    | {f"{time}/it": Unit(factor, TIME, "per step") for time, factor in TIMES.items()}
    | {"USD": Unit(1, USD), "dollars": Unit(1, USD), "%": Unit(0.01, NONE, "%")}
)
LONGEST_LINE = 2000
"""Characters; nobody writes figures for readers in a longer one."""

NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?: \d{3})+(?![\d,.])|\d{1,15})(?:\.\d{1,9})?"
NAMES = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
ADJECTIVE = r"(?:(?:separate|parallel|different|training|concurrent|total|GPT-?2|gpt-?2)\s+)?"
PER = r"(?:\s?/\s?|\s+(?:per|an|a)\s+)(?P<per>hour|hr|h|day|month|step|it|epoch|GPU|gpu|pod|node|run|experiment)\b"
FIGURE = re.compile(
    rf"(?P<bound>[<>≥≤]=?\s?)?(?:[~≈]\s?)?(?P<money>\$\s?)?(?<![\w.,/^:-])(?<![\d.]-)(?!(?<=\d )\d{{3}}(?!\d))"
    rf"(?P<low>{NUMBER})(?P<lows>[kKMB](?![\w]))?"
    rf"(?:(?:\s?-\s?|\s+to\s+)\$?(?P<high>{NUMBER})(?![\d.]*[-:/]\d))?"
    rf"(?P<suffix>[kKMB](?![A-Za-z]))?(?P<plus>\+)?"
    rf"(?:(?P<times>\s?x(?![\w]))|\s?(?P<unit>(?:{NAMES})(?![A-Za-z_])|%)|\s+{ADJECTIVE}(?P<noun>{NAMES})(?![A-Za-z_]))?"
    rf"(?![A-Za-z_\d]|[.,]\d|[-/:]\d)(?:{PER})?"
)  # fmt: skip
COMPOUND = re.compile(r"(?<![\w.:])(?P<h>\d{1,4})\s?h(?:ours?)?\s?(?P<m>\d{1,2})\s?(?:min|m)?\b")
COMPARED = r"(?:faster|slower|quicker|larger|smaller|bigger|more|less|fewer|cheaper|better|speed-?ups?|improvement)\b"
COUNTED = re.compile(
    rf"(?<![\w.])(?P<count>\d{{1,4}})\s?x\s?(?=[A-Za-z])(?!{COMPARED})(?P<nodes>(?:[\w.-]+\s)?(?:nodes?|copies)\b)?"
)


@lru_cache(maxsize=256)
def figures(text: str) -> tuple[Figure, ...]:
    """Every figure of a line, from left to right."""
    text = text[:LONGEST_LINE]
    compound = [_compound(match) for match in COMPOUND.finditer(text)]
    taken = [(figure.start, figure.end) for figure in compound]
    counted = [_counted(match) for match in COUNTED.finditer(text) if _is_free(match, taken)]
    taken += [(figure.start, figure.end) for figure in counted]
    plain = [_figure(match) for match in FIGURE.finditer(text) if _is_free(match, taken) and not _is_date(match)]
    return tuple(sorted([*compound, *counted, *plain], key=lambda figure: figure.start))


def _is_free(match: re.Match[str], taken: list[tuple[int, int]]) -> bool:
    return all(match.end() <= start or match.start() >= end for start, end in taken)


def _is_date(match: re.Match[str]) -> bool:
    """`2026-02` is no range."""
    return bool(match["high"]) and not match["lows"] and _value(match["high"]) < _value(match["low"])


def _figure(match: re.Match[str]) -> Figure:
    unit = _unit(match)
    suffix = SUFFIXES[match["suffix"] or match["lows"] or ""]
    first = suffix if match["high"] or not match["lows"] else SUFFIXES[match["lows"]]
    low = _value(match["low"]) * first * unit.factor
    high = _value(match["high"]) * suffix * unit.factor if match["high"] else low
    bound = (match["bound"] or "").strip()[:1] or match["plus"] or ""
    if unit.dimension == NONE and unit.noun and match["per"]:
        bound = "per"
    span = SPANS.get(match["per"] or "", "") if match["money"] else ""
    rounding = 0.0 if match["high"] else _rounding(match["low"], unit) * suffix * unit.factor
    return Figure(
        min(low, high), max(low, high), unit.dimension, _noun(match, unit), match[0].strip(), match.start(),
        match.end(), rounding, bound, span,
    )  # fmt: skip


def _unit(match: re.Match[str]) -> Unit:
    """Dollars for a time are a price; a time for a step keeps the noun `per step`."""
    if match["money"]:
        time = TIMES.get(match["per"] or "")
        return Unit(1 / time, PRICE) if time else Unit(1, USD)
    if match["times"]:
        return Unit(1, NONE, "x")
    name = match["unit"] or match["noun"]
    unit = UNITS[name] if name else Unit(1)
    time = TIMES.get(match["per"] or "")
    return Unit(unit.factor / time, PRICE) if unit.dimension == USD and time else unit


def _noun(match: re.Match[str], unit: Unit) -> str:
    if unit.dimension == TIME and match["per"] in ("step", "it", "epoch"):
        return "per epoch" if match["per"] == "epoch" else "per step"
    return unit.noun


def _value(text: str) -> float:
    return float(text.replace(",", "").replace(" ", ""))


def _rounding(text: str, unit: Unit) -> float:
    """Half a unit of the last digit; counts are exact."""
    decimals = len(text.partition(".")[2])
    return 0.0 if unit.noun and not decimals else 0.5 * 10.0**-decimals


def _compound(match: re.Match[str]) -> Figure:
    seconds = int(match["h"]) * 3600.0 + int(match["m"]) * 60.0
    return Figure(seconds, seconds, TIME, "", match[0].strip(), match.start(), match.end(), 30.0)


def _counted(match: re.Match[str]) -> Figure:
    """`6x L40`, `8x gpt2 nodes`: so many of them."""
    count = float(match["count"])
    return Figure(
        count, count, NONE, "nodes" if match["nodes"] else "", match[0].strip(), match.start(), match.end(), 0.0
    )
