"""`nvidia-smi --query-gpu=... --format=csv`, with or without units in the cells; its memory is in MiB anyway.

It never takes a cell that says `[N/A]` for a number.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gpuplan.observe.logs.formats import Facts, Found
from gpuplan.observe.logs.machine import moment
from gpuplan.observe.logs.samples import Device, Devices, run_of, size_of
from gpuplan.observe.logs.stream import chunks, opened
from gpuplan.observe.records import Doubts, number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from gpuplan.observe.logs.formats import Source

__all__ = ["NvidiaSmi"]

COLUMN = re.compile(r"([a-z][\w.]*)(?: \[(.{1,10})\])?")
BYTES = {"MiB": 2**20, "GiB": 2**30, "KiB": 2**10}
NOT_KNOWN = frozenset(
    {"[N/A]", "N/A", "[Not Supported]", "[Not Found]", "[Unknown Error]", "ERR!", "", "[Insufficient Permissions]"}
)
JUMP_S = 3600.0
DEVICE = ("index", "uuid", "gpu_uuid", "pci.bus_id")


class NvidiaSmi:
    """Samples by nvidia-smi, with or without units in the cells."""

    name = "nvidia-smi"

    def fits(self, source: Source) -> bool:
        """Whether the first line names columns of nvidia-smi."""
        return bool({"utilization.gpu", "memory.used", "power.draw"} & {name for name, _ in _columns(source.head)})

    def read(self, source: Source) -> Iterator[Found]:
        """What the samples come to; raises Unreadable."""
        doubts = Doubts()
        facts = Facts(self.name, source.path)
        reader = _Samples(_columns(source.head), facts, doubts)
        with opened(source.path) as file:
            for chunk in chunks(file, source.path.name, doubts):
                for line in chunk.data.decode("utf-8", "replace").splitlines():
                    reader.take(line, whole=chunk.whole)
        yield from run_of(reader.found, facts, doubts)


def _columns(head: bytes) -> list[tuple[str, str]]:
    """The names and units of the first line; empty for what is no header of nvidia-smi."""
    first = next((line for line in head[:4096].splitlines() if line.strip()), b"").decode("utf-8", "replace")
    found = [COLUMN.fullmatch(cell.strip()) for cell in first.split(",")]
    return [(each.group(1), each.group(2) or "") for each in found if each is not None] if all(found) else []


class _Samples:
    def __init__(self, columns: Sequence[tuple[str, str]], facts: Facts, doubts: Doubts) -> None:
        self.found = Devices()
        self._columns = columns
        self._facts = facts
        self._doubts = doubts
        self._header = [name for name, _ in columns]
        self._device = next((name for name in DEVICE if name in self._header), "")
        self._last: datetime | None = None
        self._seconds = 0.0

    def take(self, line: str, *, whole: bool) -> None:
        """Take one line."""
        cells = [cell.strip() for cell in line.split(",")]
        if not line.strip() or [cell.partition(" [")[0] for cell in cells] == self._header:
            return
        if len(cells) != len(self._columns) or not whole:
            what = "a row has not the header's columns" if whole else "the last line is cut off"
            self._doubt(what)
            return
        known = dict(zip(self._header, cells, strict=True))
        device = self.found.device(known.get(self._device, "")[:100])
        used = False
        for (name, unit), cell in zip(self._columns, cells, strict=True):
            used = self._cell(device, name, unit, cell) or used
        self.found.samples += used

    def _cell(self, device: Device, name: str, unit: str, cell: str) -> bool:
        """Take one cell; whether it says something of a device."""
        if cell in NOT_KNOWN:
            return False
        if name == "timestamp":
            self._clock(cell)
        elif name in {"name", "gpu_name"}:
            self._facts.gpu = self._facts.gpu or cell[:100]
        elif name == "utilization.gpu":
            return self._share(device, cell)
        elif name == "memory.used":
            return self._memory(device, cell, unit)
        return False

    def _share(self, device: Device, cell: str) -> bool:
        figure = number(cell.removesuffix("%").strip())
        if figure is None or not device.take(figure / 100):
            self._doubt("a utilization is not within 0 to 100 %")
            return False
        return True

    def _memory(self, device: Device, cell: str, unit: str) -> bool:
        text, _, own = cell.partition(" ")
        figure, factor = number(text), BYTES.get(own or unit or "MiB")
        size = size_of(figure * factor) if figure is not None and factor is not None else None
        if size is None:
            self._doubt("a size of memory that no device has")
            return False
        device.peak_bytes = max(device.peak_bytes, size)
        return True

    def _clock(self, cell: str) -> None:
        now = moment(cell)
        if now is None:
            self._doubt("a time that cannot be read")
            return
        self._facts.taken = self._facts.taken or f"{now:%Y-%m-%d}"
        if self._last is not None:
            passed_s = (now - self._last).total_seconds()
            if passed_s < -1:
                self._doubt("the clock goes back")
            elif passed_s > JUMP_S:
                self._doubt("the clock jumps ahead by an hour or more")
            else:
                self._seconds += max(0.0, passed_s)
                self._facts.figures["duration_s"] = self._seconds or None
        self._last = now

    def _doubt(self, what: str) -> None:
        self._doubts[f"{self._facts.path.name}: {what}"] += 1
