"""`nvidia-smi --query-gpu=... --format=csv`, with or without units in the cells.

It never takes a cell that says `[N/A]` for a number.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gpuplan.observe.logs.formats import Facts, Found
from gpuplan.observe.logs.samples import MOST_DEVICES, Devices, run_of
from gpuplan.observe.logs.stream import chunks, opened
from gpuplan.observe.records import Doubts, number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuplan.observe.logs.formats import Source

__all__ = ["NvidiaSmi"]

COLUMN = re.compile(r"([a-z][\w.]*)(?: \[(.{1,10})\])?")
BYTES = {"MiB": 2**20, "GiB": 2**30, "KiB": 2**10}
NOT_KNOWN = frozenset(
    {"[N/A]", "N/A", "[Not Supported]", "[Not Found]", "[Unknown Error]", "ERR!", "", "[Insufficient Permissions]"}
)
TIMES = ("%Y/%m/%d %H:%M:%S.%f", "%Y/%m/%d %H:%M:%S")
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
        used = False
        for (name, unit), cell in zip(self._columns, cells, strict=True):
            used = self._cell(name, unit, cell) or used
        self.found.samples += used

    def _cell(self, name: str, unit: str, cell: str) -> bool:
        """Take one cell; whether it says something of a device."""
        if cell in NOT_KNOWN:
            return False
        if name == "timestamp":
            self._clock(cell)
        elif name == self._device and len(self.found.devices) < MOST_DEVICES:
            self.found.devices.add(cell[:100])
        elif name in {"name", "gpu_name"}:
            self._facts.gpu = self._facts.gpu or cell[:100]
        elif name == "utilization.gpu":
            return self._share(cell)
        elif name == "memory.used":
            return self._memory(cell, unit)
        return False

    def _share(self, cell: str) -> bool:
        figure = number(cell.removesuffix("%").strip())
        if figure is None or not self.found.busy.add(figure / 100):
            self._doubt("a utilization is not within 0 to 100 %")
            return False
        return True

    def _memory(self, cell: str, unit: str) -> bool:
        text, _, own = cell.partition(" ")
        figure, factor = number(text), BYTES.get(own or unit)
        if figure is None or factor is None or not self.found.memory(figure * factor):
            self._doubt("a size of memory that no device has")
            return False
        return True

    def _clock(self, cell: str) -> None:
        now = _time(cell)
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


def _time(text: str) -> datetime | None:
    for layout in TIMES:
        try:
            return datetime.strptime(text, layout).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None
