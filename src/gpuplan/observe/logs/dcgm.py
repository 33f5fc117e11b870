"""`dcgmi dmon`: rows of a device's fields under a header of short names.

It never takes a row whose cells do not stand under the header.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gpuplan.observe.logs.formats import Facts, Found
from gpuplan.observe.logs.samples import Devices, run_of, size_of
from gpuplan.observe.logs.stream import chunks, opened
from gpuplan.observe.records import Doubts, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.observe.logs.formats import Source

__all__ = ["Dcgm"]

ENTITY = re.compile(rb"^ *GPU(?:-I)? (\d{1,4})\s+(.*)", re.MULTILINE)
HEADER = re.compile(rb"^# *Entity\b(.*)", re.MULTILINE)
SHARES = ("GPUTL", "GRACT")


class Dcgm:
    """Samples by `dcgmi dmon`."""

    name = "dcgm"

    def fits(self, source: Source) -> bool:
        """Whether its header and a device are there."""
        return bool(HEADER.search(source.head) and ENTITY.search(source.head))

    def read(self, source: Source) -> Iterator[Found]:
        """What the samples come to; raises Unreadable."""
        doubts, found = Doubts(), Devices()
        facts = Facts(self.name, source.path)
        header = HEADER.search(source.head)
        names = header.group(1).decode("utf-8", "replace").split() if header else []
        with opened(source.path) as file:
            for chunk in chunks(file, source.path.name, doubts):
                for entity, rest in ENTITY.findall(chunk.data):
                    cells = rest.decode("utf-8", "replace").split()
                    if len(cells) == len(names) and chunk.whole:
                        _sample(found, entity.decode(), dict(zip(names, cells, strict=True)), facts, doubts)
                    else:
                        doubts[f"{source.path.name}: a row has not the header's columns"] += 1
        yield from run_of(found, facts, doubts)


def _sample(found: Devices, name: str, cells: dict[str, str], facts: Facts, doubts: Doubts) -> None:
    """One row: GPUTL in percent or GRACT as a share, FBUSD in MiB."""
    device = found.device(name)
    share = next((each for each in SHARES if number(cells.get(each, "")) is not None), None)
    used = False
    if share is not None:
        figure = number(cells[share]) or 0.0
        used = device.take(figure / 100 if share == "GPUTL" else figure)
        if not used:
            doubts[f"{facts.path.name}: {share} is no share"] += 1
    memory = number(cells.get("FBUSD", ""))
    size = size_of(memory * 2**20) if memory is not None else None
    if size is not None:
        device.peak_bytes = max(device.peak_bytes, size)
    found.samples += used or size is not None
