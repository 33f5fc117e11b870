"""The instants of a training step that may be its peak: the model's program is run on a tape of sizes.

Taken for granted: gradients are set to None between steps, and logits are alive until the step ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.footprint.blocks import Kit
from gpuplan.footprint.programs import Program
from gpuplan.footprint.tape import Tape
from gpuplan.model import Component, Line

if TYPE_CHECKING:
    from gpuplan.footprint.dimensions import Dimensions
    from gpuplan.footprint.operators import Runtime
    from gpuplan.footprint.parameters import Parameters
    from gpuplan.footprint.tape import Swept
    from gpuplan.model import Moment

__all__ = ["STATES", "Step", "run_step"]

STATES = {"sgd": 0, "adam": 2, "adamw": 2, "adamw_fused": 2}
"""Optimizer states a parameter, each as wide as it; SGD without momentum, as torch.optim.SGD has it by default."""
COMPONENTS: dict[str, Component] = {
    "activations": "activations", "casts": "temporaries", "work": "temporaries", "shared": "temporaries",
    "logits": "logits", "gradients": "gradients", "buffers": "buffers", "inputs": "inputs",
}  # fmt: skip


class Step(NamedTuple):
    """The upper envelope over the micro-batch of all that is alive, and what elementwise kernels moved."""

    moments: tuple[Moment, ...]
    swept: Swept


def run_step(
    dimensions: Dimensions, parameters: Parameters, *, weight_bytes: int, autocast: bool, runtime: Runtime
) -> Step:
    """Forward pass, backward pass and optimizer on a tape of sizes, event by event."""
    tape = Tape()
    kit = Kit(
        tape, weight=weight_bytes, autocast=autocast, dropout=dimensions.dropout, runtime=runtime,
        trained=not dimensions.targets, checkpointing=dimensions.checkpointing,
    )  # fmt: skip
    logits = Program(kit, dimensions).logits()
    library = dimensions.modules == "transformers"
    loss = kit.cross_entropy(logits, upcast=library and dimensions.kind == "decoder")
    kit.end_autocast()
    if library:  # its Trainer lets go of the output
        del logits
    tape.begin("backward")
    if loss.node is not None:
        loss.node.gradient.append(tape.hold("work"))
        del loss
        tape.backward()
    tape.begin("optimizer")
    temporary = _optimizer_temporary(dimensions, parameters, weight_bytes=weight_bytes, runtime=runtime)
    step = tape.hold("work", fixed=temporary)
    moments = tape.moments(_always(dimensions, parameters, weight_bytes=weight_bytes), COMPONENTS)
    del step
    return Step(moments, tape.swept)


def _always(dimensions: Dimensions, parameters: Parameters, *, weight_bytes: int) -> dict[Component, Line]:
    """Weights, states, tables of positions and the batch itself."""
    labels = 8.0 * dimensions.predictions
    row = 3.0 * weight_bytes * dimensions.image**2 if dimensions.image else 8.0 * dimensions.sequence
    return {
        "parameters": Line(intercept=float(weight_bytes * (parameters.total + parameters.adapters))),
        "optimizer": Line(intercept=float(STATES[dimensions.optimizer] * weight_bytes * parameters.trained)),
        "inputs": Line(slope=row + labels),
        "buffers": Line(intercept=_tables(dimensions, weight_bytes)),
    }


def _tables(dimensions: Dimensions, weight_bytes: int) -> float:
    if dimensions.rotary:
        return 2.0 * weight_bytes * dimensions.sequence * dimensions.head_dim
    if dimensions.kind == "encoder" and not dimensions.learned_positions:
        return float(weight_bytes * dimensions.sequence * dimensions.d_model)
    return 0.0


def _optimizer_temporary(
    dimensions: Dimensions, parameters: Parameters, *, weight_bytes: int, runtime: Runtime
) -> float:
    """One more copy of the parameters if it is multi-tensor, none if fused; in a CPU's loop two of the largest."""
    if dimensions.optimizer in {"sgd", "adamw_fused"}:
        return 0.0
    return float(weight_bytes * (parameters.trained if runtime == "gpu" else 2 * parameters.largest))
