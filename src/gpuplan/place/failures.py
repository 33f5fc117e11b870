"""How many attempts are assumed to fail: as many as of this experiment's runs so far. It plays nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.model import Assumption

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuplan.model import World

__all__ = ["Failures", "failures_of", "repeats_words"]

ENDED_BADLY = frozenset({"oom_device", "oom_host", "diverged", "timed_out", "killed", "crashed", "lost"})
MOST_FAILED = 0.5
"""What fails more often than not is not chance, and no repeat will mend it."""
MANY = 10
"""Repeats from which on none is said in parts."""
UNKNOWN = Assumption(
    text="no attempt is assumed to fail, and no repeat is in an interval",
    change="history: applied runs of this experiment count",
)


class Failures(NamedTuple):
    """The share of all attempts that is assumed to end badly, at a random moment, and why."""

    share: float
    assumption: Assumption

    def repeats(self, runs: int) -> float:
        """How many attempts more than runs are to be expected, each run repeated until it ends well."""
        return runs * self.share / (1 - self.share)

    def assumed_of(self, runs: int) -> Assumption:
        """What is assumed, with the repeats that so many runs are to be expected to take."""
        if not self.share:
            return self.assumption
        number = repeats_words(self.repeats(runs))
        expected = f"{number} in {runs:,} runs, in cost and time, but not in the schedule (`--schedule`)"
        return self.assumption.model_copy(update={"text": f"{self.assumption.text}; {expected}"})


def failures_of(world: World) -> Failures:
    """What this experiment's runs say that have ended; where none has, nothing fails."""
    bad, ended = _counted(past.state for past in world.history)
    if not ended:
        return Failures(0.0, UNKNOWN)
    seen = f"{bad:,} of {ended:,} runs of this experiment ended badly"
    if not bad:
        return Failures(0.0, Assumption(text=f"no attempt is assumed to fail, and no repeat is in an interval: {seen}"))
    share = min(bad / ended, MOST_FAILED)
    most = ", the most that is reckoned with" if share < bad / ended else ""
    text = f"{100 * share:.2g}% of all attempts are assumed to fail at a random moment and to begin again{most}: {seen}"
    return Failures(share, Assumption(text=text, change="applied runs count"))


def repeats_words(number: float) -> str:
    """`about 1.3 repeats`."""
    return f"about {f'{number:,.0f}' if number >= MANY else f'{number:.2g}'} repeats"


def _counted(states: Iterable[str]) -> tuple[int, int]:
    """How many runs ended badly, and how many ended."""
    ended = [state in ENDED_BADLY for state in states if state in ENDED_BADLY or state == "finished"]
    return sum(ended), len(ended)
