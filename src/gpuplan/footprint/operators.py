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
    from gpuplan.footprint.tape import Swept

__all__ = ["Runtime", "count_operators"]

Runtime = Literal["gpu", "cpu"]
"""Which of PyTorch's kernels run: those of the CPU keep other tensors alive, and more of them."""

PASSES = 3
"""Forward, gradient of the input, gradient of the weights: equal work each."""

KERNELS = {"encoder": 46, "decoder": 33, "gated": 104, "vision": 33, "encoder_decoder": 90}
"""Of one layer, forward and backward, views left out: counted in a dispatch mode, torch 2.13, November 2026."""
KERNELS_OF_DROPOUT = {"gpu": 4, "cpu": 34}
KERNELS_OF_AUTOCAST = 22
KERNELS_OUTSIDE_LAYERS = 20
KERNELS_OF_OPTIMIZER = {"sgd": 2, "adam": 10, "adamw": 10, "adamw_fused": 1}
"""A multi-tensor (foreach) step on a GPU; the CPU's loop starts as many for each parameter tensor."""

SWEEPS_OF_OPTIMIZER = {"sgd": 3, "adam": 18, "adamw": 20, "adamw_fused": 7}
"""How often an unfused step reads or writes an array as large as the parameters."""
SWEEPS_OF_LOGITS = 8
"""log-softmax, its loss and the gradients of both: reads and writes of fp32 logits."""
SWEEPS_OF_SCORES = 22
"""Attention without a fused kernel: reads and writes of the S x S scores, forward and backward."""
PRODUCTS = {"encoder": 2, "vision": 2, "decoder": 2, "encoder_decoder": 6}
CAUSAL = {"encoder": 0, "vision": 0, "decoder": 1, "encoder_decoder": 1}
"""Products of S x S of a layer (of T5 in both halves and between them), and those that a causal mask saves."""


def count_operators(
    dimensions: Dimensions,
    parameters: Parameters,
    *,
    activation_bytes: int,
    runtime: Runtime,
    swept: Swept | None = None,
) -> tuple[Operators, ...]:
    """All classes of operators of one step; `swept` by elementwise kernels where the step's program was run."""
    kernels = _kernels(dimensions, parameters, autocast=activation_bytes < 4, runtime=runtime)
    flops = {"matmul": _matmul_flops(dimensions, parameters), "attention": _attention_flops(dimensions)}
    moved = {
        "matmul": _matmul_bytes(dimensions, parameters, activation_bytes),
        "attention": _attention_bytes(dimensions, activation_bytes, runtime),
        "elementwise": _elementwise_bytes(dimensions, parameters, activation_bytes),
        "embedding": _embedding_bytes(dimensions, parameters),
        "optimizer": Line(
            intercept=SWEEPS_OF_OPTIMIZER[dimensions.optimizer]
            * (2.0 if dimensions.bf16_weights else 4.0)
            * parameters.trained
        ),
    }
    if swept is not None:
        moved["elementwise"] = Line(intercept=swept.fixed, slope=swept.slope)
        kernels["elementwise"] = round(swept.kernels)
    return tuple(
        Operators(kind=kind, flops=flops.get(kind, Line()), moved_bytes=moved[kind], kernels=kernels[kind])
        for kind in ("matmul", "attention", "elementwise", "embedding", "optimizer")
    )


def keeps_scores(dimensions: Dimensions, *, activation_bytes: int, runtime: Runtime) -> bool:
    """Whether the S x S scores are tensors: without a fused kernel, or where PyTorch has none that fits."""
    if dimensions.attention == "eager":
        return True
    if runtime == "cpu":
        return dimensions.dropout
    return activation_bytes == 4 and dimensions.heads != dimensions.kv_heads


def _layer_passes(dimensions: Dimensions) -> int:
    """Frozen matrices need no gradient of their own."""
    return PASSES + dimensions.checkpointing - bool(dimensions.targets)


def _matmul_flops(dimensions: Dimensions, parameters: Parameters) -> Line:
    layers = _layer_passes(dimensions) * parameters.active_matrices * dimensions.tokens
    adapters = (PASSES + dimensions.checkpointing) * parameters.adapters * dimensions.tokens
    head = (PASSES - bool(dimensions.targets)) * parameters.head_matrix * dimensions.predictions
    patches = (PASSES - 1) * parameters.embedding * (dimensions.tokens - 1) if dimensions.patch else 0
    return Line(slope=2.0 * (layers + adapters + head + patches))


