"""The dated snapshot that is shipped: prices of public lists, each row with source and date. It asks nobody.

benchmarks/make_offers.py makes data/offers.csv.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

from gpuplan.offers.base import Quote
from gpuplan.offers.believe import PriceRange

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from gpuplan.offers.base import Item

__all__ = ["Snapshot", "usual_prices"]

LARGE_CLOUDS = frozenset({"aws", "azure", "gcp", "oci", "sagemaker"})
"""Whose list prices say nothing on how cheap a market may be."""


class Snapshot(NamedTuple):
    """The shipped offers, but for places of which something newer is at hand."""

    without: Collection[str] = ()
    name: str = "the shipped snapshot"

    def items(self) -> Iterator[Item]:
        """A quote a row."""
        return (_quote(row) for row in _rows() if row["place"] not in self.without)


@cache
def usual_prices() -> dict[str, PriceRange]:
    """What a GPU-hour was seen to cost, by our name of the GPU."""
    seen: dict[str, list[dict[str, str]]] = {}
    for row in _rows():
        seen.setdefault(row["gpu"], []).append(row)
    return {gpu: _range(rows) for gpu, rows in seen.items()}


@cache
def _rows() -> tuple[dict[str, str], ...]:
    text = resources.files("gpuplan.data").joinpath("offers.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


def _quote(row: dict[str, str]) -> Quote:
    facts: dict[str, Any] = {key: value for key, value in row.items() if value and key != "gpu"}
    return Quote(row["gpu"], None, {"as_of": "", **facts, "spot": row["spot"] == "yes"})


def _range(rows: list[dict[str, str]]) -> PriceRange:
    prices = [(float(row["price_usd_per_h"]) / int(row["gpu_count"]), row["spot"] == "yes") for row in rows]
    every = [price for price, _ in prices]
    on_demand = [price for price, spot in prices if not spot] or every
    return PriceRange(min(on_demand), min(every), max(every), len({row["place"] for row in rows} - LARGE_CLOUDS))
