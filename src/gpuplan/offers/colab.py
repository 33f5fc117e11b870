"""Google Colab: what its compute units make of an hour on each GPU, and its plans. Nothing there is promised."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

from gpuplan.offers.base import Quote
from gpuplan.units import GIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.offers.base import Item

__all__ = ["Colab", "Plan", "plans"]


class Plan(NamedTuple):
    """What one can buy there: compute units for dollars, once or every month."""

    name: str
    usd: float
    units: float
    monthly: bool
    background: bool
    """Whether a session goes on with the browser closed."""


class Colab(NamedTuple):
    """One session on each GPU, at the price of its units, pay as you go."""

    name: str = "colab"

    def items(self) -> Iterator[Item]:
        """A quote a GPU."""
        content = _table()
        return (_quote(row, content["unit"]) for row in content["gpu"])


def plans() -> tuple[Plan, ...]:
    """Pay as you go, and the subscription."""
    return tuple(Plan(**row) for row in _table()["plan"])


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(resources.files("gpuplan.data").joinpath("colab.toml").read_text(encoding="utf-8"))


def _quote(row: dict[str, Any], unit: dict[str, Any]) -> Quote:
    units = row["units_per_h"]
    facts = {
        "id": f"colab/{row['name']}-{row['memory_gib']:g}",
        "place": "colab",
        "gpu_count": 1,
        "price_usd_per_h": round(units * unit["usd"], 4),
        "available": 1,
        "spot": False,
        "as_of": row["date"],
        "source": row["source"],
        "notes": f"{units:g} units/h at {unit['usd']:g} USD; which GPU one gets is not promised: {row['expect']}",
    }
    return Quote(row["name"], row["memory_gib"] * GIB, facts)
