"""What one training step needs, from the strongest source that the world holds. It never traces or reads a file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gpuplan.command import fill, values_of
from gpuplan.data.workloads import find_workload
from gpuplan.expand import shape_of
from gpuplan.footprint.closed_form import closed_form as closed_form
from gpuplan.footprint.dimensions import Unknown as Unknown
from gpuplan.footprint.named import facts_of_text, footprint_of_facts, unknown_name
from gpuplan.footprint.shapes import footprint_of_shape
from gpuplan.model import Architecture, FootprintSource

if TYPE_CHECKING:
    from gpuplan.footprint.operators import Runtime
    from gpuplan.model import Experiment, Footprint, Run, World

__all__ = ["Unknown", "closed_form", "footprint_of", "model_text"]

HUB_NAME = re.compile(r"(?:[\w.-]+/)?[\w., -]+(?<!\.json)")
"""A name with or without an owner, as in `microsoft/resnet-50`, and no path."""
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
    if isinstance(source.model, str):
        return _of_text(model_text(source.model, run), run, experiment, world, runtime=runtime)
    return _why_none(source)


def model_text(text: str, run: Run) -> str:
    """What `footprint.model` names for `run`, with its settings filled in: the key of `World.configs`."""
    try:
        return fill(text, values_of(run))
    except KeyError:
        return text


def _of_text(text: str, run: Run, experiment: Experiment, world: World, *, runtime: Runtime) -> Footprint | Unknown:
    """Of a configuration file, or of a transformer or another public network by its name."""
    config, shape = world.configs.get(text), shape_of(run, experiment)
    facts = facts_of_text(text, config)
    if isinstance(facts, Unknown):
        return facts
    if facts is not None:
        return footprint_of_facts(
            facts, sequence=shape.sequence, image=shape.image, precision=shape.precision, runtime=runtime
        )
    workload = None if HUB_NAME.fullmatch(text) is None else find_workload(text.rpartition("/")[2])
    if workload is None:
        return unknown_name(text, config)
    return footprint_of_shape(
        workload.name, precision=shape.precision or "fp32", sequence=shape.sequence, image=shape.image
    )


def _why_none(source: FootprintSource) -> Unknown:
    if source.trace is not None:
        return Unknown(f"{source.trace} has not been traced", "run `gpuplan trace`")
    if source.logs is not None:
        return Unknown("logs tell what a step took, not what it needs", DIMENSIONS)
    return Unknown("the spec does not say what one step needs", DIMENSIONS)
