"""Claims out of prose: a figure becomes one where its unit and the words around it say what it is; else it is counted.

What is hypothetical (more than, at most, from one value to another) is nobody's claim and is left out.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.verify.claims.claim import Claim
from gpuplan.verify.claims.figures import BYTES, NONE, PRICE, RATE, TIME, USD, Figure, figures
from gpuplan.verify.claims.labels import about, devices, is_in_name, merged
from gpuplan.verify.claims.passages import ASIDE, label_of, passages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.verify.claims.passages import Passage

__all__ = ["Read", "claims_in"]


class Read(NamedTuple):
    """What was understood of a document, its passages, and how many figures with a unit were not."""

    claims: tuple[Claim, ...]
    passages: tuple[Passage, ...]
    left_out: int


class Cue(NamedTuple):
    """Words that say what a figure of some dimension is."""

    quantity: str
    words: re.Pattern[str]


def _cues(*pairs: tuple[str, str]) -> tuple[Cue, ...]:
    return tuple(Cue(quantity, re.compile(words, re.IGNORECASE)) for quantity, words in pairs)


RUN_WORDS = r"(?:experiment|run|job|configuration|config|trial)"
TIME_CUES = _cues(
    ("step", r"\b(?:per|each|a|one) (?:step|iteration)\b|\bstep time\b|\btime[ /]step\b"),
    ("epoch", r"\b(?:per|each|an|one|for 1) epoch\b|\bepoch time\b"),
    ("sweep", rf"\ball (?:the )?(?:\d+ )?\w*\s?{RUN_WORDS}s\b|\bsweep\b"),
    ("run", rf"\b(?:per|each|single|one)\s(?:[\w-]+ )?{RUN_WORDS}\b"),
    ("run", r"\btraining (?:time|will take|takes)\b|\brun ?time\b|\btime/run\b|\bestimated?\b|^[\w -]*\bjob$"),
)  # fmt: skip
BYTES_CUES = _cues(
    ("states", r"\bgradients?\b.*\boptimizer\b|\boptimizer\b.*\bgradients?\b"),
    ("weights", r"\bweights\b"),
    ("forward", r"\bforward\b"),
    ("checkpoint", r"\b(?:per|each|one|a) checkpoint\b|\bcheckpoint size\b"),
    ("disk", r"\bdisk\b|\bstorage\b"),
    ("memory", r"\b(?:per|each|a|one) (?:node|run|process|rank|copy)\b|\bpeak (?:gpu )?memory\b"),
)
USD_CUES = _cues(
    ("cost", rf"\btotal cost\b|\ball (?:the )?(?:\d+ )?\w*\s?{RUN_WORDS}s\b|\bsweep\b"),
    ("run cost", rf"\b(?:per|each|one) {RUN_WORDS}\b"),
)
RATIO_CUES = _cues(
    ("speedup", r"\bspeed-?up\b"),
)
CUES = {TIME: TIME_CUES, USD: USD_CUES}
NOUNS = {"steps", "epochs", "runs", "nodes", "gpus", "workers", "rows", "parameters"}
RATES = {"steps": "step rate", "rows": "throughput"}
PER_NOUNS = {"per step": "step", "per epoch": "epoch"}
KEYED = re.compile(
    r"\b(?P<key>per.device.train.batch.size|batch[_ ]?size|batch|max_steps|num_steps|total_steps|epochs|max_seq_len|"
    r"seq_len|sequence length|num_workers|NUM_NODES|nodes)\s?(?:[:=|]|of|is)?\s?(?P<value>\d{1,9})\b"
    r"(?![.,]?\d|\s?[-→%x])",
    re.IGNORECASE,
)
KEYS = {"batch": "batch", "max_steps": "steps", "num_steps": "steps", "total_steps": "steps", "epochs": "epochs",
        "max_seq_len": "sequence", "seq_len": "sequence", "sequence length": "sequence", "num_workers": "workers",
        "num_nodes": "nodes", "nodes": "nodes"}  # fmt: skip
INTERVAL = re.compile(r"\bstep\s?%\s?(?P<value>\d{1,7})\s?==\s?0")
CLAUSE = re.compile(r"[;()]|,\s|\s#\s|\bvs\.?\s|\binstead of\s|\brather than\s|\s=\s|\s→\s")
DENIED = re.compile(r"\b(?:instead of|rather than|not)\s*[~≈$]?\s*$", re.IGNORECASE)
ARROW = re.compile(r"→|->")
BATCH_CELL = re.compile(r"^batch(?: size)?(?!\S)(?! \d)|(?<!\S)batch(?: size)?$", re.IGNORECASE)
OF_CARD = re.compile(r"\d\s?(?:GB|GiB)?\s?(?:of|/)\s?$")
PART = re.compile(r"\b(?:adds?|added|adding|extra|more|trainable|fewer|non-embedding|active)\b", re.IGNORECASE)
FEWEST_PARAMETERS = 10_000
"""Of a model; fewer are tensors or options."""

SUPPOSED = re.compile(r"\b(?:if|e\.g\.|for example|cannot|can't|don't|never)\b", re.IGNORECASE)
WHOLE_MEMORY = re.compile(r"^(?:total|peak|memory|gpu memory|per \w+ memory)\b", re.IGNORECASE)
WHATEVER = re.compile(r"\b(?:if|e\.g\.|for example|up to|at least|at most|should be|reduce|increase)\b", re.IGNORECASE)


def claims_in(text: str, *, name: str) -> Read:
    """Every claim of the document `name`, with its place as `name:line`."""
    found: list[Claim] = []
    left_out = 0
    parts = passages(text)
    for part in parts:
        claims, unread = _claims_of(part, name)
        found += claims
        left_out += unread
    return Read(tuple(found), tuple(parts), left_out)


def _claims_of(part: Passage, name: str) -> tuple[list[Claim], int]:
    claims = list(_keyed(part, name))
    left_out = 0
    for figure in figures(part.text):
        quantity = None if _is_no_claim(part, figure) else _quantity(part, figure)
        if quantity is not None:
            claims.append(_claim(part, figure, quantity, name))
        elif figure.dimension != NONE or figure.noun:
            left_out += 1
    return claims, left_out


def _is_no_claim(part: Passage, figure: Figure) -> bool:
    """A bound, a value that was, or one of a pair with an arrow between."""
    if figure.bound and not (figure.bound == "+" and figure.dimension == BYTES):
        return True
    before = part.text[: figure.start]
    if figure.noun == "parameters" and PART.search(_clause(part.text, figure)):
        return True
    if figure.dimension == NONE and is_in_name(part.text, figure.start):
        return True
    return bool(DENIED.search(before) or SUPPOSED.search(before) or ARROW.search(part.text))


def _quantity(part: Passage, figure: Figure) -> str | None:
    """By its unit where that says it, else by the words around it."""
    if figure.noun in PER_NOUNS:
        return PER_NOUNS[figure.noun]
    if figure.dimension == RATE:
        return RATES.get(figure.noun)
    if figure.dimension == PRICE:
        return "price" if figure.timespan != "month" else None
    if figure.dimension == NONE:
        return _cued(RATIO_CUES, part, figure) if figure.noun == "x" else _counted(part, figure)
    if figure.dimension == BYTES:
        return _bytes(part, figure)
    return _cued(CUES.get(figure.dimension, ()), part, figure)


def _counted(part: Passage, figure: Figure) -> str | None:
    """What the noun says; of a cell of a table, what its row and head say."""
    if figure.noun in NOUNS:
        return figure.noun if figure.noun != "parameters" or figure.low >= FEWEST_PARAMETERS else None
    is_bare_cell = part.column > 0 and not figure.noun and figure.text == part.text and figure.low % 1 == 0
    return "batch" if is_bare_cell and BATCH_CELL.search(part.label) else None


def _cued(cues: tuple[Cue, ...], part: Passage, figure: Figure) -> str | None:
    """By the words of its own clause first, then by those of the whole line, then by its label."""
    whole = ASIDE.sub(" ", part.text)
    own = label_of(part.text)
    is_part = bool(own) and not WHOLE_MEMORY.search(own)
    for words in (_clause(part.text, figure), whole, part.label):
        for cue in cues:
            if cue.words.search(words) and not (cue.quantity == "memory" and is_part and words == part.label):
                return cue.quantity
    return None


def _bytes(part: Passage, figure: Figure) -> str | None:
    """Of a card where it is part of its name; by its words; else of weights beside their parameters, or of a need."""
    if is_in_name(part.text, figure.start) or OF_CARD.search(part.text[: figure.start]):
        return "card"
    cued = _cued(BYTES_CUES, part, figure)
    if cued:
        return cued
    clause = _clause(part.text, figure)
    before = part.text[: figure.start].rstrip("( ~≈")
    is_model_line = any(one.noun == "parameters" for one in figures(part.text))
    if re.search(r"\b(?:needs?|requires?|uses?|using)\b", clause, re.IGNORECASE) and about(part.text)[1]:
        return "memory"
    if re.search(r"\beach\b", clause) or _ends_with_device(before):
        return "card"
    return "weights" if is_model_line and clause.strip(" ~)") == figure.text.strip("~ ") else None


def _ends_with_device(before: str) -> bool:
    return any(before.endswith(device) for device in devices(before))


def _clause(text: str, figure: Figure) -> str:
    """The words between the commas, brackets and signs around a figure."""
    start = max((end for _, end in _cuts(text) if end <= figure.start), default=0)
    end = min((start for start, _ in _cuts(text) if start >= figure.end), default=len(text))
    return text[start:end]


@lru_cache(maxsize=256)
def _cuts(text: str) -> tuple[tuple[int, int], ...]:
    return tuple(match.span() for match in CLAUSE.finditer(text))


@lru_cache(maxsize=256)
def _asides(text: str) -> tuple[tuple[int, int], ...]:
    return tuple(match.span() for match in ASIDE.finditer(text))


def _claim(part: Passage, figure: Figure, quantity: str, name: str) -> Claim:
    clause = _clause(part.text, figure)
    own = about(clause)
    if quantity == "card":
        own = own._replace(device=_nearest_device(part.text, figure) or own.device)
    is_aside = _is_aside(part.text, figure)
    if is_aside:
        own = merged(own, about(_aside_start(part.text, figure), state=True))
    sure = merged(own, part.inherited._replace(variant=None) if is_aside and own.device else part.inherited)
    per = re.search(r"\bper (GPU|pod|card|machine|node)\b", clause, re.IGNORECASE)
    return Claim(
        quantity=quantity,
        low=figure.low,
        high=figure.high,
        text=figure.text.strip("(~≈ "),
        place=f"{name}:{part.line}",
        rounding=figure.rounding,
        about=sure,
        line=part.line,
        block=part.block,
        section=part.section,
        column=part.column,
        per=per[1].lower() if per and quantity == "price" else figure.timespan,
        words=part.text,
    )


def _nearest_device(text: str, figure: Figure) -> str | None:
    before = devices(text[: figure.end])
    return before[-1] if before else None


def _is_aside(text: str, figure: Figure) -> bool:
    return any(start <= figure.start < end for start, end in _asides(text))


def _aside_start(text: str, figure: Figure) -> str:
    """The words of the aside before the figure, as in `vs. current 3 s`."""
    start = max(start for start, _ in _asides(text) if start <= figure.start)
    return text[start : figure.start]


def _keyed(part: Passage, name: str) -> Iterator[Claim]:
    """`batch_size: 16`, `--max_steps 20000`, `NUM_NODES = 6`."""
    if ARROW.search(part.text):
        return
    text = part.text
    for match in KEYED.finditer(text):
        key = match["key"].lower()
        quantity = KEYS.get(key) or KEYS["batch"]
        if DENIED.search(text[: match.start()]) or WHATEVER.search(text):
            continue
        yield _plain_claim(part, quantity, float(match["value"]), match[0], name)
    for match in INTERVAL.finditer(text):
        yield _plain_claim(part, "interval", float(match["value"]), match[0], name)


def _plain_claim(part: Passage, quantity: str, value: float, text: str, name: str) -> Claim:
    return Claim(
        quantity=quantity, low=value, high=value, text=text, place=f"{name}:{part.line}", about=part.inherited,
        line=part.line, block=part.block, section=part.section, column=part.column, words=part.text,
    )  # fmt: skip
