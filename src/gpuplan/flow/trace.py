"""Footprints from the user's own code: traced once a kind of run, kept by content, read by every plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.errors import UserError
from gpuplan.expand import expand, shape_of
from gpuplan.trace import Limits, trace
from gpuplan.world import interpreter, look_at_machine, workdir_of
from gpuplan.world.footprints import TRACES, batch_setting, kinds, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuplan.flow.state import State
    from gpuplan.model import Run
    from gpuplan.spec import Spec
    from gpuplan.trace import Traced

__all__ = ["TracedRun", "trace_runs"]


class TracedRun(NamedTuple):
    """One run of a kind, and what its step was found to need."""

    run: Run
    micro_batch: int
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
            cache_folder=state.folder / TRACES,
        )
        found.append(TracedRun(alike[0], shape_of(alike[0], experiment).micro_batch or 1, traced))
    return tuple(found)
