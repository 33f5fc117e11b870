"""Peaks of memory among the named values of a log: which of the three memories, and in which unit.

A value whose unit the name does not say is taken only where its size leaves no other; it never guesses between GB
and MiB.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gpuplan.observe.records import Doubts
    from gpuplan.observe.values import Values

__all__ = ["Memory", "peaks", "plausible_bytes"]

UNITS = {
    "gib": 2**30,
    "gb": 10**9,
    "mib": 2**20,
    "mb": 10**6,
    "megabytes": 10**6,
    "kib": 2**10,
    "kb": 10**3,
    "bytes": 1,
}
UNIT = re.compile(r"(?:^|[^a-z])(gib|gb|mib|mb|megabytes|kib|kb|bytes)(?:$|[^a-z])")
OF_A_DEVICE = re.compile(r"mem|vram")
NOT_A_SIZE = re.compile(r"cpu|host|ram_|_ram$|rss|percent|%|frac|util|delta|total|free|disk|power|temp|clock")
OWN_UNITS = {"torchtune": "gib"}
"""Formats whose program always counts memory in one unit."""
LEAST_BYTES, MOST_BYTES = 2**20, 2**41
SURELY_BYTES = 2**27


class Memory(NamedTuple):
    """Sizes in bytes by field of a measurement, and how they were taken."""

    sizes: dict[str, int]
    notes: tuple[str, ...] = ()


def peaks(values: Values, log_format: str, name: str, doubts: Doubts) -> Memory:
    """The largest size of each kind of device memory among the values of the file `name`."""
    sizes: dict[str, int] = {}
    notes: list[str] = []
    for column, value in values.by_name.items():
        if not OF_A_DEVICE.search(column) or NOT_A_SIZE.search(column) or value.best is None:
            continue
        unit = _unit(column, value.best, log_format)
        if unit is None:
            notes.append(f"{column} has no unit and is left out")
            continue
        size = value.best * UNITS[unit]
        if not plausible_bytes(size):
            doubts[f"{name}: {column} would be {size / 2**30:.3g} GiB, which no device has; left out"] += 1
            continue
        if unit == "gb":
            notes.append(f"{column} is taken as 10^9 bytes; a program that means GiB used 7 % more")
        kind = _kind(column)
        sizes[kind] = max(int(size), sizes.get(kind, 0))
    return Memory(sizes, tuple(notes))


def plausible_bytes(size: float) -> bool:
    """Whether a device or a process may have used so much."""
    return LEAST_BYTES <= size <= MOST_BYTES


def _unit(column: str, largest: float, log_format: str) -> str | None:
    named = UNIT.search(column)
    if named is not None:
        return named.group(1)
    return OWN_UNITS.get(log_format) or ("bytes" if largest >= SURELY_BYTES else None)


def _kind(column: str) -> str:
    """Which memory: what tensors hold, what the framework keeps, or what the device shows."""
    if "reserved" in column or "cached" in column:
        return "peak_reserved_bytes"
    if "alloc" in column or "active" in column:
        return "peak_allocated_bytes"
    return "peak_device_bytes"
