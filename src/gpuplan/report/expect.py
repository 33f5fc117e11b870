"""Does what was measured meet the `expect:` lines? Pure: it never runs their text and never reads a file.

A call takes the finished runs that match its filters (controls only with `control=NAME`), the mean over their seeds,
and gives one figure for each configuration that is left. Arithmetic joins those configurations, and a comparison has
to hold for every one of them; what is shown is the one nearest to failing.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from gpuplan.errors import Problem, SpecError
from gpuplan.expand import expand
from gpuplan.report.grammar import Number, meant, parse
from gpuplan.report.groups import all_runs, label, matches, varied
from gpuplan.report.joins import Facts, Row, join, known_values, rows_of
from gpuplan.report.table import show

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuplan.model import Experiment, Run, RunRecord
    from gpuplan.report.grammar import Call, Expectation
    from gpuplan.report.table import Kind

__all__ = ["Check", "Status", "check", "evaluate"]

Status: TypeAlias = Literal["pass", "fail", "unknown"]

HOLDS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
SAME = 1e-9
"""Relative: 0.91 - 0.88 is 0.03, whatever the last binary digit says."""
RESERVED = ("ranks", "copies", "control", "stage", "seed")
MOST_REASONS = 3
KINDS: dict[str, Kind] = {"s": "duration", "B": "bytes"}


@dataclass(frozen=True, slots=True)
class Check:
    """One line, judged. `value` is the worst configuration's figure, in seconds or bytes if `unit` says so."""

    text: str
    status: Status
    value: float | None
    unit: str
    where: str
    because: str


class Judged(NamedTuple):
    """One configuration: by how much the comparison holds there (negative: it does not), and does it."""

    row: Row
    margin: float
    holds: bool


def check(experiment: Experiment, *, path: str = "experiment.yaml", lines: Sequence[int] = ()) -> tuple[Problem, ...]:
    """Every mistake in the `expect:` lines, before anything runs; `lines` are theirs in the file, if known."""
    runs = expand(experiment)
    found: list[Problem] = []
    for index, text in enumerate(experiment.expect):
        found += _problems(text, experiment, runs, place=(path, lines[index] if index < len(lines) else index + 1))
    return tuple(found)


def evaluate(experiment: Experiment, records: Sequence[RunRecord]) -> tuple[Check, ...]:
    """Each `expect:` line of the experiment held against its runs; a line that cannot be read is unknown."""
    everything = all_runs(experiment, records)
    facts = Facts(experiment, varied(experiment, everything), everything)
    return tuple(_evaluate(text, facts) for text in experiment.expect)


# ---------------------------------------------------------------- before anything runs


def _problems(text: str, experiment: Experiment, runs: Sequence[Run], *, place: tuple[str, int]) -> list[Problem]:
    path, line = place
    try:
        expectation = parse(text, path=path, line=line)
    except SpecError as error:
        return list(error.problems)
    return [
        Problem(message, path=path, line=line, column=call.columns[name], text=expectation.text, hint=hint)
        for call in expectation.calls()
        for name, (message, hint) in _wrong_filters(call, experiment, runs).items()
    ]


def _wrong_filters(call: Call, experiment: Experiment, runs: Sequence[Run]) -> dict[str, tuple[str, str]]:
    """What is wrong with a call's filters by name; with the call as a whole under the empty name."""
    known = {*RESERVED, *experiment.settings, *(name for run in runs for name in run.settings)}
    wrong = {name: (f"unknown setting {name}", meant(name, known)) for name in call.filters if name not in known}
    if not wrong and not any(matches(run, call.filters) for run in runs):
        wrong[""] = (f"no run of this experiment has {label(call.filters)}", known_values(call.filters, runs))
    return wrong


# ---------------------------------------------------------------- when runs have ended


def _evaluate(text: str, facts: Facts) -> Check:
    try:
        expectation = parse(text)
    except SpecError as error:
        problem = error.problems[0]
        return Check(text, "unknown", None, "", "", f"column {problem.column}: {problem.message}")
    operands = [rows_of(operand, facts) for operand in expectation.operands]
    joined = operands[0]
    for right in operands[1:]:
        joined = join(joined, right)
    judged = [_judge(row, expectation.operators) for row in joined.rows if not row.missing]
    missing = [row for row in joined.rows if row.missing]
    return _verdict(expectation, judged, missing)


def _judge(row: Row, operators: tuple[str, ...]) -> Judged:
    links = list(zip(row.values, operators, row.values[1:], strict=False))
    margins = [left - right if symbol.startswith(">") else right - left for left, symbol, right in links]
    return Judged(row, min(margins), all(_holds(*link) for link in links))


def _holds(left: float, symbol: str, right: float) -> bool:
    if math.isclose(left, right, rel_tol=SAME):
        return symbol in {"<=", ">="}
    return HOLDS[symbol](left, right)


def _verdict(expectation: Expectation, judged: list[Judged], missing: list[Row]) -> Check:
    broken = [one for one in judged if not one.holds]
    worst = min(judged, key=lambda one: (one.holds, one.margin), default=None)
    unit = next((operand.unit for operand in expectation.operands if operand.unit), "")
    if broken or not missing:
        status: Status = "fail" if broken else "pass"
        because = _because(expectation, worst, unit, broken=len(broken), of=len(judged)) if worst else "no run matches"
    else:
        status, because = "unknown", _reasons(missing)
    return Check(
        text=expectation.text,
        status=status if worst or missing else "unknown",
        value=_measured_figure(expectation, worst.row) if worst else None,
        unit=unit,
        where=label(worst.row.where) if worst and worst.row.where else "",
        because=because,
    )


def _because(expectation: Expectation, worst: Judged, unit: str, *, broken: int, of: int) -> str:
    text = _shown(worst.row, expectation.operators, unit) + ("" if worst.holds else " is not so")
    if worst.row.where:
        text += f" at {label(worst.row.where)}"
    if broken and of > 1:
        text += f"; {broken} of {of} configurations miss it"
    elif of > 1:
        text += f", the nearest of {of} configurations"
    return text + (f" ({worst.row.remark})" if worst.row.remark else "")


def _shown(row: Row, operators: tuple[str, ...], unit: str) -> str:
    """`0.8796 >= 0.88`: with as many digits as it takes to tell the figures apart."""
    texts = [show(figure, KINDS.get(unit, "number")) for figure in row.values]
    if len(set(texts)) < len(set(row.values)):
        texts = [f"{figure:.8g}" for figure in row.values]
    return " ".join(text for pair in zip(texts, (*operators, ""), strict=True) for text in pair).rstrip()


def _measured_figure(expectation: Expectation, row: Row) -> float:
    """The figure of the first operand that is no constant."""
    operands = zip(expectation.operands, row.values, strict=True)
    return next(figure for operand, figure in operands if not isinstance(operand, Number))


def _reasons(missing: list[Row]) -> str:
    reasons = list(dict.fromkeys(row.missing for row in missing))
    more = f"; and {len(reasons) - MOST_REASONS} more reasons" if len(reasons) > MOST_REASONS else ""
    return "; ".join(reasons[:MOST_REASONS]) + more
