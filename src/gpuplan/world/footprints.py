"""Footprints that were traced before and still hold. It runs nothing of the user's."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.estimate.classes import classes_of
from gpuplan.expand import shape_of
from gpuplan.model import Finding
from gpuplan.trace import cached
from gpuplan.world.programs import interpreter, workdir_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gpuplan.model import Experiment, Footprint, Run, Scalar
    from gpuplan.spec import Spec
    from gpuplan.trace import Traced

__all__ = ["TRACES", "Known", "batch_setting", "known_footprints", "planned_footprints", "settings_of"]

TRACES = "traces"
"""The folder of the state folder that holds traces by content."""


class Known(NamedTuple):
    """Traced footprints by run key, and what was traced and is not used."""

    footprints: dict[str, Footprint]
    findings: tuple[Finding, ...]


def planned_footprints(spec: Spec, runs: Sequence[Run], *, state: Path, on_gpu: bool) -> Known:
    """What was traced as on the kind of device that `runs` are planned on.

    Programs do other things on a CPU than on a GPU: no footprint stands in for one of the other kind, which is said.
    """
    experiment, base = spec.experiment, spec.base
    found = known_footprints(experiment, runs, base=base, state=state, on_gpu=on_gpu)
    rest = [run for run in runs if run.key not in found]
    other = known_footprints(experiment, rest, base=base, state=state, on_gpu=not on_gpu) if rest else {}
    return Known(found, (_other_kind(spec, len(other), on_gpu=on_gpu),) if other else ())


def _other_kind(spec: Spec, runs: int, *, on_gpu: bool) -> Finding:
    count = f"{runs:,} runs were" if runs != 1 else "1 run was"
    wanted, traced = ("GPU", "CPU") if on_gpu else ("CPU", "GPU")
    return Finding(
        severity="note",
        check="trace",
        message=f"{count} traced as on a {traced}, and this plan is for a {wanted}",
        place=spec.places.get("footprint.trace", spec.path),
        because="a program may do other things there: another precision, other kernels",
        fix=f"`gpuplan trace --device {wanted.lower()}`",
    )


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
