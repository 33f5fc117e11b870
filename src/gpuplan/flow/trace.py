"""Footprints from the user's own code: traced once a kind of run, kept by content, read by every plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.errors import UserError
from gpuplan.expand import expand, shape_of
from gpuplan.trace import Limits, trace
from gpuplan.world import interpreter, look_at_machine, workdir_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuplan.flow.state import State
    from gpuplan.model import Experiment, Run, Scalar
    from gpuplan.spec import Spec
    from gpuplan.trace import Traced

__all__ = ["TracedRun", "trace_runs"]


class TracedRun(NamedTuple):
    """One run of a kind, and what its step was found to need."""

    run: Run
    traced: Traced


def trace_runs(
    spec: Spec, state: State, *, most: int, kind: str | None, timeout_s: float, say: Callable[[str], None]
) -> tuple[TracedRun, ...]:
    """Trace `footprint.trace` for each kind of run of the spec, as `kind` of device (this machine's by default)."""
    experiment = spec.experiment
    source = experiment.footprint.trace if experiment.footprint else None
    if source is None:
        raise UserError("the spec does not say what to trace", hint='footprint: {trace: "mytrain:make_step"}')
    runs = expand(experiment)
    with state.reading() as store:
        device = look_at_machine(experiment, runs, store=store).machine.devices[0]
    on_gpu = (kind or device.kind) == "gpu"
    found = []
    for alike in kinds(runs, experiment)[:most]:
        say(f"tracing {alike[0].name}")
        traced = trace(
            source,
            settings_of(alike[0], experiment),
            python=interpreter(experiment, spec.base),
            workdir=workdir_of(experiment, spec.base),
            micro_batch=batch_setting(experiment),
            device="cuda" if on_gpu else "cpu",
            variables=experiment.environment.variables,
            limits=Limits(timeout_s=timeout_s),
            cache_folder=state.folder / "traces",
        )
        found.append(TracedRun(alike[0], traced))
    return tuple(found)


def kinds(runs: tuple[Run, ...], experiment: Experiment) -> list[list[Run]]:
    """Runs whose step is the same: they differ by seed, rank count or learning rate alone."""
    neutral = {experiment.roles.learning_rate, batch_setting(experiment)}
    groups: dict[str, list[Run]] = {}
    for run in runs:
        settings = sorted((name, value) for name, value in run.settings.items() if name not in neutral)
        groups.setdefault(repr(settings), []).append(run)
    return list(groups.values())


def batch_setting(experiment: Experiment) -> str | None:
    """The setting that `make_step` takes its rows from."""
    roles = experiment.roles
    return next((role for role in (roles.micro_batch, roles.batch) if isinstance(role, str)), None)


def settings_of(run: Run, experiment: Experiment) -> dict[str, Scalar]:
    """The run's settings with the rows of one rank in place of the global batch."""
    name, micro_batch = batch_setting(experiment), shape_of(run, experiment).micro_batch
    return run.settings | ({name: micro_batch} if name and micro_batch else {})
