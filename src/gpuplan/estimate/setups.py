"""A run with some of its memory settings changed, and what it needs then. It says nothing of what is worth changing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data.kernels import kernel
from gpuplan.estimate.memory import judged
from gpuplan.estimate.peaks import Peaks, predicted
from gpuplan.estimate.roofline import step_seconds
from gpuplan.footprint import Unknown, closed_form
from gpuplan.footprint.declared import SHARDED
from gpuplan.footprint.dimensions import dimensions_of
from gpuplan.footprint.gang import in_gang
from gpuplan.footprint.recipe import OPTIMIZERS
from gpuplan.model import Architecture, Line

if TYPE_CHECKING:
    from gpuplan.estimate.case import Case
    from gpuplan.footprint.dimensions import Dimensions
    from gpuplan.model import Footprint, Gpu, MemoryEstimate, Moment, Quantity

__all__ = ["Outlook", "Setup", "outlook", "setup_of"]


class Setup(NamedTuple):
    """A run and all that may be changed of it; `architecture` is None where a trace says what a step needs.

    `residual_bytes` is what was measured of the run as it is beyond what is predicted of it.
    """

    base: Case
    architecture: Architecture | None
    gpu: Gpu
    precision: str | None
    ranks: int
    rows: int
    passes: int
    linear_loss: bool = False
    small_states: bool = False
    residual_bytes: float = 0.0


class Outlook(NamedTuple):
    """What a setup needs, and the seconds of one optimizer step by the roofline, where it has one."""

    memory: MemoryEstimate
    step_s: float | None


def setup_of(case: Case, own: MemoryEstimate) -> Setup | None:
    """The run of `case` as it is, with `own` memory; None where nothing says what a step needs.

    Without a batch it is that of one row, the least that it can be.
    """
    prediction = predicted(case)
    if prediction is None or case.known is None:
        return None
    source = case.experiment.footprint
    dimensions = source.model if source is not None and case.known.source == "closed_form" else None
    return Setup(
        base=case,
        architecture=dimensions if isinstance(dimensions, Architecture) else None,
        gpu=case.gpu,
        precision=case.shape.precision,
        ranks=case.run.ranks,
        rows=case.rows or 1,
        passes=case.passes,
        residual_bytes=own.device_bytes.p50 - prediction.device.p50,
    )


def outlook(setup: Setup) -> Outlook | None:
    """Memory and time of `setup`; None where the closed form refuses it."""
    case = _case(setup)
    peaks = predicted(case)
    if peaks is None:
        return None
    seconds = step_seconds(case)
    return Outlook(judged(case, _moved(peaks, setup.residual_bytes)), seconds.seconds if seconds else None)


def _moved(peaks: Peaks, residual_bytes: float) -> Peaks:
    """The difference of measured and predicted is carried over, as in `remembered`: it does not grow with the step."""
    return Peaks(*(_shifted(quantity, residual_bytes) for quantity in peaks))


def _shifted(quantity: Quantity, residual_bytes: float) -> Quantity:
    figures = {name: max(0.0, getattr(quantity, name) + residual_bytes) for name in ("p10", "p50", "p90")}
    return quantity.model_copy(update=figures)


def _case(setup: Setup) -> Case:
    base = setup.base
    return replace(
        base,
        run=base.run.model_copy(update={"ranks": setup.ranks}),
        gpu=setup.gpu,
        shape=base.shape._replace(micro_batch=setup.rows, accumulation=setup.passes, precision=setup.precision),
        footprint=_footprint(setup),
    )


def _footprint(setup: Setup) -> Footprint | Unknown:
    base = setup.base
    if setup.architecture is None:
        found: Footprint | Unknown = base.world.footprints.get(base.run.key) or base.footprint
    else:
        found = closed_form(
            setup.architecture,
            base.run.settings,
            sequence=base.shape.sequence,
            precision=setup.precision,
            runtime=setup.gpu.kind,
            ranks=setup.ranks,
        )
    if isinstance(found, Unknown):
        return found
    if setup.architecture is not None:
        dimensions = dimensions_of(setup.architecture, base.run.settings, sequence=base.shape.sequence)
        found = _with_linear_loss(found, dimensions) if setup.linear_loss else found
        shares = setup.ranks if SHARDED in found.versions else 1
        found = _with_small_states(found, dimensions, shares) if setup.small_states else found
    return in_gang(found, ranks=setup.ranks, accumulation=setup.passes)


def _with_linear_loss(footprint: Footprint, dimensions: Dimensions) -> Footprint:
    """No logits, as they come in small chunks; in their place the loss keeps the gradient of the hidden state."""
    elements = dimensions.d_model * dimensions.predictions
    hidden = kernel("loss", "fused_linear").hidden * (1 if footprint.precision in {"fp16", "bf16"} else 2)

    def without(moment: Moment) -> Moment:
        kept = moment.alive_bytes.get("activations", Line())
        gradient = 0.0 if moment.phase == "optimizer" else hidden * elements
        activations = Line(intercept=kept.intercept, slope=kept.slope + gradient)
        return moment.model_copy(
            update={"alive_bytes": moment.alive_bytes | {"activations": activations, "logits": Line()}}
        )

    return footprint.model_copy(update={"moments": tuple(without(moment) for moment in footprint.moments)})


def _with_small_states(footprint: Footprint, dimensions: Dimensions, shares: int) -> Footprint:
    """States of 8 bits, and a step that goes through one tensor after the other."""
    optimizer = OPTIMIZERS["adamw_8bit"]
    largest = dimensions.d_model * max(dimensions.vocabulary, dimensions.feedforward)
    states = Line(intercept=optimizer.state_bytes * footprint.parameters / shares)
    step = Line(intercept=optimizer.largest * 4.0 * largest / shares)

    def smaller(moment: Moment) -> Moment:
        alive = moment.alive_bytes | {"optimizer": states}
        if moment.phase == "optimizer":
            alive |= {"temporaries": step}
        return moment.model_copy(update={"alive_bytes": alive})

    return footprint.model_copy(update={"moments": tuple(smaller(moment) for moment in footprint.moments)})
