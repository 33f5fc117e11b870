"""How often a run is tried again, and when a plan is given up. It decides from what it is told, and does nothing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gpuplan.model import Ending

if TYPE_CHECKING:
    from gpuplan.model import RunRecord

__all__ = ["Patience"]

MOST_ATTEMPTS_LOST = 3
MOST_QUICK_RETURNS = 3
BRAKE_AFTER_ENDS = 3
SOON_S = 30.0
NOT_A_FAILURE = frozenset({"finished", "preempted", "killed"})


class Patience:
    """What was seen of the runs of one `conduct` so far."""

    def __init__(self) -> None:
        self.first_ends: list[object] = []
        self.forgiven: dict[str, int] = {}
        self.never_started: Counter[str] = Counter()
        self.quick_returns: Counter[str] = Counter()

    def forgive(self, run: str, *, losses: int) -> None:
        """Do not count attempts that were lost before the user asked again."""
        self.forgiven[run] = losses

    def spares(self, run: str) -> bool:
        """Whether an attempt is not counted that never came to start its command: gpuplan or the shim was killed."""
        self.never_started[run] += 1
        return self.never_started[run] < MOST_ATTEMPTS_LOST

    def tries_again(self, record: RunRecord, *, losses: int, was_stopping: bool) -> bool:
        """Lost runs twice; preempted ones as long as they get on; those that the gpuplan before was stopping once."""
        ending, run = record.ending or Ending(), record.run.name
        if record.state == "lost":
            return losses - self.forgiven.get(run, 0) < MOST_ATTEMPTS_LOST and ending.problem is None
        if was_stopping:
            return record.state in {"preempted", "killed"}
        if record.state != "preempted" or ending.stop_requested:
            return False
        self.quick_returns[run] = self.quick_returns[run] + 1 if _was_quick(record) else 0
        return self.quick_returns[run] < MOST_QUICK_RETURNS

    def brake(self, record: RunRecord) -> str | None:
        """A reason to start nothing more: the first runs all failed at once in the same way, so the rest would, too."""
        if len(self.first_ends) >= BRAKE_AFTER_ENDS:
            return None
        self.first_ends.append(_failure(record))
        if len(self.first_ends) < BRAKE_AFTER_ENDS or self.first_ends[0] is None or len(set(self.first_ends)) > 1:
            return None
        because = record.outcome.because if record.outcome else record.state
        return f"the first {BRAKE_AFTER_ENDS} runs all failed at once: {because}"


def _was_quick(record: RunRecord) -> bool:
    return (record.ended_at or 0.0) - (record.started_at or 0.0) < SOON_S


def _failure(record: RunRecord) -> object:
    """What failures at once have in common, or None for a run that got on."""
    if record.state in NOT_A_FAILURE or not _was_quick(record):
        return None
    ending = record.ending or Ending()
    return (record.state, ending.exit_code, ending.signal, ending.problem)
