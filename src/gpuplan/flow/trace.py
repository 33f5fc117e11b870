"""Footprints from the user's own code: traced once a kind of run, kept by content, read by every plan."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.errors import UserError
from gpuplan.estimate.classes import classes_of
from gpuplan.expand import expand, shape_of
from gpuplan.trace import Limits, largest_batch, trace
from gpuplan.world import interpreter, look_at_machine, workdir_of
from gpuplan.world.asked import Asked, is_for_gpus
from gpuplan.world.footprints import TRACES, batch_setting, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpuplan.flow.state import State
    from gpuplan.model import Experiment, Run
    from gpuplan.spec import Spec
    from gpuplan.trace import Largest, Traced

__all__ = ["TracedRun", "trace_runs"]

NAMED = 3
"""Runs in a sentence."""


class TracedRun(NamedTuple):
    """One run of a kind, what its step was found to need, and the largest batch that fits if that was asked."""

    run: Run
    micro_batch: int
    traced: Traced
    largest: Largest | None


def trace_runs(
    spec: Spec,
    state: State,
    *,
    most: int,
    kind: str | None,
    timeout_s: float,
    room_bytes: int | None = None,
    say: Callable[[str], None],
) -> tuple[TracedRun, ...]:
    """Trace `footprint.trace` for each kind of run of the spec, as `kind` of device: by default the one planned on.

    With `room_bytes`, the largest micro-batch that fits in so much is looked for too. Raises UserError.
    """
    experiment = spec.experiment
    if experiment.footprint is None or experiment.footprint.trace is None:
        raise UserError("the spec does not say what to trace", hint='footprint: {trace: "mytrain:make_step"}')
    if room_bytes is not None and batch_setting(experiment) is None:
        raise UserError("no role says which setting is the batch", hint="roles: {micro_batch: SETTING}")
    runs = expand(experiment)
    with state.reading() as store:
        machine = look_at_machine(experiment, runs, store=store).machine
    on_gpu = kind == "gpu" if kind else is_for_gpus(experiment, machine, Asked())
    limits = Limits(timeout_s=timeout_s)
    found = []
    kinds = classes_of(runs, experiment)
    for alike in kinds[:most]:
        say(f"tracing {alike[0].name}")
        ask = _asking(alike[0], spec, cache_folder=state.folder / TRACES, on_gpu=on_gpu, limits=limits)
        found.append(_trace_run(alike[0], experiment, ask, room_bytes=room_bytes, say=say))
    left = [alike[0].name for alike in kinds[most:]]
    if left:
        more = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
        say(f"not traced: {', '.join(left[:NAMED])}{more}; --most {len(kinds)} traces all kinds of run")
    return tuple(found)


def _asking(run: Run, spec: Spec, *, cache_folder: Path, on_gpu: bool, limits: Limits) -> Callable[..., Traced]:
    """A trace of `run` that lacks its batches only."""
    experiment = spec.experiment
    assert experiment.footprint is not None
    assert experiment.footprint.trace is not None
    return partial(
        trace,
        experiment.footprint.trace,
        settings_of(run, experiment),
        python=interpreter(experiment, spec.base),
        workdir=workdir_of(experiment, spec.base),
        micro_batch=batch_setting(experiment),
        device="cuda" if on_gpu else "cpu",
        ranks=run.ranks,
        variables=experiment.environment.variables,
        limits=limits,
        cache_folder=cache_folder,
    )


def _trace_run(
    run: Run,
    experiment: Experiment,
    ask: Callable[..., Traced],
    *,
    room_bytes: int | None,
    say: Callable[[str], None],
) -> TracedRun:
    def trace_at(batch: int) -> Traced:
        say(f"tracing {run.name} at micro-batch {batch} by itself")
        return ask(batches=(batch,))

    batch = shape_of(run, experiment).micro_batch or 1
    traced = ask()
    if traced.at(batch) is None:
        traced = traced.beside(trace_at(batch))
    largest = None if room_bytes is None else largest_batch(traced, room_bytes, trace_at=trace_at)
    return TracedRun(run, batch, traced, largest)
