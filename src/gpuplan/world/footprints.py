"""Footprints that were traced before and still hold. It runs nothing of the user's."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gpuplan.estimate.classes import classes_of
from gpuplan.expand import shape_of
from gpuplan.trace import cached
from gpuplan.world.programs import interpreter, workdir_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gpuplan.model import Experiment, Footprint, Run, Scalar
    from gpuplan.trace import Traced

__all__ = ["TRACES", "batch_setting", "known_footprints", "settings_of"]

TRACES = "traces"
"""The folder of the state folder that holds traces by content."""


def known_footprints(
    experiment: Experiment, runs: Sequence[Run], *, base: Path, state: Path, on_gpu: bool
) -> dict[str, Footprint]:
    """By run key, the traced footprints whose files, settings and software are still what they were."""
    source = experiment.footprint.trace if experiment.footprint else None
    folder = state / TRACES
    if source is None or not folder.is_dir():
        return {}
    found: dict[str, Footprint] = {}
    for alike in classes_of(runs, experiment):
        batch = shape_of(alike[0], experiment).micro_batch or 1
        earlier = partial(
            cached,
            source,
            settings_of(alike[0], experiment),
            python=interpreter(experiment, base),
            workdir=workdir_of(experiment, base),
            micro_batch=batch_setting(experiment),
            device="cuda" if on_gpu else "cpu",
            ranks=alike[0].ranks,
            variables=experiment.environment.variables,
            cache_folder=folder,
        )
        footprint = _at(earlier(), batch) or _at(earlier(batches=(batch,)), batch)
        if footprint is not None:
            found |= {run.key: footprint for run in alike}
    return found


def _at(traced: Traced | None, batch: int) -> Footprint | None:
    return traced.at(batch) if traced else None


def batch_setting(experiment: Experiment) -> str | None:
    """The setting that `make_step` takes its rows from."""
    roles = experiment.roles
    return next((role for role in (roles.micro_batch, roles.batch) if isinstance(role, str)), None)


def settings_of(run: Run, experiment: Experiment) -> dict[str, Scalar]:
    """The run's settings with the rows of one rank in place of the global batch."""
    name, micro_batch = batch_setting(experiment), shape_of(run, experiment).micro_batch
    return run.settings | ({name: micro_batch} if name and micro_batch else {})
