"""Constants of runs that share one GPU, by the way they share it. It never knows a machine or a model."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal, TypeAlias

__all__ = ["Mode", "SharingMode", "sharing_mode", "sharing_modes"]

Mode: TypeAlias = Literal["time_slicing", "mps", "mig", "old"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingMode:
    """One way of sharing: its rule's constants, how wide the interval is, and what shows it."""

    name: Mode
    words: str
    contention: float
    usual: float
    low: float
    high: float
    blind_low: float
    blind_high: float
    rows: int
    source: str
    date: str


def sharing_mode(name: Mode) -> SharingMode:
    """The constants of a way of sharing."""
    return sharing_modes()[name]


@cache
def sharing_modes() -> dict[str, SharingMode]:
    """Every way of sharing by its name."""
    content = tomllib.loads(resources.files(__package__).joinpath("sharing.toml").read_text(encoding="utf-8"))
    sources: dict[str, dict[str, str]] = content["sources"]
    rows: list[dict[str, Any]] = content["mode"]
    return {row["name"]: _mode(row, sources) for row in rows}


def _mode(row: dict[str, Any], sources: dict[str, dict[str, str]]) -> SharingMode:
    source = sources[row["source"]]
    return SharingMode(**(row | {"source": source["title"], "date": source["date"]}))
