"""What is publicly known of places that rent GPUs: billing, egress, storage, notice. Unknown is left out."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

__all__ = ["PlaceFact", "all_facts", "place_facts", "places"]


class PlaceFact(NamedTuple):
    """One fact: the value of a field of `Offer` at a place, who says so, when, and how far that was checked."""

    place: str
    name: str
    value: float
    source: str
    date: str
    checked: str


def place_facts(place: str) -> dict[str, float]:
    """The known fields of an offer at `place`; empty for a place that is not known."""
    return dict(_table().by_place.get(place, {}))


def places() -> frozenset[str]:
    """The markets that gpuplan knows prices of."""
    return _table().places


def all_facts() -> tuple[PlaceFact, ...]:
    """Every fact with its source."""
    return _table().facts


class Table(NamedTuple):
    """The facts, by place for looking up."""

    facts: tuple[PlaceFact, ...]
    by_place: dict[str, dict[str, float]]
    places: frozenset[str]


@cache
def _table() -> Table:
    text = resources.files(__package__).joinpath("places.toml").read_text(encoding="utf-8")
    content: dict[str, Any] = tomllib.loads(text)
    facts = tuple(PlaceFact(**row) for row in content["fact"])
    by_place: dict[str, dict[str, float]] = {}
    for fact in facts:
        by_place.setdefault(fact.place, {})[fact.name] = fact.value
    return Table(facts, by_place, frozenset(by_place) | frozenset(content["places"]["known"]))
