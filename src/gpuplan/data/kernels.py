"""What the kernels of a training step keep in memory, by their names in kernels.toml. It never measures one."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

__all__ = ["Kernel", "Kind", "kernel", "kernels"]

Kind = Literal["loss", "norm", "adapter", "attention", "feedforward"]
UNITS = ("forward", "backward", "cached", "hidden", "input", "weight", "saves", "scores_16", "scores_amp",
         "scores_32", "gated")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One entry: what it keeps, in the units of its kind, since when, and what shows it."""

    kind: str
    name: str
    about: str
    source: str
    status: Literal["measured", "code", "assumed"]
    evidence: tuple[str, ...]
    since: str = ""
    until: str = ""
    fallback: str = ""
    copies: Literal["each", "once", "shared"] = "each"
    forward: float = 0.0
    backward: float = 0.0
    cached: float = 0.0
    hidden: float = 0.0
    input: float = 0.0
    weight: float = 0.0
    saves: float = 0.0
    scores_16: float = 0.0
    scores_amp: float = 0.0
    scores_32: float = 0.0
    gated: float = 0.0


def kernel(kind: Kind, name: str) -> Kernel:
    """The entry of that kind and name; a KeyError is a mistake in this program, not the user's."""
    return kernels()[kind, name]


@cache
def kernels() -> dict[tuple[str, str], Kernel]:
    """Every entry by its kind and name."""
    content = tomllib.loads(resources.files(__package__).joinpath("kernels.toml").read_text(encoding="utf-8"))
    sources: dict[str, str] = content.pop("sources")
    return {
        (kind, name): _kernel(kind, name, row, sources)
        for kind, entries in content.items()
        for name, row in entries.items()
    }


def _kernel(kind: str, name: str, row: dict[str, Any], sources: dict[str, str]) -> Kernel:
    numbers: dict[str, Any] = {key: float(row[key]) for key in UNITS if key in row}
    texts = {key: row[key] for key in ("about", "status", "since", "until", "copies", "fallback") if key in row}
    evidence = tuple(row["evidence"])
    return Kernel(kind=kind, name=name, source=sources[row["source"]], evidence=evidence, **numbers, **texts)
