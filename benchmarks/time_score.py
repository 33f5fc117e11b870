"""Scores of predicted against measured ratios of step times: errors, by family, and coverage. It predicts nothing."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Score", "Scored", "line", "score"]

CLOSE_PCT = 20.0


class Scored(NamedTuple):
    """One prediction: of which family, by how much it is off, and whether the interval held the measurement."""

    family: str
    error_pct: float | None
    covered: bool | None = None


class Score(NamedTuple):
    """The figures of one task by one method; None where nothing was predicted."""

    mean_abs_pct: float | None
    median_abs_pct: float | None
    within_20_pct: float | None
    family_mean_abs_pct: float | None
    coverage: float | None
    answered: float | None
    rows: int
    families: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return self._asdict()


def score(found: Sequence[Scored]) -> Score:
    """Mean, median, share within 20 %, mean of the families' means, coverage and share answered."""
    errors = [abs(one.error_pct) for one in found if one.error_pct is not None]
    families = _families(found)
    intervals = [one.covered for one in found if one.covered is not None]
    return Score(
        mean_abs_pct=_rounded(statistics.fmean(errors)) if errors else None,
        median_abs_pct=_rounded(statistics.median(errors)) if errors else None,
        within_20_pct=_rounded(100 * sum(error <= CLOSE_PCT for error in errors) / len(errors)) if errors else None,
        family_mean_abs_pct=_rounded(statistics.fmean(families.values())) if families else None,
        coverage=_rounded(sum(intervals) / len(intervals), 3) if intervals else None,
        answered=_rounded(len(errors) / len(found), 4) if found else None,
        rows=len(found),
        families={name: round(mean, 2) for name, mean in sorted(families.items())},
    )


def line(name: str, found: Score, families: Iterable[str]) -> str:
    """One row of the printed table."""
    columns = [found.families.get(family) for family in families]
    whole = [found.family_mean_abs_pct, found.mean_abs_pct, found.median_abs_pct, found.within_20_pct]
    coverage = f"{'-':>10}" if found.coverage is None else f"{100 * found.coverage:9.0f}%"
    return f"{name:40}" + "".join(_cell(value) for value in (*columns, *whole)) + coverage


def _cell(value: float | None) -> str:
    return f"{'-':>10}" if value is None else f"{value:10.1f}"


def _families(found: Iterable[Scored]) -> dict[str, float]:
    errors: dict[str, list[float]] = defaultdict(list)
    for one in found:
        if one.error_pct is not None:
            errors[one.family].append(abs(one.error_pct))
    return {name: statistics.fmean(values) for name, values in errors.items()}


def _rounded(value: float, digits: int = 2) -> float:
    return round(value, digits)
