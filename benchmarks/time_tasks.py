"""Predicts measured step times with parts of the rows held out of every fitted constant. It scores nothing.

Ours is the product's own code (`estimate.transfer`) with tables refitted on the rows that are left.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from time_names import relatives
from time_no_log import guess, longer_of
from time_score import Scored
from time_shapes import shaped

from gpuplan.estimate.refit import Residual, fitted_tables, fitted_widths
from gpuplan.estimate.transfer import residual_scale, towards, transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from time_rows import Pair, TimeRow
    from time_rules import Rule
    from time_shapes import Shaped

    from gpuplan.data.derates import Tables

__all__ = ["HOLD_OUTS", "HoldOut", "as_shipped", "by_rule", "ours", "residuals"]

FEWEST_RESIDUALS = 30
"""Below which the widths of the packaged tables are taken."""


class HoldOut(NamedTuple):
    """What is kept from every constant when a pair is predicted: all rows with one of the pair's keys."""

    name: str
    held: Callable[[Pair], tuple[str, ...]]
    keys: Callable[[TimeRow], tuple[str, ...]]


def _model(row: TimeRow) -> str:
    return f"model {row.sample.model}"


def _relatives(row: TimeRow) -> str:
    return f"architecture {relatives(row.sample.model)}"


def _chip(row: TimeRow) -> str:
    return f"chip {row.generation}"


HOLD_OUTS = {
    "model": HoldOut("model", lambda pair: (_model(pair.source),), lambda row: (_model(row),)),
    "architecture": HoldOut("architecture", lambda pair: (_relatives(pair.source),), lambda row: (_relatives(row),)),
    "family": HoldOut("family", lambda pair: (pair.source.family,), lambda row: (row.family,)),
    "chip": HoldOut("chip", lambda pair: (_chip(pair.target),), lambda row: (_chip(row),)),
    "chip and model": HoldOut(
        "chip and model",
        lambda pair: (_chip(pair.target), _model(pair.source)),
        lambda row: (_chip(row), _model(row)),
    ),
}


class _Answer(NamedTuple):
    pair: Pair
    log_ratio: float
    residual: Residual


def ours(pairs: Sequence[Pair], rows: Sequence[TimeRow], hold_out: HoldOut, shipped: Tables) -> list[Scored]:
    """Every pair by tables that never saw what `hold_out` keeps from them, with intervals from the other errors."""
    return _scored(_answers(pairs, rows, hold_out), hold_out, shipped)


def as_shipped(pairs: Sequence[Pair], shipped: Tables) -> list[Scored]:
    """Every pair by the packaged tables: a test of them on rows that they were not fitted on, and on no others."""
    found = (_answer(pair, shipped, shaped(pair.target), stack="") for pair in pairs)
    return [_interval(answer, shipped) for answer in found]


def residuals(pairs: Sequence[Pair], rows: Sequence[TimeRow], hold_out: HoldOut) -> list[Residual]:
    """The held-out errors, for widths."""
    return [answer.residual for answer in _answers(pairs, rows, hold_out)]


def by_rule(pairs: Sequence[Pair], rule: Rule) -> list[Scored]:
    """Every pair by a rule of thumb."""
    return [_error(pair, rule(pair)) for pair in pairs]


def _answers(pairs: Sequence[Pair], rows: Sequence[TimeRow], hold_out: HoldOut) -> list[_Answer]:
    tables: dict[tuple[str, ...], Tables] = {}
    steps = {id(row): step for row in rows if (step := shaped(row))}
    answers = []
    for pair in pairs:
        key = hold_out.held(pair)
        if key not in tables:
            left = [row for row in rows if set(key).isdisjoint(hold_out.keys(row))]
            fitted = fitted_tables([row.sample for row in left])
            known = [steps[id(row)] for row in left if id(row) in steps]
            tables[key] = replace(fitted, longer=longer_of(known, fitted))
        step = steps.get(id(pair.target))
        answers.append(_answer(pair, tables[key], step, stack=pair.source.sample.stack))
    return answers


def _answer(pair: Pair, tables: Tables, step: Shaped | None, *, stack: str) -> _Answer:
    """The log carried over, and where the dimensions are public the closed form with what is left of its weight."""
    source, target = pair.source.sample, pair.target.sample
    found = transfer(source.chip, target.chip, regime=source.regime, tables=tables, stack=stack)
    log_ratio = math.log(found.value)
    blind = guess(step, tables) if step else None
    if blind:
        log_ratio = towards(log_ratio, blind.log_seconds - source.log_seconds)
    error = abs(log_ratio - pair.log_ratio) / residual_scale(source.chip, target.chip)
    return _Answer(pair, log_ratio, Residual(source.regime, found.models > 0, error))


def _scored(answers: Sequence[_Answer], hold_out: HoldOut, shipped: Tables) -> list[Scored]:
    keys = {hold_out.held(answer.pair) for answer in answers}
    widths = {}
    for key in keys:
        others = [answer.residual for answer in answers if set(key).isdisjoint(hold_out.held(answer.pair))]
        widths[key] = fitted_widths(others) if len(others) >= FEWEST_RESIDUALS else shipped.widths
    return [_interval(answer, replace(shipped, widths=widths[hold_out.held(answer.pair)])) for answer in answers]


def _interval(answer: _Answer, tables: Tables) -> Scored:
    source, target = answer.pair.source.sample, answer.pair.target.sample
    width = tables.width(source.regime, measured=answer.residual.measured) * residual_scale(source.chip, target.chip)
    covered = abs(answer.log_ratio - answer.pair.log_ratio) <= width
    return _error(answer.pair, math.exp(answer.log_ratio))._replace(covered=covered)


def _error(pair: Pair, value: float | None) -> Scored:
    error = None if value is None else 100 * (value / math.exp(pair.log_ratio) - 1)
    return Scored(pair.source.family, error)
