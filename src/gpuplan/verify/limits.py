"""Checks of limits, of checkpoint intervals, and of what can be planned but not run yet. It never ends a run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.units import format_duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.model import Finding, Run
    from gpuplan.verify.case import Case

__all__ = ["Interval", "checkpoint_interval", "not_built", "parse_interval", "run_limit"]

STEPS_OR_EPOCHS = re.compile(r"\s*(\d{1,12})\s*(step|epoch)s?\s*")


class Interval(NamedTuple):
    """How often a checkpoint is written; `unit` is step, epoch or second."""

    amount: float
    unit: str


def run_limit(case: Case) -> Iterator[Finding]:
    """A limit that a run needs longer than: at p50 an error, at p90 a warning."""
    limit_s = case.experiment.limits.run
    if limit_s is None:
        return
    late: dict[tuple[bool, str], list[Run]] = {}
    for run in case.todo:
        durations = [estimate.duration_s for estimate in case.estimates.get(run.name, ())]
        fastest = min(durations, key=lambda duration: duration.p50, default=None)
        if fastest is not None and fastest.p90 > limit_s:
            needs = f"{format_duration(fastest.p50)}, up to {format_duration(fastest.p90)}"
            late.setdefault((fastest.p50 > limit_s, needs), []).append(run)
    for (never, needs), runs in late.items():
        yield case.finding(
            "error" if never else "warning",
            "run-limit",
            message=f"{'would' if never else 'may'} be stopped by `limits.run` of {format_duration(limit_s)}",
            because=f"it is expected to take {needs}",
            fix="a higher `limits.run`, fewer steps, or checkpoints to resume from",
            at="limits.run",
            runs=runs,
        )


def checkpoint_interval(case: Case) -> Iterator[Finding]:
    """An interval that means nothing."""
    every = case.experiment.checkpoint.every
    if every is not None and parse_interval(every) is None:
        yield case.finding(
            "error",
            "checkpoint-every",
            message=f"{every!r} is not an interval",
            because="it has to be a number above 0 of steps, epochs or of a unit of time",
            fix="`checkpoint: {every: 1000 steps}`, `10 min` or `1 epoch`",
            at="checkpoint.every",
        )


def not_built(case: Case) -> Iterator[Finding]:
    """What `plan` shows and `apply` refuses: stages, and several copies in one slot."""
    experiment = case.experiment
    copies = [run for run in case.runs if run.copies > 1]
    parts = [
        ("stages", "stages", experiment.stages),
        ("copies", f"copies: {copies[0].copies}" if copies else "", copies),
    ]
    for at, what, present in parts:
        if present:
            yield case.finding(
                "warning",
                "not-yet",
                message=f"`gpuplan apply` cannot carry out {what} yet",
                because="the plan shows when and where they would run",
                fix=f"for now a spec without `{at}`",
                at=at,
            )


def parse_interval(text: str) -> Interval | None:
    """`1000 steps`, `1 epoch`, `10 min` -> how often; None if it is none of these or not above 0."""
    counted = STEPS_OR_EPOCHS.fullmatch(text)
    if counted:
        return Interval(float(counted[1]), counted[2]) if int(counted[1]) else None
    try:
        seconds = parse_duration(text)
    except ValueError:
        return None
    return Interval(seconds, "second") if seconds > 0 else None
