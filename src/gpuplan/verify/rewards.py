"""Do rewards carry a signal? Of logs, and of data that runs read. It knows no task and no reward function.

Where all answers to a question get one reward, their advantages are zero and a policy gradient changes nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gpuplan.units import format_number
from gpuplan.verify.logged import about

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.model import Finding, LoggedRun
    from gpuplan.verify.case import Case

__all__ = ["empty_rewards", "flat_rewards", "is_reward"]

REWARD = re.compile(r"(?:[\w/.]*[/._])?rewards?(?:[/._](?:mean|total|sum|my|per_round|all))*")
OF_A_PART = re.compile(r"format|length|penalty|bonus|min|max|median|std|zero|kl|rank")
SPREAD = re.compile(r"(?:[\w/.]*[/._])?rewards?[/._]std(?:[/._]mean)?")
"""Inside a group; `std_reward` is often over agents."""

OF_SAMPLING = re.compile(r"completions?(?:[/_](?:mean_)?length)+|num_generations|advantages?(?:[/_](?:mean|std))?")
"""What a log has where answers were drawn and rewarded."""

ENOUGH = 5
"""Steps; of fewer, all may fail by chance."""

GATE = "run ten rounds first and look at the answers: does any of them parse, and do rewards differ inside a group?"


def is_reward(name: str) -> bool:
    """Whether a column of this name holds rewards: `reward`, `train/rewards`, `mean_reward`; not `format_reward`."""
    name = name.strip().lower()
    return REWARD.fullmatch(name) is not None and OF_A_PART.search(name) is None


def flat_rewards(log: LoggedRun) -> Iterator[Finding]:
    """A log whose rewards never differ inside a group, or never rise above zero: nothing was learned from them."""
    if log.measurement.steps < ENOUGH:
        return
    last, best = log.measurement.final, log.measurement.best
    spreads = [name for name in best if SPREAD.fullmatch(name.lower())]
    flat = [name for name in spreads if best[name] == 0]
    zero = [name for name in best if is_reward(name) and best[name] == 0 and last.get(name) == 0]
    steps = f"{log.measurement.steps:,} steps"
    sampled = [name for name in last if OF_SAMPLING.fullmatch(name.lower())]
    if flat and len(flat) == len(spreads):
        yield about(
            log,
            "error",
            "no-reward-signal",
            message=f"{flat[0]} is 0 in all of {steps}: every answer of a group gets the same reward",
            because=f"equal rewards mean advantages of 0{_rewards(last)}; the optimizer has nothing to follow",
            fix=GATE,
        )
    elif zero and not spreads:
        yield about(
            log,
            "warning",
            "no-reward-signal",
            message=f"{zero[0]} ends at 0 and is never above it in {steps}",
            because="rewards of 0 alone mean advantages of 0, unless rewards are penalties and 0 is the best there is",
            fix=GATE,
        )
    elif sampled and not any("reward" in name.lower() or "score" in name.lower() for name in last):
        yield about(
            log,
            "note",
            "reward-missing",
            message=f"it has {sampled[0]} and no reward",
            because="whether answers earn different rewards decides whether anything is learned",
            fix="log the mean of the rewards, and their spread inside a group",
        )


def empty_rewards(case: Case) -> Iterator[Finding]:
    """A column of rewards in an input that is empty, or zero, in every row."""
    for source in case.sources("table"):
        position = next(each.position for each in case.inputs if each.path == source.path)
        for name, counts in source.content.items():
            useless = counts.get("empty", 0) + counts.get("zero", 0)
            if useless == counts["rows"] >= ENOUGH:
                yield case.finding(
                    "warning",
                    "rewards-empty",
                    message=f"{name} of {source.path} is {_what(counts)} in all {counts['rows']:,} rows",
                    because="equal rewards mean advantages of 0: nothing can be learned from them",
                    fix="look at the reward function, or leave the column out if no run reads it",
                    at=f"inputs.{position}.path",
                )


def _what(counts: dict[str, int]) -> str:
    empty, zero = counts.get("empty", 0), counts.get("zero", 0)
    return "empty" if not zero else "0" if not empty else f"empty ({empty:,}) or 0 ({zero:,})"


def _rewards(last: dict[str, float]) -> str:
    named = [f"{name} {format_number(value)}" for name, value in last.items() if is_reward(name)]
    return f" ({named[0]} at the end)" if named else ""