def _attention_flops(dimensions: Dimensions) -> Line:
    fused = dimensions.attention != "eager"
    products = PRODUCTS[dimensions.kind] - (CAUSAL[dimensions.kind] if fused else 0)
    per_layer = 2.0 * products * dimensions.tokens**2 * dimensions.query_width
    return Line(slope=(PASSES + dimensions.checkpointing) * dimensions.layers * per_layer)


def _matmul_bytes(dimensions: Dimensions, parameters: Parameters, activation_bytes: int) -> Line:
    width, inner = dimensions.d_model, dimensions.feedforward * (dimensions.experts_per_token or 1)
    projections = 2 * (dimensions.query_width + dimensions.kv_width) + 2 * width  # reads and writes of q, k, v, output
    feedforward = 3 * (width + inner) if dimensions.gated else 2 * (width + inner)
    each = dimensions.halves * (projections + feedforward) + (dimensions.halves - 1) * projections
    layers = dimensions.layers * _layer_passes(dimensions) * each * dimensions.tokens
    head = PASSES * (width + dimensions.outputs) * dimensions.predictions
    weights = _layer_passes(dimensions) * parameters.layer_matrices + PASSES * parameters.head_matrix
    return Line(intercept=float(activation_bytes * weights), slope=float(activation_bytes * (layers + head)))


def _attention_bytes(dimensions: Dimensions, activation_bytes: int, runtime: Runtime) -> Line:
    attentions = PRODUCTS[dimensions.kind] // 2
    tensors = 2 * (dimensions.query_width + dimensions.kv_width)
    per_layer = _layer_passes(dimensions) * activation_bytes * tensors * dimensions.tokens
    if keeps_scores(dimensions, activation_bytes=activation_bytes, runtime=runtime):
        per_layer += SWEEPS_OF_SCORES * 4 * dimensions.heads * dimensions.tokens**2
    return Line(slope=float(attentions * dimensions.layers * per_layer))


def _elementwise_bytes(dimensions: Dimensions, parameters: Parameters, activation_bytes: int) -> Line:
    norms_and_sums = 4 * 10 * dimensions.d_model  # two norms (read, write) and two residual sums, in fp32
    active = dimensions.feedforward * (dimensions.experts_per_token or 1)
    inner = activation_bytes * active * (5 if dimensions.gated else 2)
    dropout = 3 * activation_bytes * dimensions.d_model if dimensions.dropout else 0
    stack = dimensions.halves * dimensions.layers * _layer_passes(dimensions)
    layers = stack * (norms_and_sums + inner + dropout) * dimensions.tokens
    logits = SWEEPS_OF_LOGITS * 4 * dimensions.outputs * dimensions.predictions
    casts = (
        12 * parameters.matrices if activation_bytes < 4 and not dimensions.bf16_weights else 0
    )  # fp32 weights to 16 bits, gradients back
    return Line(intercept=float(casts), slope=float(layers + logits))


def _embedding_bytes(dimensions: Dimensions, parameters: Parameters) -> Line:
    rows = 4 * 4 * dimensions.d_model * dimensions.tokens  # looked up, written, and scattered as gradients
    return Line(intercept=0.0 if dimensions.targets else 2 * 4.0 * parameters.embedding, slope=float(rows))


def _kernels(dimensions: Dimensions, parameters: Parameters, *, autocast: bool, runtime: Runtime) -> dict[str, int]:
    of_layer = KERNELS["gated" if dimensions.gated else dimensions.kind]
    of_layer += KERNELS_OF_DROPOUT[runtime] * dimensions.dropout + KERNELS_OF_AUTOCAST * autocast
    passes = _layer_passes(dimensions) / PASSES
    matmuls = round(PASSES * _matrices(dimensions) * dimensions.layers * passes) + PASSES
    attention = PRODUCTS[dimensions.kind] * dimensions.layers
    everything = round(of_layer * dimensions.layers * passes) + KERNELS_OUTSIDE_LAYERS
    steps = KERNELS_OF_OPTIMIZER[dimensions.optimizer]
    return {
        "matmul": matmuls,
        "attention": attention,
        "elementwise": max(0, everything - matmuls - attention - 2),
        "embedding": 2,
        "optimizer": steps if runtime == "gpu" else steps * parameters.tensors,
    }


def _matrices(dimensions: Dimensions) -> int:
    """Products of one layer with its weights; of T5 of both halves."""
    attention = 2 if dimensions.packed else 4
    feedforward = (3 if dimensions.gated else 2) + bool(dimensions.experts)
    return dimensions.halves * (attention + feedforward) + (dimensions.halves - 1) * attention
