"""The instants of a training step of a published model that may be its peak, for any recipe, in microseconds.

Phase-aware: loss, last layer, first layer and optimizer peak at different times. It never adds what does not live at
the same time, and it never looks at a GPU.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from gpuplan.data.kernels import kernel
from gpuplan.footprint.layer import LayerBytes, layer_bytes
from gpuplan.footprint.residency import Residency, residency_of
from gpuplan.model import Component, Line, Moment

if TYPE_CHECKING:
    from gpuplan.data.models import ModelFacts
    from gpuplan.footprint.recipe import Recipe

__all__ = ["Workload", "moments_of", "peak_of", "split"]

WORKSPACE_BYTES = 2 * 8_519_680.0
"""cuBLAS keeps 4096 KiB x 2 + 16 KiB x 8 for each handle and stream on Ampere and earlier (torch documentation of
CUBLAS_WORKSPACE_CONFIG), one for the forward and one for the backward thread."""


HEAD_COPIES = {"forward": 2, "backward": 1}
"""16-bit copies of a 4-bit head while it runs: 2.0 on ten models (litgpt-0041 to 0065), 1 in the backward pass."""


class Workload(NamedTuple):
    """A model, how it is trained, and how long one row is; `predictions` of a row go through the head."""

    model: ModelFacts
    recipe: Recipe
    sequence: int
    predictions: int | None = None

    @property
    def logits(self) -> int:
        """Logits of one row."""
        if self.model.classes:
            return self.model.classes
        return self.model.vocabulary * (self.sequence if self.predictions is None else self.predictions)


def split(model: ModelFacts, *, tensor: int = 1, pipeline: int = 1) -> ModelFacts:
    """The part of `model` that one rank computes under tensor and pipeline parallelism, each dimension rounded up."""
    return replace(
        model,
        layers=-(-model.layers // pipeline),
        heads=-(-model.heads // tensor),
        kv_heads=-(-model.kv_heads // tensor),
        feedforward=-(-model.feedforward // tensor),
        vocabulary=-(-model.vocabulary // tensor),
    )


class _Step(NamedTuple):
    work: Workload
    held: Residency
    layer: LayerBytes

    @property
    def boundary(self) -> float:
        """The stream between two layers, of one row."""
        return float(self.work.recipe.residual * self.work.model.d_model * self.work.sequence)

    @property
    def kept(self) -> float:
        """What one layer keeps of one row for its backward pass, all of it."""
        return self.work.sequence * (self.layer.kept + self.layer.scores * self.work.sequence)


@lru_cache(maxsize=4096)
def moments_of(work: Workload) -> tuple[Moment, ...]:
    """All instants of the step that may be its peak; each component is a line in the micro-batch."""
    step = _Step(work, residency_of(work.model, work.recipe), layer_bytes(work.model, work.recipe))
    if not work.recipe.trains:
        return (_generation(step),)
    return (
        _loss(step, "forward"),
        _loss(step, "backward"),
        _last_layer(step),
        _first_layer(step),
        _optimizer(step),
    )


def peak_of(work: Workload, batch: float) -> Moment:
    """The instant at which most is alive with `batch` rows."""
    return max(moments_of(work), key=lambda moment: moment.total_bytes(batch))


def _loss(step: _Step, direction: Literal["forward", "backward"]) -> Moment:
    entry = kernel("loss", step.work.recipe.loss)
    coefficient = entry.forward if direction == "forward" else entry.backward
    return _moment(
        step,
        direction,
        activations=Line(slope=_all_layers(step) + _final_norm(step, output=direction == "forward")),
        logits=Line(slope=coefficient * step.work.logits),
        temporaries=Line(intercept=step.held.casts + HEAD_COPIES[direction] * step.held.head_copy),
    )


def _last_layer(step: _Step) -> Moment:
    """Its backward pass, after the head's: everything of the layers before it is still there."""
    again = step.kept if step.work.recipe.checkpointing else 0.0
    return _moment(
        step,
        "backward",
        gradients=Line(intercept=step.held.head_gradient + step.held.layer_gradient),
        activations=Line(slope=_all_layers(step) + again),
        temporaries=Line(intercept=step.held.casts, slope=step.work.sequence * step.layer.backward),
    )


