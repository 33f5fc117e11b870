"""The question "will it fit" for one run of a spec, on GPUs that need not be here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data import find_gpu, near_gpus
from gpuplan.errors import UserError
from gpuplan.estimate.fit import BATCHES, fit
from gpuplan.expand import expand, shape_of
from gpuplan.world import look_at_machine
from gpuplan.world.footprints import known_footprints

if TYPE_CHECKING:
    from gpuplan.estimate.fit import Fit
    from gpuplan.flow.state import State
    from gpuplan.model import Gpu, Run
    from gpuplan.spec import Spec

__all__ = ["FitRun", "fit_run"]

LADDER = ("RTX 3070", "T4", "RTX 4090", "L40S", "A100 SXM 40GB", "A100 SXM 80GB", "H100 SXM 80GB", "H200 SXM", "B200")
LARGEST = 1 << 20


class FitRun(NamedTuple):
    """One run on several GPUs at several batches; `own_batch` is its own, where that is known."""

    run: Run
    own_batch: int | None
    batches: tuple[int, ...]
    fits: tuple[Fit, ...]


def fit_run(
    spec: Spec, state: State, *, name: str | None, gpus: str | None, batches: str | None, remedies: bool = True
) -> FitRun:
    """Fit the run `name`, or the first, with what to do where it does not fit; the default `batches` hold its own.

    Raises UserError for unknown names, GPUs and batches.
    """
    runs = expand(spec.experiment)
    run = _run(runs, name)
    with state.reading() as store:
        world = look_at_machine(spec.experiment, runs, store=store)
    traced = known_footprints(spec.experiment, [run], base=spec.base, state=state.folder, on_gpu=True)
    world = world.model_copy(update={"footprints": traced})
    wanted = gpus.split(",") if gpus else spec.experiment.compute.gpus or [gpu for gpu in LADDER if find_gpu(gpu)]
    own = shape_of(run, spec.experiment).micro_batch
    sizes = _batches(batches) if batches is not None else tuple(sorted({*BATCHES, *([own] if own else [])}))
    cards = [_gpu(text.strip()) for text in wanted]
    found = fit(run, spec.experiment, gpus=cards, batches=sizes, world=world, with_remedies=remedies)
    return FitRun(run, own, sizes, tuple(found))


def _run(runs: tuple[Run, ...], name: str | None) -> Run:
    found = next((run for run in runs if name in (None, run.name)), None)
    if found is None:
        raise UserError(f"no run {name!r} in the spec", hint=f"there are: {', '.join(run.name for run in runs[:10])}")
    return found


def _gpu(name: str) -> Gpu:
    found = find_gpu(name)
    if found is None:
        near = ", ".join(near_gpus(name))
        raise UserError(
            f"no accelerator {name!r} in gpuplan's data", hint=f"near: {near}" if near else "gpuplan gpus --known"
        )
    return found


def _batches(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isascii() and part.strip().isdigit() for part in parts):
        raise UserError(f"--batches {text}: whole numbers, please", hint="--batches 1,2,4,8")
    sizes = tuple(int(part) for part in parts)
    if not all(1 <= size <= LARGEST for size in sizes):
        raise UserError(f"--batches {text}: from 1 to {LARGEST:,}", hint="--batches 1,2,4,8")
    return sizes
