"""Dimensions of the workloads of public benchmark tables that are no plain transformers. It computes nothing."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib import resources
from typing import Any, Literal, NamedTuple

__all__ = ["WorkloadFacts", "find_workload", "workloads"]

PREFIXES = ("pytorch", "tf", "nvidia", "mlperf")


class WorkloadFacts(NamedTuple):
    """One row: what all rows have, and the dimensions that its family reads."""

    name: str
    family: str
    optimizer: Literal["sgd_momentum", "adam"]
    dimensions: dict[str, Any]
    image: int = 0
    sequence: int = 0
    parameters: int = 0
    gmacs: float = 0.0
    kernel_overhead_us: float = 0.0
    source: str = ""


def workloads() -> dict[str, WorkloadFacts]:
    """Every row of workloads.toml by its name."""
    return dict(_table().workloads)


def find_workload(name: str) -> WorkloadFacts | None:
    """The workload that `name` means: `PyTorch_resnet50`, `SSD_AMP` and `ssd` are names too."""
    words = [word for word in re.findall(r"[a-z0-9.]+", name.lower()[:200]) if word not in PREFIXES]
    readings = _table().readings
    for count in range(len(words), 0, -1):
        found = readings.get("".join(words[:count]))
        if found is not None:
            return _table().workloads[found]
    return None


class _Table(NamedTuple):
    workloads: dict[str, WorkloadFacts]
    readings: dict[str, str]


@cache
def _table() -> _Table:
    content = tomllib.loads(resources.files(__package__).joinpath("workloads.toml").read_text(encoding="utf-8"))
    rows: list[dict[str, Any]] = content["workload"]
    readings = {_key(name): row["name"] for row in rows for name in (row["name"], *row.get("aliases", ()))}
    return _Table({row["name"]: _facts(row, content["sources"]) for row in rows}, readings)


def _facts(row: dict[str, Any], sources: dict[str, Any]) -> WorkloadFacts:
    source = sources[row["source"]]
    common = {name: row[name] for name in WorkloadFacts._fields if name in row and name != "source"}
    others = {name: value for name, value in row.items() if name not in {*WorkloadFacts._fields, "aliases"}}
    return WorkloadFacts(**common, dimensions=others, source=f"{source['title']}, {source['date']}")


def _key(name: str) -> str:
    return "".join(re.findall(r"[a-z0-9.]+", name.lower()))
