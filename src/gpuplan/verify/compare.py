"""Check that runs which are held against each other see the same number of samples. It never compares results."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.verify.case import groups, role_at, who

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.expand import Shape
    from gpuplan.model import Experiment, Finding, Run
    from gpuplan.verify.case import Case

__all__ = ["samples_seen"]

TOLERANCE = 0.01
LENGTH_ROLES = ("steps", "epochs", "train_rows")


class Samples(NamedTuple):
    """How many rows a run trains on, and how the figure comes about."""

    stage: str | None
    rows: float
    how: str


def samples_seen(case: Case) -> Iterator[Finding]:
    """Batch x steps differs between the points: a warning, or a note if the user varies the length itself."""
    by_samples = groups(case, lambda run, shape: _samples(case.experiment, run, shape))
    for stage in dict.fromkeys(samples.stage for samples in by_samples):
        ordered = sorted((samples for samples in by_samples if samples.stage == stage), key=lambda one: one.rows)
        least, most = ordered[0], ordered[-1]
        if most.rows - least.rows <= TOLERANCE * most.rows:
            continue
        few, many = by_samples[least], by_samples[most]
        is_meant = _varies_length(case.experiment, [run for samples in ordered for run in by_samples[samples]])
        less, more = (who(runs, total=len(case.runs)) for runs in (few, many))
        yield case.finding(
            "note" if is_meant else "warning",
            "samples-differ",
            message=f"samples seen differ: {least.rows:,.0f} in {less}; {most.rows:,.0f} in {more}",
            because=f"{least.how}; {most.how}",
            fix="nothing, if the length is what you vary"
            if is_meant
            else "give epochs, or steps in proportion (zip batch and steps), so that batch x steps is equal",
            at=role_at(case.experiment, "batch", "micro_batch"),
        )


def _samples(experiment: Experiment, run: Run, shape: Shape) -> Samples | None:
    if not run.train:
        return None
    if run.value_of(experiment.roles.steps) is not None:
        if shape.batch is None or shape.steps is None:
            return None
        rows = float(shape.batch * shape.steps)
        return Samples(run.stage, rows, f"batch {shape.batch:,} x {shape.steps:,} steps = {rows:,.0f}")
    if shape.epochs is None or shape.train_rows is None:
        return None
    rows = shape.epochs * shape.train_rows
    return Samples(run.stage, rows, f"{shape.epochs:g} epochs x {shape.train_rows:,} rows = {rows:,.0f}")


def _varies_length(experiment: Experiment, runs: list[Run]) -> bool:
    keys = [getattr(experiment.roles, role) for role in LENGTH_ROLES]
    return any(len({run.value_of(key) for run in runs}) > 1 for key in keys if isinstance(key, str))
