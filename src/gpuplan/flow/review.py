"""Records -> report: what the runs of an experiment showed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gpuplan.observe.metrics import series
from gpuplan.report import build

if TYPE_CHECKING:
    from gpuplan.flow.state import State
    from gpuplan.report import Report

__all__ = ["review"]


def review(state: State, experiment: str | None) -> Report:
    """The report on `experiment`, or on what was applied last. Raises UserError where nothing was."""
    plan = state.plan(experiment)
    with state.reading() as store:
        records = store.records(plan.experiment.name) if store else ()
    planned = {run.name for run in plan.runs}
    chosen = tuple(record for record in records if record.run.name in planned)
    curves = {record.run.name: series(Path(record.folder)) for record in chosen}
    return build(plan.experiment, chosen, curves)
