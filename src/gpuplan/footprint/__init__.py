"""What one training step needs, from the strongest source that the world holds. It never traces or reads a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuplan.expand import shape_of
from gpuplan.footprint.closed_form import closed_form as closed_form
from gpuplan.footprint.dimensions import Unknown as Unknown
from gpuplan.model import Architecture, FootprintSource

if TYPE_CHECKING:
    from gpuplan.footprint.operators import Runtime
    from gpuplan.model import Experiment, Footprint, Run, World

__all__ = ["Unknown", "closed_form", "footprint_of"]

DIMENSIONS = "give the dimensions in `footprint.model` (kind, layers, d_model, heads, feedforward, vocabulary)"


def footprint_of(run: Run, experiment: Experiment, world: World, *, runtime: Runtime = "gpu") -> Footprint | Unknown:
    """The traced footprint of `run`, else its model's closed form, else why there is none and what to add."""
    traced = world.footprints.get(run.key)
    if traced is not None:
        return traced
    source = experiment.footprint or FootprintSource()
    if run.control and run.train and run.command != experiment.command:
        return Unknown(f"the control {run.control} is another program", "run `gpuplan probe` on it")
    if isinstance(source.model, Architecture):
        shape = shape_of(run, experiment)
        return closed_form(
            source.model,
            run.settings,
            sequence=shape.sequence,
            precision=shape.precision,
            runtime=runtime,
            ranks=run.ranks,
        )
    return _why_none(source)


def _why_none(source: FootprintSource) -> Unknown:
    if source.trace is not None:
        return Unknown(f"{source.trace} has not been traced", "run `gpuplan trace`")
    if source.model is not None:
        return Unknown(f"the dimensions in {source.model} were not read", DIMENSIONS)
    if source.logs is not None:
        return Unknown("logs tell what a step took, not what it needs", DIMENSIONS)
    return Unknown("the spec does not say what one step needs", DIMENSIONS)
