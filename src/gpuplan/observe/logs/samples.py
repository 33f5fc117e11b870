"""What samples of devices over time come to, whichever program took them.

A peak between two samples is not in them, which the notes say; a sample never tells of steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gpuplan.observe.logs.formats import Facts, Found, Refusal
from gpuplan.observe.logs.machine import Shares
from gpuplan.observe.logs.memory import plausible_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.observe.records import Doubts

__all__ = ["MOST_DEVICES", "Devices", "run_of"]

MOST_DEVICES = 256


@dataclass(slots=True)
class Devices:
    """What the samples come to, all devices together."""

    busy: Shares = field(default_factory=Shares)
    peak_bytes: int = 0
    devices: set[str] = field(default_factory=set)
    samples: int = 0

    def memory(self, size: float) -> bool:
        """Take one figure of memory in use; false for what no device has."""
        if size == 0:
            return True
        if not 0 < size < 2**41:
            return False
        self.peak_bytes = max(self.peak_bytes, int(size))
        return True

    def into(self, facts: Facts) -> None:
        """What they say of a run."""
        facts.figures["device_busy"] = self.busy.mean()
        if plausible_bytes(self.peak_bytes):
            facts.figures["peak_device_bytes"] = self.peak_bytes
        facts.notes.append(f"{self.samples} samples of devices; a peak between two of them is not in them")
        facts.ranks = len(self.devices) or None


def run_of(found: Devices, facts: Facts, doubts: Doubts) -> Iterator[Found]:
    """What the samples say, as a run, or why they say nothing."""
    if not found.samples:
        yield Refusal(str(facts.path), "no sample in it that can be read")
        return
    found.into(facts)
    yield facts.run(doubts)
