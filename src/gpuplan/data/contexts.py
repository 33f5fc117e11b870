"""What a process holds on a GPU before its first tensor, by compute capability and torch. It never asks a GPU."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import NamedTuple

from gpuplan.units import GIB

__all__ = ["Context", "context_for"]


class Context(NamedTuple):
    """Bytes: the least and the most reported, and the usual; with its source."""

    low: float
    middle: float
    high: float
    source: str


def context_for(capability: str, *, torch: str = "", without: frozenset[str] = frozenset()) -> Context:
    """That of a compute capability such as `8.0` under a version of torch, or under one that nobody knows.

    `without` names measured rows; what only they show is not used.
    """
    known = [row for row in _rows() if not row.evidence or not row.evidence <= without]
    named = [row for row in known if any(start and capability.startswith(start) for start in row.capabilities)]
    fitting = named or [row for row in known if "" in row.capabilities]
    reached = [row for row in fitting if torch and row.torch and _parts(torch) >= _parts(row.torch)]
    undated = [row for row in fitting if not row.torch]
    return (reached or undated or fitting)[-1].context


class _Row(NamedTuple):
    capabilities: tuple[str, ...]
    torch: str
    evidence: frozenset[str]
    context: Context


@cache
def _rows() -> tuple[_Row, ...]:
    content = tomllib.loads(resources.files(__package__).joinpath("contexts.toml").read_text(encoding="utf-8"))
    return tuple(
        _Row(
            tuple(row["capabilities"]),
            row["torch"],
            frozenset(row.get("evidence", ())),
            Context(GIB * row["low"], GIB * row["middle"], GIB * row["high"], f"{row['source']}, {row['date']}"),
        )
        for row in content["context"]
    )


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