def _first_layer(step: _Step) -> Moment:
    """Its backward pass, with the gradients of all the others.

    FSDP1's hooks that free frozen shards keep the stream between all layers, and its gradients, to the end.
    """
    recipe, layers = step.work.recipe, step.work.model.layers
    hooked = recipe.shards_parameters and recipe.method != "full" and recipe.keeps_streams
    streams = 2 * layers - 2 if hooked else 1
    retained = streams * step.boundary if recipe.checkpointing else 0.0
    own = step.held.head_gradient + step.held.layer_gradient if recipe.shards_parameters else 0.0
    return _moment(
        step,
        "backward",
        gradients=Line(intercept=step.held.gradients + own),
        buffers=Line(intercept=step.held.gathered_late),
        activations=Line(slope=retained + step.kept),
        temporaries=Line(intercept=step.held.casts / max(layers, 1), slope=step.work.sequence * step.layer.backward),
    )


def _optimizer(step: _Step) -> Moment:
    line = Line(intercept=step.held.gradients)
    return _moment(step, "optimizer", gradients=line, temporaries=Line(intercept=step.held.step))


def _generation(step: _Step) -> Moment:
    """One token at a time: keys and values of the row, one layer's tensors and the logits of one token."""
    model, size = step.work.model, step.work.recipe.compute
    cache = 2 * size * model.layers * model.kv_heads * model.head_dim * step.work.sequence
    return _moment(
        step,
        "forward",
        activations=Line(slope=float(cache)),
        logits=Line(slope=6.0 * model.vocabulary),
        temporaries=Line(intercept=step.held.casts + HEAD_COPIES["forward"] * step.held.head_copy),
    )


def _all_layers(step: _Step) -> float:
    """What one row leaves behind at the end of the forward pass."""
    recipe, layers = step.work.recipe, step.work.model.layers
    if recipe.offload_activations:
        return 2 * step.boundary
    if recipe.checkpointing:
        return layers * step.boundary
    return (layers - recipe.first_trained_layer) * step.kept


def _final_norm(step: _Step, *, output: bool) -> float:
    """The norm after the layers, what the loss keeps of its output, and while the forward runs the output."""
    recipe, width = step.work.recipe, step.work.model.d_model * step.work.sequence
    entry, loss = kernel("norm", recipe.norm), kernel("loss", recipe.loss)
    trained = recipe.method == "full"
    own = entry.input or recipe.residual
    kept = own + (entry.weight if trained else 0) + loss.hidden
    return float(width * (kept + (recipe.compute if output or trained else 0)))


def _moment(step: _Step, phase: Literal["forward", "backward", "optimizer"], **alive: Line) -> Moment:
    """With what is always there; gradients that outlive a step are in every moment."""
    recipe, held = step.work.recipe, step.held
    gathered = 0.0 if phase == "optimizer" else alive.get("buffers", Line(intercept=held.gathered)).intercept
    gradients = alive.get("gradients", Line())
    if recipe.accumulation > 1 or recipe.keeps_gradients:
        gradients = Line(intercept=max(held.gradients, gradients.intercept))
    buckets = held.gradients if recipe.sharding == "ddp" and recipe.world > 1 else 0.0
    alive_bytes: dict[Component, Line] = {
        "parameters": Line(intercept=held.weights + held.adapters),
        "gradients": gradients,
        "optimizer": Line(intercept=held.states),
        "activations": alive.get("activations", Line()),
        "logits": alive.get("logits", Line()),
        "temporaries": alive.get("temporaries", Line()),
        "inputs": Line(slope=24.0 * step.work.sequence),
        "buffers": Line(intercept=gathered + buckets + WORKSPACE_BYTES),
    }
    return Moment(phase=phase, alive_bytes=alive_bytes)
