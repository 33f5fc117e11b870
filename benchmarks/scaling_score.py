"""Scores of predicted against measured scaling, with the baselines that people use. It predicts nothing else."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from gpuplan.estimate.communication import link_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from scaling_predict import Answer
    from scaling_rows import Question

__all__ = ["Baseline", "baselines", "by", "headline", "is_headline", "scores"]

BEST_B = [0.5e9 * 1.25**step for step in range(30)]
BROKEN = 2.0
"""Slow-downs from which a baseline's best B is not fitted on a row: its squares would be all there is."""


class Baseline(NamedTuple):
    """A rule that people use, and its step-time errors in percent and verdicts."""

    name: str
    rows: int
    mean_abs_pct: float
    low_mean_abs_pct: float | None
    right: float
    caught: float | None


@dataclass(frozen=True, slots=True)
class _Guess:
    slow: float
    measured: float

    @property
    def error(self) -> float:
        return 100 * abs(self.slow / self.measured - 1)


def is_headline(question: Question) -> bool:
    """DDP from one GPU at the same rows a GPU: what the goals are stated for."""
    return question.row.kind == "ddp" and question.base.gpus == 1 and question.same_batch


def headline(answers: Sequence[Answer]) -> list[Answer]:
    """The answers that count; all of them where a file has no such row."""
    return [answer for answer in answers if is_headline(answer.question)] or list(answers)


def scores(answers: Sequence[Answer]) -> dict[str, float | int | None]:
    """Errors of the step time, coverage, and verdicts; None where no row says it."""
    if not answers:
        return {"rows": 0}
    errors = [abs(answer.error_pct) for answer in answers]
    low = [answer for answer in answers if answer.is_low]
    families: dict[str, list[float]] = defaultdict(list)
    for answer, error in zip(answers, errors, strict=True):
        families[answer.question.row.family].append(error)
    return {
        "rows": len(answers),
        "mean_abs_pct": round(statistics.fmean(errors), 2),
        "median_abs_pct": round(statistics.median(errors), 2),
        "within_20_pct": round(100 * sum(error <= 20 for error in errors) / len(errors), 1),
        "family_mean_abs_pct": round(statistics.fmean(statistics.fmean(family) for family in families.values()), 2),
        "coverage": round(sum(answer.covered for answer in answers) / len(answers), 3),
        "worth_it_right": round(sum(answer.is_low == answer.said_low for answer in answers) / len(answers), 3),
        "low_efficiency_rows": len(low),
        "low_efficiency_mean_abs_pct": _mean([abs(answer.error_pct) for answer in low]),
        "low_efficiency_caught": round(sum(answer.said_low for answer in low) / len(low), 3) if low else None,
    }


def by(answers: Iterable[Answer], key: Callable[[Answer], str]) -> dict[str, dict[str, Any]]:
    """The scores of the rows with each key."""
    groups: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        groups[key(answer)].append(answer)
    return {name: scores(found) for name, found in sorted(groups.items())}


def baselines(questions: Sequence[Question], *, worth: float) -> list[Baseline]:
    """Linear scaling (always yes), and a ring term with the best bandwidth of its link on other models."""
    linear = [_Guess(1.0, question.slow) for question in questions]
    ring = [_Guess(slow, question.slow) for question, slow in zip(questions, _rings(questions), strict=True)]
    return [_scored("linear (always yes)", linear, worth), _scored("ring, best B per link", ring, worth)]


def _scored(name: str, guesses: list[_Guess], worth: float) -> Baseline:
    low = [guess for guess in guesses if 1 / guess.measured < worth]
    right = sum((1 / guess.slow < worth) == (1 / guess.measured < worth) for guess in guesses)
    return Baseline(
        name=name,
        rows=len(guesses),
        mean_abs_pct=_mean([guess.error for guess in guesses]) or 0.0,
        low_mean_abs_pct=_mean([guess.error for guess in low]),
        right=round(right / len(guesses), 3) if guesses else 0.0,
        caught=round(sum(1 / guess.slow < worth for guess in low) / len(low), 3) if low else None,
    )


def _rings(questions: Sequence[Question]) -> list[float]:
    """t(1) + 2 (n-1)/n x bytes / B, with the best B on the other models of a link; linear where nothing is known."""
    groups: dict[str, list[tuple[str, float, float]]] = defaultdict(list)
    for question in questions:
        groups[_link(question)].append((question.row.family, _moved(question), question.slow))
    best: dict[tuple[str, str], float] = {}
    for question in questions:
        place = (_link(question), question.row.family)
        if place not in best:
            best[place] = _best_b([(moved, slow) for family, moved, slow in groups[place[0]] if family != place[1]])
    return [1 + _moved(question) / best[_link(question), question.row.family] for question in questions]


def _best_b(points: list[tuple[float, float]]) -> float:
    known = [(moved, slow) for moved, slow in points if moved]
    if not known:
        return math.inf
    return min(BEST_B, key=lambda b: sum(min(abs((1 + moved / b) / slow - 1), BROKEN) for moved, slow in known))


def _moved(question: Question) -> float:
    """Bytes over the link for each second of the step on one GPU; 0 where it is not known."""
    size, ranks = question.row.size_bytes, question.row.gpus
    return 2 * (ranks - 1) / ranks * size / question.alone_s if size and question.alone_s else 0.0


def _link(question: Question) -> str:
    return link_of(question.row.gpu, question.row.link).name if question.row.gpu else ""


def _mean(values: list[float]) -> float | None:
    return round(statistics.fmean(values), 2) if values else None
