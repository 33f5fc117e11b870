"""Floating-point operations, bytes moved and kernels of one training step, by class of operator. It knows no GPU.

Only matrix products and attention count FLOPs, as the field does (`torch.utils.flop_counter`): a backward pass is
twice the forward, and recomputing activations is one more forward of the layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gpuplan.model import Line, Operators

if TYPE_CHECKING:
    from gpuplan.footprint.dimensions import Dimensions
    from gpuplan.footprint.parameters import Parameters

__all__ = ["Runtime", "count_operators"]

Runtime = Literal["gpu", "cpu"]
"""Which of PyTorch's kernels run: those of the CPU keep other tensors alive, and more of them."""

PASSES = 3
"""Forward, gradient of the input, gradient of the weights: equal work each."""

KERNELS = {"encoder": 46, "decoder": 33, "gated": 104}
"""Of one layer, forward and backward, views left out: counted in a dispatch mode, torch 2.13, November 2026."""
KERNELS_OF_DROPOUT = {"gpu": 4, "cpu": 34}
KERNELS_OF_AUTOCAST = 22
KERNELS_OUTSIDE_LAYERS = 20
KERNELS_OF_OPTIMIZER = {"sgd": 2, "adam": 10, "adamw": 10}
"""A multi-tensor (foreach) step on a GPU; the CPU's loop starts as many for each parameter tensor."""

SWEEPS_OF_OPTIMIZER = {"sgd": 3, "adam": 18, "adamw": 20}
"""How often an unfused step reads or writes an array as large as the parameters."""
SWEEPS_OF_LOGITS = 8
"""log-softmax, its loss and the gradients of both: reads and writes of fp32 logits."""
SWEEPS_OF_SCORES = 22
"""The CPU's attention with dropout: reads and writes of the S x S scores, forward and backward."""


def count_operators(
    dimensions: Dimensions, parameters: Parameters, *, activation_bytes: int, runtime: Runtime
) -> tuple[Operators, ...]:
    """All classes of operators of one step."""
    kernels = _kernels(dimensions, parameters, autocast=activation_bytes < 4, runtime=runtime)
    flops = {"matmul": _matmul_flops(dimensions, parameters), "attention": _attention_flops(dimensions)}
    moved = {
        "matmul": _matmul_bytes(dimensions, parameters, activation_bytes),
        "attention": _attention_bytes(dimensions, activation_bytes, runtime),
        "elementwise": _elementwise_bytes(dimensions, parameters, activation_bytes),
        "embedding": _embedding_bytes(dimensions, parameters),
        "optimizer": Line(intercept=SWEEPS_OF_OPTIMIZER[dimensions.optimizer] * 4.0 * parameters.total),
    }
    return tuple(
        Operators(kind=kind, flops=flops.get(kind, Line()), moved_bytes=moved[kind], kernels=kernels[kind])
        for kind in ("matmul", "attention", "elementwise", "embedding", "optimizer")
    )


def _layer_passes(dimensions: Dimensions) -> int:
    return PASSES + 1 if dimensions.checkpointing else PASSES


def _matmul_flops(dimensions: Dimensions, parameters: Parameters) -> Line:
    layers = _layer_passes(dimensions) * parameters.layer_matrices * dimensions.sequence
    head = PASSES * parameters.head_matrix * dimensions.predictions
    return Line(slope=2.0 * (layers + head))


def _attention_flops(dimensions: Dimensions) -> Line:
    products = 2 if dimensions.kind == "encoder" else 1  # two products; a causal one needs half of each
    per_layer = 2.0 * products * dimensions.sequence**2 * dimensions.d_model
    return Line(slope=_layer_passes(dimensions) * dimensions.layers * per_layer)


def _matmul_bytes(dimensions: Dimensions, parameters: Parameters, activation_bytes: int) -> Line:
    width, inner = dimensions.d_model, dimensions.feedforward
    projections = 2 * (width + dimensions.kv_width) + 2 * width  # reads and writes of q, k, v and the output
    feedforward = 3 * (width + inner) if dimensions.gated else 2 * (width + inner)
    layers = dimensions.layers * _layer_passes(dimensions) * (projections + feedforward) * dimensions.sequence
    head = PASSES * (width + dimensions.outputs) * dimensions.predictions
    weights = _layer_passes(dimensions) * parameters.layer_matrices + PASSES * parameters.head_matrix
    return Line(intercept=float(activation_bytes * weights), slope=float(activation_bytes * (layers + head)))


def _attention_bytes(dimensions: Dimensions, activation_bytes: int, runtime: Runtime) -> Line:
    tensors = 2 * (dimensions.d_model + dimensions.kv_width)
    per_layer = _layer_passes(dimensions) * activation_bytes * tensors * dimensions.sequence
    if runtime == "cpu" and dimensions.dropout:
        per_layer += SWEEPS_OF_SCORES * 4 * dimensions.heads * dimensions.sequence**2
    return Line(slope=float(dimensions.layers * per_layer))


def _elementwise_bytes(dimensions: Dimensions, parameters: Parameters, activation_bytes: int) -> Line:
    norms_and_sums = 4 * 10 * dimensions.d_model  # two norms (read, write) and two residual sums, in fp32
    inner = activation_bytes * dimensions.feedforward * (5 if dimensions.gated else 2)
    dropout = 3 * activation_bytes * dimensions.d_model if dimensions.dropout else 0
    layers = dimensions.layers * _layer_passes(dimensions) * (norms_and_sums + inner + dropout) * dimensions.sequence
    logits = SWEEPS_OF_LOGITS * 4 * dimensions.outputs * dimensions.predictions
    casts = 12 * parameters.matrices if activation_bytes < 4 else 0  # fp32 weights to 16 bits, gradients back
    return Line(intercept=float(casts), slope=float(layers + logits))


def _embedding_bytes(dimensions: Dimensions, parameters: Parameters) -> Line:
    rows = 4 * 4 * dimensions.d_model * dimensions.sequence  # looked up, written, and scattered as gradients
    return Line(intercept=2 * 4.0 * parameters.embedding, slope=float(rows))


def _kernels(dimensions: Dimensions, parameters: Parameters, *, autocast: bool, runtime: Runtime) -> dict[str, int]:
    of_layer = KERNELS["gated" if dimensions.gated else dimensions.kind]
    of_layer += KERNELS_OF_DROPOUT[runtime] * dimensions.dropout + KERNELS_OF_AUTOCAST * autocast
    passes = _layer_passes(dimensions) / PASSES
    matmuls = round(PASSES * (7 if dimensions.gated else 4) * dimensions.layers * passes) + PASSES
    attention = 2 * dimensions.layers
    everything = round(of_layer * dimensions.layers * passes) + KERNELS_OUTSIDE_LAYERS
    steps = KERNELS_OF_OPTIMIZER[dimensions.optimizer]
    return {
        "matmul": matmuls,
        "attention": attention,
        "elementwise": max(0, everything - matmuls - attention - 2),
        "embedding": 2,
        "optimizer": steps if runtime == "gpu" else steps * parameters.tensors,
    }
