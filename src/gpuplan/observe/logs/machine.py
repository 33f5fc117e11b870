"""What logs of a machine or a scheduler have in common: means of shares, sizes and times as Slurm writes them.

It never takes a share outside 0 to 1, or a size that no machine has.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime

__all__ = ["Shares", "moment", "slurm_bytes", "slurm_seconds"]

SIZE = re.compile(r"([\d.]{1,20}) ?([KMGTP]?)i?B?", re.IGNORECASE)
TIME = re.compile(r"(?:(\d{1,5})-)?(?:(\d{1,6}):)?(\d{1,4}):(\d{1,2}(?:\.\d{1,6})?)")
DATE = re.compile(r"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d.{0,24}")
POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}
MOST_BYTES = 2**50


@dataclass(slots=True)
class Shares:
    """The mean of shares of time."""

    count: int = 0
    total: float = 0.0

    def add(self, share: float) -> bool:
        """Take one; false for what is no share."""
        if not (math.isfinite(share) and 0 <= share <= 1.0):
            return False
        self.count += 1
        self.total += share
        return True

    def mean(self) -> float | None:
        """Of those taken."""
        return self.total / self.count if self.count else None


def slurm_bytes(text: str) -> int | None:
    """Bytes of `12.5G`, `340 MB` or `1024K`, in powers of 1024 as Slurm's tools count them; None for anything else."""
    found = SIZE.fullmatch(text.strip())
    if found is None or found.group(1).count(".") > 1 or found.group(1) == ".":
        return None
    size = float(found.group(1)) * 1024 ** POWERS[found.group(2).upper()]
    return int(size) if size <= MOST_BYTES else None


def slurm_seconds(text: str) -> float | None:
    """Seconds of `1-02:03:04`, `02:03:04` or `03:04.567`; None for anything else."""
    found = TIME.fullmatch(text.strip())
    if found is None:
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def moment(text: str) -> datetime | None:
    """A date with a time, as `2026-02-03T10:00:00Z` or `2026/02/03 10:00:00.123`, in UTC if it names no zone."""
    if DATE.fullmatch(text) is None:
        return None
    try:
        found = datetime.fromisoformat(text.replace("/", "-"))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
