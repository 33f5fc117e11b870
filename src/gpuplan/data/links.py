"""Constants of links between ranks: how fast an all-reduce is over each class. It never knows a machine or a model."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal, NamedTuple

__all__ = ["Link", "Spread", "link", "links", "spread"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One class of links: what a step on n ranks costs more than one on a single rank.

    t(n) = t(1) x (1 + overhead x log2 n) + buckets x latency + 2 (n-1)/n x bytes / (bandwidth x (n/2)^-falls), and
    t(1) x (1 + slowdown x log2 n) where the bytes are not known. The bandwidth is effective: what the overlap with
    the backward pass hides is in it.
    """

    name: str
    words: str
    bandwidth_bytes_per_s: float
    falls: float
    overhead: float
    slowdown: float
    latency_s: float
    rows: int
    models: int
    status: Literal["fitted", "nominal", "measured"]
    source: str
    date: str

    def bandwidth_at(self, ranks: int) -> float:
        """Effective bytes a second of an all-reduce among `ranks`; it falls where more share a switch or a socket."""
        fallen: float = (max(ranks, 2) / 2) ** -self.falls
        return self.bandwidth_bytes_per_s * fallen


class Spread(NamedTuple):
    """How far measured over predicted step times reach: quantiles of their logarithm, by the extra share of time."""

    low: float
    low_slope: float
    high: float
    high_slope: float
    most: float


def link(name: str) -> Link:
    """The class of that name; a KeyError is a mistake in this program, not the user's."""
    return links()[name]


def links() -> dict[str, Link]:
    """Every class by its name."""
    return dict(_table().links)


def spread(*, blind: bool = False) -> Spread:
    """The 80 % interval around a predicted step time, as fitted on models that were left out.

    `blind`: the bytes that the ranks exchange, or the seconds of a step, were not known.
    """
    return _table().blind if blind else _table().known


class _Table(NamedTuple):
    links: dict[str, Link]
    known: Spread
    blind: Spread


@cache
def _table() -> _Table:
    content = tomllib.loads(resources.files(__package__).joinpath("links.toml").read_text(encoding="utf-8"))
    sources: dict[str, dict[str, str]] = content["sources"]
    rows: list[dict[str, Any]] = content["link"]
    spreads = {name: Spread(**values) for name, values in content["spread"].items()}
    return _Table({row["name"]: _link(row, sources) for row in rows}, spreads["known"], spreads["blind"])


def _link(row: dict[str, Any], sources: dict[str, dict[str, str]]) -> Link:
    source = sources[row["source"]]
    return Link(**(row | {"source": source["title"], "date": source["date"]}))
