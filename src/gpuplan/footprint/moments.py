"""The bytes alive at the instants of a training step that may be its peak, each a sum of lines in the micro-batch.

Never a sum over phases: the head, the layers and the optimizer have their peaks at different times. Taken for
granted: weights, gradients and optimizer states in fp32, gradients set to None between steps, logits alive until
the step ends, and in 16-bit precision autocast, whose casts of the weights live until their layer's backward pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from gpuplan.model import Component, Line, Moment

if TYPE_CHECKING:
    from gpuplan.footprint.dimensions import Dimensions
    from gpuplan.footprint.operators import Runtime
    from gpuplan.footprint.parameters import Parameters

__all__ = ["STATES", "find_moments"]

STATES = {"sgd": 0, "adam": 2, "adamw": 2}
"""Optimizer states a parameter, each of 4 bytes; SGD without momentum, as torch.optim.SGD has it by default."""


class _Model(NamedTuple):
    dimensions: Dimensions
    parameters: Parameters
    activation_bytes: int
    runtime: Runtime

    @property
    def autocast(self) -> bool:
        return self.activation_bytes < 4

    @property
    def mask_bytes(self) -> int:
        """Of one element of a dropout mask: a byte on a GPU, a whole number on a CPU."""
        return 1 if self.runtime == "gpu" else self.activation_bytes

    @property
    def head_gradient(self) -> int:
        return self.parameters.head_matrix * 4

    @property
    def logit(self) -> int:
        """Logits of one row."""
        return self.dimensions.outputs * self.dimensions.predictions


def find_moments(
    dimensions: Dimensions, parameters: Parameters, *, activation_bytes: int, runtime: Runtime
) -> tuple[Moment, ...]:
    """End of the forward pass, the backward pass at head, last and first layer and embedding, and the optimizer."""
    model = _Model(dimensions, parameters, activation_bytes, runtime)
    return (
        _end_of_forward(model),
        _loss_backward(model),
        _head_backward(model),
        _last_layer_backward(model),
        _first_layer_backward(model),
        _embedding_backward(model),
        _optimizer_step(model),
    )


def _end_of_forward(model: _Model) -> Moment:
    width = 4 * model.dimensions.d_model * model.dimensions.sequence
    copy = 4 if model.autocast else 0
    return _moment(
        model,
        "forward",
        activations=Line(slope=_saved_by_all(model)),
        logits=Line(slope=float(model.logit * (model.activation_bytes + copy + 4))),
        temporaries=Line(intercept=_casts(model), slope=2.0 * width),
    )


def _loss_backward(model: _Model) -> Moment:
    return _moment(
        model,
        "backward",
        activations=Line(slope=_saved_by_all(model)),
        logits=Line(slope=float(model.logit * (model.activation_bytes + 3 * 4))),
        temporaries=Line(intercept=_casts(model)),
    )


def _head_backward(model: _Model) -> Moment:
    sixteen_bit_copy = model.head_gradient / 2 if model.autocast else 0.0
    return _moment(
        model,
        "backward",
        gradients=Line(intercept=float(model.head_gradient)),
        activations=Line(slope=_saved_by_all(model)),
        logits=Line(slope=2.0 * model.logit * model.activation_bytes),
        temporaries=Line(intercept=_casts(model) + sixteen_bit_copy),
    )


def _last_layer_backward(model: _Model) -> Moment:
    return _layer_backward(
        model,
        layers=model.dimensions.layers,
        gradients=model.parameters.head_matrix + model.dimensions.d_model * model.dimensions.feedforward,
    )


def _first_layer_backward(model: _Model) -> Moment:
    parameters = model.parameters
    tied_head = parameters.head_matrix if _tied(model) else 0
    others = parameters.layers - parameters.layer + parameters.final_norm + parameters.head
    own = model.dimensions.d_model * model.dimensions.feedforward
    return _layer_backward(model, layers=1, gradients=others + tied_head + own)


def _layer_backward(model: _Model, *, layers: int, gradients: int) -> Moment:
    """The feed-forward's backward pass in the last of `layers` layers; what came after it is freed."""
    dimensions = model.dimensions
    width = dimensions.d_model * dimensions.sequence
    recomputed = _layer(model) - 4.0 * width if dimensions.checkpointing else 0.0
    freed = model.mask_bytes * width if dimensions.dropout else 0
    freed += 4 * width if dimensions.kind == "encoder" else 0
    held = (2 if dimensions.gated else 1) * model.activation_bytes * dimensions.feedforward * dimensions.sequence
    return _moment(
        model,
        "backward",
        gradients=Line(intercept=4.0 * gradients),
        activations=Line(slope=_saved(model, layers) + recomputed - freed),
        logits=Line(slope=float(model.logit * model.activation_bytes)),
        temporaries=Line(intercept=_casts(model) * layers / dimensions.layers, slope=float(4 * width + held)),
    )


