"""Which device, model, number of GPUs and state of affairs some words are about. It never guesses between two."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from gpuplan.data import find_gpu
from gpuplan.data.models import find_model
from gpuplan.data.models import models as known_models
from gpuplan.verify.claims.claim import About

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["about", "devices", "is_in_name", "merged", "models", "parameters_of"]

Label = TypeVar("Label")

DEVICE = re.compile(
    r"\bMac(?:Book)?(?:\s+(?:Mini|Studio|Pro))*(?:\s+M\d)?\b"
    r"|\b(?:RTX|GTX)\s?(?:PRO\s)?\d{4}(?:\s?(?:Ti|Super|SUPER|Ada))*(?:\s\d{2,3}\s?GB)?"
    r"|\b(?:A|H|B|L|T|V|P|K)\d{1,4}S?(?:\s(?:SXM|PCIe|NVL))?(?:\s\d{2,3}\s?GB)?\b"
)
MODEL = re.compile(r"[A-Za-z][\w./-]{2,80}")
SIZE = re.compile(r"(?<![\w.])(\d{1,4}(?:\.\d{1,2})?)\s?B\b(?!/|\s*-\s*\d)")
CARDS = re.compile(r"(?<![\w.,-])(\d{1,4})[\s-]GPUs?\b|\b(single)[\s-]GPU\b", re.IGNORECASE)
VARIANTS = {
    "before": r"current|original|before|baseline|previous|initial|old|underutilized|today",
    "after": r"after|scaled|optimi[sz]ed|improved?|expected|target|new|proposed|planned|recommended|success criteria|"
    r"alternative",
    "measured": r"actual|measured|observed|reality",
}  # fmt: skip
VARIANT = {name: re.compile(rf"\b(?:{words})\b", re.IGNORECASE) for name, words in VARIANTS.items()}


def about(text: str, *, state: bool = False) -> About:
    """What the words name, where they name one; `state`: also whether they speak of before, after or as measured."""
    cards = {int(match[1] or 1) for match in CARDS.finditer(text)}
    variants = [name for name, pattern in VARIANT.items() if pattern.search(text)] if state else []
    return About(_only(devices(text)), _only(models(text)), _only(list(cards)), _only(variants))


@lru_cache(maxsize=256)
def devices(text: str) -> tuple[str, ...]:
    """Devices by their names, each once; a name that no accelerator has is none."""
    found = (" ".join(match[0].split()) for match in DEVICE.finditer(text))
    named = (re.sub(r"(\d) GB$", r"\1GB", name) for name in found)
    return tuple(dict.fromkeys(name for name in named if name.startswith("Mac") or find_gpu(name)))


def is_in_name(text: str, position: int) -> bool:
    """Whether the character at `position` belongs to the name of a device: the 4090 of `RTX 4090`."""
    return any(start <= position < end for start, end in _name_spans(text))


@lru_cache(maxsize=256)
def _name_spans(text: str) -> tuple[tuple[int, int], ...]:
    return tuple(match.span() for match in DEVICE.finditer(text) if find_gpu(match[0]))


def models(text: str) -> list[str]:
    """Models by gpuplan's own names, or by their size alone; each once."""
    named: dict[str, None] = {}
    for match in MODEL.finditer(text):
        word = match[0].rstrip(".-/")
        found = find_model(word) if any(char.isdigit() or char == "-" for char in word) else None
        if found is not None:
            named[found.name] = None
    sizes = [f"{match[1]}B" for match in SIZE.finditer(text)]
    return list(named) or list(dict.fromkeys(sizes))


def parameters_of(model: str) -> float:
    """Parameters behind a label, `1B` or a known name; 0 where neither says them."""
    facts = known_models().get(model)
    if facts is not None:
        return float(facts.parameters)
    return float(model[:-1]) * 1e9 if model.endswith("B") else 0.0


def merged(*nearest_first: About) -> About:
    """Each label from the nearest words that have it."""
    columns = zip(*nearest_first, strict=True)
    return About(*(next((value for value in values if value is not None), None) for values in columns))


def _only(found: Sequence[Label]) -> Label | None:
    return found[0] if len(found) == 1 else None
