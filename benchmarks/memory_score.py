"""Scores of predicted against measured memory: errors by group and metric, coverage, fits. It predicts nothing."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Answer", "by", "fits_right", "summary"]

UNANSWERED_PCT = 100.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One row, answered or not; errors are in percent of what was measured."""

    id: str
    group: str
    tier: str
    metric: str
    family: str
    how: str
    measured_gib: float | None
    p10_gib: float | None
    p50_gib: float | None
    p90_gib: float | None
    oom: float | None
    label: str
    sharded: bool
    reason: str
    excluded: str

    @property
    def scored(self) -> bool:
        """Whether it is a peak to be met."""
        return self.measured_gib is not None and not self.excluded and (self.p50_gib is not None or self.tier == "A")

    @property
    def error_pct(self) -> float:
        """Signed; a complete row without an answer is all wrong."""
        if self.p50_gib is None or not self.measured_gib:
            return -UNANSWERED_PCT
        return 100 * (self.p50_gib / self.measured_gib - 1)

    @property
    def covered(self) -> bool:
        """Whether the measured value lies between p10 and p90, to the rounding of the file."""
        if self.p10_gib is None or self.p90_gib is None or self.measured_gib is None:
            return False
        return self.p10_gib - 0.006 <= self.measured_gib <= self.p90_gib + 0.006


def summary(answers: Sequence[Answer]) -> dict[str, float | int | None]:
    """Mean, median, share far too low, and coverage of some rows."""
    scored = [answer for answer in answers if answer.scored]
    errors = [answer.error_pct for answer in scored]
    if not errors:
        return {"rows": 0}
    return {
        "rows": len(errors),
        "mean_abs_pct": _rounded(statistics.fmean(map(abs, errors))),
        "median_abs_pct": _rounded(statistics.median(map(abs, errors))),
        "bias_pct": _rounded(statistics.fmean(errors)),
        "worst_pct": _rounded(max(errors, key=abs)),
        "share_underpredicted_over_10_pct": _rounded(sum(error < -10 for error in errors) / len(errors), 3),
        "coverage": _rounded(sum(answer.covered for answer in scored) / len(scored), 3),
    }


def by(answers: Iterable[Answer], key: Callable[[Answer], str]) -> dict[str, dict[str, Any]]:
    """The summaries of the rows with each key."""
    groups: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        if answer.scored:
            groups[key(answer)].append(answer)
    return {name: summary(found) for name, found in sorted(groups.items())}


def fits_right(answers: Iterable[Answer]) -> dict[str, float | int] | None:
    """Of rows with a label: the share of those that fit said to fit, of those that did not, and their mean."""
    labelled = [answer for answer in answers if answer.label and not answer.excluded]
    fit = [answer for answer in labelled if not _is_oom(answer.label)]
    oom = [answer for answer in labelled if _is_oom(answer.label)]
    if not labelled:
        return None
    right_fit = _share([answer.oom is not None and answer.oom < 0.5 for answer in fit])
    right_oom = _share([answer.oom is not None and answer.oom >= 0.5 for answer in oom])
    both = [share for share in (right_fit, right_oom) if share is not None]
    return {
        "rows": len(labelled),
        "balanced_accuracy": _rounded(statistics.fmean(both), 3) or 0.0,
        "fits_said_to_fit": -1 if right_fit is None else round(right_fit, 3),
        "oom_said_to_fail": -1 if right_oom is None else round(right_oom, 3),
    }


def _is_oom(label: str) -> bool:
    return "oom" in label.lower() or "out of memory" in label.lower()


def _share(flags: list[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def _rounded(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(value, digits)
