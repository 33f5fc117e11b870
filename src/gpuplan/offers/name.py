"""A market's GPU name and memory -> a row of data/gpus.toml. It never guesses a name that is not in the table.

The name alone is not enough: markets call cards of 40 and 80 GB alike, and sell cards with doubled memory.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data import gpu_readings, near_gpus
from gpuplan.units import GIB, MIB, format_bytes

if TYPE_CHECKING:
    from gpuplan.model import Gpu

__all__ = ["Named", "Unknown", "identify"]

GIGABYTES = re.compile(r"[\s(_-]*\b(\d{1,4})\s*G(?:i?B)?\b\)?", re.IGNORECASE)
PARTS = re.compile(r"\bMIG\b|\dg\.\d+gb", re.IGNORECASE)
LEAST_SHARE, MOST_SHARE = 0.88, 1.08
"""Of the memory that a market states, what the driver may show: GB for GiB, and what ECC takes."""
SMALLEST_BYTES, LARGEST_BYTES = 2 * GIB, 1024 * GIB
"""Of one GPU's memory; beyond, the unit was another one (RunPod's GB under MiB, Vast's MB under GB)."""


class Named(NamedTuple):
    """The row that is meant, and what was taken for granted to find it."""

    gpu: Gpu
    note: str = ""


class Unknown(NamedTuple):
    """Why no row is meant."""

    reason: str


@lru_cache(maxsize=4096)
def identify(name: str, memory_bytes: float | None, *, count: int = 1) -> Named | Unknown:
    """The accelerator that a market means by `name` with `memory_bytes` on one GPU (or on all `count` of them)."""
    readings = _readings(name)
    if not readings:
        near = near_gpus(name, limit=1)
        alike = f"; alike: {near[0]}" if near and not PARTS.search(name) else ""
        return Unknown(f"unknown GPU {name[:60]!r}{alike}")
    said = GIGABYTES.search(name)
    memory_bytes = memory_bytes or (int(said[1]) * GIB if said else None)
    if not memory_bytes:
        return Named(readings[0], _taken(readings))
    return _with_memory(readings, memory_bytes, count)


def _readings(name: str) -> tuple[Gpu, ...]:
    """Of the name as it is, else without its memory, its bridge and its slot: `H100_80GB SXM5`, `A10 PCIe`."""
    if PARTS.search(name):
        return ()
    bare = GIGABYTES.sub(" ", name.replace("_", " "))
    unbridged = re.sub(r"(?i)\bnvlink\b", "", bare)
    tried = (name, bare, unbridged, re.sub(r"(?i)\bpcie?\b", "", unbridged))
    return next((found for found in map(gpu_readings, tried) if found), ())


def _with_memory(readings: tuple[Gpu, ...], memory_bytes: float, count: int) -> Named | Unknown:
    for size_bytes, note in _sizes(memory_bytes, count):
        fitting = tuple(gpu for gpu in readings if LEAST_SHARE <= gpu.memory_bytes / size_bytes <= MOST_SHARE)
        if fitting:
            return Named(fitting[0], note or _taken(fitting))
    has = " or ".join(dict.fromkeys(format_bytes(gpu.memory_bytes) for gpu in readings))
    return Unknown(f"{readings[0].name} has {has}, the source says {format_bytes(memory_bytes)}")


def _sizes(memory_bytes: float, count: int) -> tuple[tuple[float, str], ...]:
    """The memory of one GPU in the readings that make sense, the plain one first."""
    if memory_bytes < SMALLEST_BYTES:
        mended = memory_bytes * (GIB // MIB)
        return ((mended, "GPU memory taken as GiB, stated as MiB"),)
    if memory_bytes > LARGEST_BYTES * count:
        return ((memory_bytes / (GIB // MIB), "GPU memory taken as MiB, stated as GiB"),)
    total = ((memory_bytes / count, "GPU memory taken as that of all GPUs together"),) if count > 1 else ()
    return ((memory_bytes, ""), *total)


def _taken(readings: tuple[Gpu, ...]) -> str:
    return f"taken as {readings[0].name}: the source does not say which form" if len(readings) > 1 else ""
