"""What samples of devices over time come to, whichever program took them.

A peak between two samples is not in them, which the notes say; a sample never tells of steps. Whoever samples a whole
machine samples idle devices too, and time before and after the run: neither counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from gpuplan.observe.logs.formats import Facts, Found, Refusal
from gpuplan.observe.logs.machine import Shares
from gpuplan.observe.logs.memory import plausible_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.observe.records import Doubts

__all__ = ["Device", "Devices", "run_of", "size_of"]

MOST_DEVICES = 256
MOST_BYTES = 2**41
IDLE_SHARE = 0.05
IDLE_MEMORY = 0.1
"""Of the memory of the fullest device: what one has that only its driver uses."""


@dataclass(slots=True)
class Device:
    """What the samples of one device come to. What it idled before its first work, and after its last, is apart."""

    busy: Shares = field(default_factory=Shares)
    peak_bytes: int = 0
    most: float = 0.0
    """The largest share of time that it was busy."""
    idle_around: int = 0
    _idle: int = 0

    def take(self, share: float) -> bool:
        """Take one figure of how busy it was, 0 to 1; false for what is none."""
        if share == 0:
            self._idle += 1
            return True
        if not self.busy.add(share):
            return False
        if self.most == 0:
            self.idle_around, self._idle = self._idle, 0
        self.most = max(self.most, share)
        self.busy.count += self._idle
        self._idle = 0
        return True

    def end(self) -> None:
        """No sample follows: what it idled last belongs to no work."""
        if self.most == 0:
            self.busy.count += self._idle
        else:
            self.idle_around += self._idle
        self._idle = 0


@dataclass(slots=True)
class Devices:
    """What the samples come to, all devices together."""

    by_name: dict[str, Device] = field(default_factory=dict)
    samples: int = 0

    def device(self, name: str) -> Device:
        """The device of this name; of very many the last is of all others."""
        if name not in self.by_name and len(self.by_name) >= MOST_DEVICES:
            return next(reversed(self.by_name.values()))
        return self.by_name.setdefault(name, Device())

    def into(self, facts: Facts) -> None:
        """What they say of a run: of the devices that did something, where one did."""
        for device in self.by_name.values():
            device.end()
        used = self._used()
        shares = [mean for device in used.values() if (mean := device.busy.mean()) is not None]
        facts.figures["device_busy"] = fmean(shares) if shares else None
        peak_bytes = max((device.peak_bytes for device in used.values()), default=0)
        if plausible_bytes(peak_bytes):
            facts.figures["peak_device_bytes"] = peak_bytes
        facts.notes.append(f"{self.samples} samples of devices; a peak between two of them is not in them")
        unused = [name for name in self.by_name if name not in used]
        if unused:
            facts.notes.append(
                f"of no work and hardly any memory, so not of this run: device {', '.join(unused)[:200]}"
            )
        idle = sum(device.idle_around for device in used.values())
        if idle:
            facts.notes.append(f"{idle} samples at 0 % before the first work and after the last are left out")
        facts.ranks = len([name for name in used if name]) or None

    def _used(self) -> dict[str, Device]:
        most = max((device.peak_bytes for device in self.by_name.values()), default=0)
        used = {
            name: device
            for name, device in self.by_name.items()
            if device.most > IDLE_SHARE or device.peak_bytes > IDLE_MEMORY * most
        }
        works = any(device.most > IDLE_SHARE for device in used.values())
        return used if works else self.by_name


def size_of(figure: float) -> int | None:
    """Bytes of memory in use; None for what no device has."""
    return int(figure) if 0 <= figure < MOST_BYTES else None


def run_of(found: Devices, facts: Facts, doubts: Doubts) -> Iterator[Found]:
    """What the samples say, as a run, or why they say nothing."""
    if not found.samples:
        yield Refusal(str(facts.path), "no sample in it that can be read")
        return
    found.into(facts)
    yield facts.run(doubts)