def _embedding_backward(model: _Model) -> Moment:
    """A tied embedding has two gradients, and autograd adds them into a third."""
    width = 4.0 * model.dimensions.d_model * model.dimensions.sequence
    return _moment(
        model,
        "backward",
        gradients=Line(intercept=4.0 * model.parameters.total),
        logits=Line(slope=float(model.logit * model.activation_bytes)),
        temporaries=Line(intercept=8.0 * model.parameters.embedding if _tied(model) else 0.0, slope=2 * width),
    )


def _optimizer_step(model: _Model) -> Moment:
    return _moment(
        model,
        "optimizer",
        gradients=Line(intercept=4.0 * model.parameters.total),
        logits=Line(slope=float(model.logit * model.activation_bytes)),
        temporaries=Line(intercept=_optimizer_temporary(model)),
    )


def _moment(model: _Model, phase: Literal["forward", "backward", "optimizer"], **alive: Line) -> Moment:
    """The moment with what is always there: weights, states, tables of positions, the batch itself."""
    states = STATES[model.dimensions.optimizer] * 4.0 * model.parameters.total
    table = 0 if model.dimensions.learned_positions else 4 * model.dimensions.sequence * model.dimensions.d_model
    labels = model.dimensions.predictions
    alive_bytes: dict[Component, Line] = {
        "parameters": Line(intercept=4.0 * model.parameters.total),
        "gradients": alive.get("gradients", Line()),
        "optimizer": Line(intercept=states),
        "activations": alive.get("activations", Line()),
        "logits": alive.get("logits", Line()),
        "temporaries": alive.get("temporaries", Line()),
        "inputs": Line(slope=8.0 * (model.dimensions.sequence + labels)),
        "buffers": Line(intercept=float(table)),
    }
    return Moment(phase=phase, alive_bytes=alive_bytes)


def _saved(model: _Model, layers: int) -> float:
    """What the forward pass keeps of one row for the backward pass of the embedding and `layers` layers."""
    width = model.dimensions.d_model * model.dimensions.sequence
    of_layer = 4.0 * width if model.dimensions.checkpointing else _layer(model)
    embedding_mask = model.mask_bytes * width if model.dimensions.dropout else 0
    return layers * of_layer + embedding_mask


def _saved_by_all(model: _Model) -> float:
    """The same of one row at the end of the forward pass: all layers, and a decoder's final norm."""
    width = model.dimensions.d_model * model.dimensions.sequence
    normalized = 4 if model.dimensions.gated else 0
    final_norm = (4 + normalized + model.activation_bytes) * width if model.dimensions.kind == "decoder" else 0
    return _saved(model, model.dimensions.layers) + final_norm


def _layer(model: _Model) -> float:
    """What one layer keeps of one row."""
    return model.dimensions.sequence * (_norms(model) + _feedforward(model)) + _attention(model)


def _norms(model: _Model) -> float:
    """Of one token: both norms' inputs in fp32, their outputs as inputs of the matrices, the residual masks."""
    width = model.dimensions.d_model
    masks = 2 * model.mask_bytes * width if model.dimensions.dropout else 0
    if not model.dimensions.gated:
        return 2 * (4 + model.activation_bytes) * width + 16 + masks
    # An unfused RMSNorm keeps its normalized input too; autocast copies its output once for each matrix that reads it.
    copies = 5 if model.autocast else 2
    return (2 * 8 + copies * model.activation_bytes) * width + 8 + masks


def _feedforward(model: _Model) -> float:
    inner = model.dimensions.feedforward
    if model.dimensions.gated:
        return 4 * model.activation_bytes * inner
    if model.dimensions.dropout and model.dimensions.kind == "encoder":
        return (2 * model.activation_bytes + model.mask_bytes) * inner
    # ReLU keeps only its output, which is the next matrix's input; an encoder without dropout keeps nothing else.
    return (1 if model.dimensions.kind == "encoder" else 2) * model.activation_bytes * inner


def _attention(model: _Model) -> float:
    """Of one row: q, k, v, the output and the log-sum-exp; the CPU's kernel with dropout keeps the S x S scores."""
    dimensions = model.dimensions
    tensors = 2 * dimensions.d_model + 2 * dimensions.kv_width
    kept = dimensions.sequence * (model.activation_bytes * tensors + 4.0 * dimensions.heads)
    scores = model.runtime == "cpu" and dimensions.dropout
    # nn.MultiheadAttention keeps one more: a copy of the output as flash attention has it, or q and k scaled in fp32.
    if dimensions.kind == "encoder":
        kept += dimensions.sequence * dimensions.d_model * (8 if scores else model.activation_bytes)
    return kept + (3 * 4 * dimensions.heads * dimensions.sequence**2 if scores else 0)


def _tied(model: _Model) -> bool:
    return model.dimensions.tied and not model.dimensions.classes


def _casts(model: _Model) -> float:
    return 2.0 * model.parameters.matrices if model.autocast else 0.0


def _optimizer_temporary(model: _Model) -> float:
    """A multi-tensor step holds one more copy of the parameters; the CPU's loop two of the largest one."""
    if model.dimensions.optimizer == "sgd":
        return 0.0
    return 4.0 * (model.parameters.total if model.runtime == "gpu" else 2 * model.parameters.largest)
