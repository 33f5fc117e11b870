"""Checks that batch, steps, epochs and warm-up agree, by the roles of the settings. It never trains."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gpuplan.units import format_number
from gpuplan.verify.case import MOST, groups, role_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.expand import Shape
    from gpuplan.model import Finding, Run, Scalar
    from gpuplan.verify.case import Case

__all__ = ["batch_divides", "batch_within_rows", "role_values", "steps_match_epochs", "warmup_ends"]

COUNTS = {
    "batch": 1,
    "micro_batch": 1,
    "accumulation": 1,
    "sequence": 1,
    "threads": 1,
    "workers": 0,
    "train_rows": 0,
    "steps": 0,
    "eval_rows": 0,
    "warmup_steps": 0,
}
"""Roles that are whole numbers, and the least of each; no row means all in many programs, and who only evaluates makes
no step."""


def role_values(case: Case) -> Iterator[Finding]:
    """A batch of 0 or a sequence of 12.5, which no training can have; "auto", which no estimate can use."""
    for role, least in COUNTS.items():
        key = getattr(case.experiment.roles, role)
        counts: dict[Scalar, list[Run]] = groups(case, partial(_not_a_count, key, least))
        for value, runs in counts.items():
            yield _not_a_value(case, role, value, runs, needs=f"a whole number from {least}")
    roles = case.experiment.roles
    lengths: dict[Scalar, list[Run]] = groups(case, partial(_not_a_length, roles.epochs))
    for value, runs in lengths.items():
        yield _not_a_value(case, "epochs", value, runs, needs="a number above 0")
    costs: dict[Scalar, list[Run]] = groups(case, partial(_not_seconds, roles.load_s))
    for value, runs in costs.items():
        yield _not_a_value(case, "load_s", value, runs, needs="a number of seconds from 0")


def warmup_ends(case: Case) -> Iterator[Finding]:
    """A warm-up longer than the run, or than a third of it."""

    def long(run: Run, shape: Shape) -> tuple[int, int] | None:
        warmup, steps = shape.warmup_steps, shape.steps
        return (warmup, steps) if run.train and warmup and steps is not None and 3 * warmup > steps else None

    for (warmup, steps), runs in groups(case, long).items():
        never = warmup > steps
        yield case.finding(
            "error" if never else "warning",
            "warmup",
            message=f"warm-up of {warmup:,} steps in a run of {steps:,}",
            because="the learning rate never reaches its full value"
            if never
            else f"it rises for {warmup / steps:.0%} of the run; 1 to 10 % is usual",
            fix=f"a warm-up of at most {max(1, steps // 10):,} steps",
            at=role_at(case.experiment, "warmup_steps"),
            runs=runs,
        )


def steps_match_epochs(case: Case) -> Iterator[Finding]:
    """Steps are given, and so are epochs and rows, and they say different things."""

    def differ(run: Run, shape: Shape) -> tuple[int, int, float, int, int] | None:
        given = run.value_of(case.experiment.roles.steps)
        if given is None or not (run.train and shape.batch and shape.train_rows and shape.epochs and shape.steps):
            return None
        by_epochs = shape.epochs * shape.train_rows / shape.batch
        agree = abs(shape.steps - by_epochs) <= max(0.1 * by_epochs, shape.epochs)
        return None if agree else (shape.steps, round(by_epochs), shape.epochs, shape.train_rows, shape.batch)

    for (steps, by_epochs, epochs, rows, batch), runs in groups(case, differ).items():
        yield case.finding(
            "warning",
            "steps-epochs",
            message=f"{steps:,} steps are given, but {_epochs(epochs)} {'is' if epochs == 1 else 'are'} {by_epochs:,}",
            because=f"{_epochs(epochs)} x {rows:,} rows / batch {batch:,} = {by_epochs:,} steps",
            fix="give one of steps and epochs; packed rows are fewer than samples: give `train_rows` as packed",
            at=role_at(case.experiment, "steps"),
            runs=runs,
        )


def batch_divides(case: Case) -> Iterator[Finding]:
    """A batch that its ranks and accumulated passes cannot share evenly, or that is not their product."""

    def uneven(run: Run, shape: Shape) -> tuple[int, int, int, int | None] | None:
        parts = run.ranks * shape.accumulation
        micro = shape.micro_batch if case.experiment.roles.micro_batch is not None else None
        if not shape.batch or not parts or case.experiment.roles.batch is None:
            return None
        is_even = shape.batch % parts == 0 if micro is None else shape.batch == micro * parts
        return None if is_even else (shape.batch, run.ranks, shape.accumulation, micro)

    for (batch, ranks, accumulation, micro), runs in groups(case, uneven).items():
        parts = ranks * accumulation
        product = f"{ranks} ranks x {accumulation} accumulated passes"
        yield case.finding(
            "error",
            "batch-shares",
            message=f"a batch of {batch:,} is not {product}" + (f" of {micro:,}" if micro is not None else ""),
            because=f"{batch:,} / {parts} = {format_number(batch / parts)} rows a pass"
            if micro is None
            else f"{product} x {micro:,} rows = {parts * micro:,}; per rank or in all?",
            fix=f"a batch of {max(1, batch // parts) * parts:,}" if micro is None else f"a batch of {parts * micro:,}",
            at=role_at(case.experiment, "batch"),
            runs=runs,
        )


def batch_within_rows(case: Case) -> Iterator[Finding]:
    """A batch larger than an epoch."""

    def larger(run: Run, shape: Shape) -> tuple[int, int] | None:
        is_larger = run.train and shape.batch and shape.train_rows and shape.batch > shape.train_rows
        return (shape.batch or 0, shape.train_rows or 0) if is_larger else None

    for (batch, rows), runs in groups(case, larger).items():
        yield case.finding(
            "error",
            "batch-rows",
            message=f"a batch of {batch:,} is more than the {rows:,} training rows",
            because="no step would be full; a loader that drops the last batch would do none",
            fix=f"a batch of at most {rows:,}, or more rows",
            at=role_at(case.experiment, "batch", "micro_batch"),
            runs=runs,
        )


def _not_a_value(case: Case, role: str, value: Scalar, runs: list[Run], *, needs: str) -> Finding:
    key = getattr(case.experiment.roles, role)
    return case.finding(
        "warning" if isinstance(value, str) else "error",
        "role-value",
        message=f"{role.replace('_', '-')} is {value!r}",
        because=f"it has to be {needs} to {MOST:.0e}, and the role {role} is given to {key}",
        fix=f"correct the value, or the role: `roles: {{{role}: NAME}}`",
        at=role_at(case.experiment, role),
        runs=runs,
    )


def _not_a_count(key: str | int | None, least: int, run: Run, _shape: Shape) -> Scalar | None:
    value = run.value_of(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return None if value == int(value) and least <= value <= MOST else value


def _not_a_length(key: str | int | None, run: Run, _shape: Shape) -> Scalar | None:
    value = run.value_of(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    is_length = 0 < value <= MOST or (value == 0 and not run.train)
    return None if is_length else value


def _not_seconds(key: str | float | None, run: Run, _shape: Shape) -> Scalar | None:
    value = run.value_of(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return None if 0 <= value <= MOST else value


def _epochs(epochs: float) -> str:
    return f"{format_number(epochs)} epoch{'s' * (epochs != 1)}"
