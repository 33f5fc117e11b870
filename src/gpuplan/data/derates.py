"""What was fitted on public step times: how GPUs stand to each other, by regime. It holds no measured row.

The nouns are those of `derates.toml` and `ratios.csv`; `benchmarks/fit_time.py` writes both files.
"""

from __future__ import annotations

import csv
import math
import tomllib
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["REGIMES", "Derate", "Longer", "Measured", "Place", "Regime", "Slope", "Tables", "shipped_tables"]

Regime = Literal["matmul", "convolution", "bandwidth", "launch"]
REGIMES: tuple[Regime, ...] = ("matmul", "convolution", "bandwidth", "launch")


class Slope(NamedTuple):
    """By how much the log of a step time changes with the log of a rate."""

    flops: float
    bandwidth: float


class Derate(NamedTuple):
    """By what factor steps on a GPU take longer than the slopes say, and from how much that is known."""

    factor: float
    rows: int = 0
    models: int = 0


class Longer(NamedTuple):
    """What measured steps take over their roofline on the anchor, and half of the 80 % interval of the step's log.

    `compute` times the seconds of operators that compute longer than they move bytes, `memory` times the others'.
    """

    compute: float
    memory: float
    log_width: float
    rows: int = 0
    models: int = 0


class Place(NamedTuple):
    """A GPU at the precision that its step really uses."""

    gpu: str
    precision: str


class Measured(NamedTuple):
    """The median over models of the step time on one place over that on another."""

    regime: str
    stack: str
    log_ratio: float
    models: int


@dataclass(frozen=True, slots=True)
class Tables:
    """All constants of a transfer from one GPU to another.

    `widths` are by regime ("" for all) and by whether the pair of GPUs was measured with other models. `slopes` and
    `derates` are added up (the latter in logs) over what applies: "" applies to all, then the regime and whether the
    precision has 16 bits, and of a GPU its precision and the regime. `longer` is what steps take over their roofline on
    the anchor.
    """

    slopes: Mapping[str, Slope]
    derates: Mapping[tuple[str, str], Derate]
    ratios: Mapping[tuple[Place, Place], tuple[Measured, ...]] = field(default_factory=dict)
    widths: Mapping[tuple[str, bool], float] = field(default_factory=dict)
    longer: Longer | None = None

    def width(self, regime: str, *, measured: bool) -> float:
        """Half of the 80 % interval of a log ratio between GPUs whose rates differ by a factor of e."""
        known = self.widths.get((regime, measured)) or self.widths.get(("", measured))
        return known or WIDEST


WIDEST = 0.45
"""Where no width was fitted: rule d of time.md, over 12,992 pairs, is off by 0.65 to 1.54."""


@cache
def shipped_tables() -> Tables:
    """The constants that are packaged with the program."""
    content = tomllib.loads(_text("derates.toml"))
    slopes = {row["of"]: Slope(row["flops"], row["bandwidth"]) for row in content["slope"]}
    derates = {(row["gpu"], row["of"]): _derate(row) for row in content["derate"]}
    widths = {(row["of"], row["measured"]): row["log_width"] for row in content["width"]}
    return Tables(slopes, derates, _ratios(), widths, Longer(**content["longer"]) if "longer" in content else None)


def _derate(row: dict[str, Any]) -> Derate:
    return Derate(row["factor"], row["rows"], row["models"])


def _ratios() -> dict[tuple[Place, Place], tuple[Measured, ...]]:
    """Each row read both ways."""
    found: dict[tuple[Place, Place], list[Measured]] = defaultdict(list)
    lines = (line for line in _text("ratios.csv").splitlines() if not line.startswith("#"))
    for row in csv.DictReader(lines):
        first, second = Place(row["gpu_a"], row["precision_a"]), Place(row["gpu_b"], row["precision_b"])
        log_ratio, models = math.log(float(row["time_b_over_a"])), int(row["models"])
        found[first, second].append(Measured(row["regime"], "", log_ratio, models))
        found[second, first].append(Measured(row["regime"], "", -log_ratio, models))
    return {places: tuple(rows) for places, rows in found.items()}


def _text(name: str) -> str:
    return resources.files("gpuplan.data").joinpath(name).read_text(encoding="utf-8")
