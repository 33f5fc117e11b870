"""Bytes that one layer keeps of one token for its backward pass, and the most that the pass adds to them.

Counted as autograd saves tensors, kernel by kernel; checked to the digit against measured peaks (decision 5). It
knows nothing of weights, gradients or the number of layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data.kernels import kernel

if TYPE_CHECKING:
    from gpuplan.data.models import ModelFacts
    from gpuplan.footprint.recipe import Recipe

__all__ = ["LayerBytes", "layer_bytes"]


class LayerBytes(NamedTuple):
    """Of one token in one layer: kept until its backward pass, and what that pass holds beside it at its peak.

    `scores` is kept for each token and each token of its row, where attention is not fused.
    """

    kept: float
    backward: float
    scores: float


def layer_bytes(model: ModelFacts, recipe: Recipe) -> LayerBytes:
    """What a layer of `model` keeps when it is trained by `recipe`."""
    kept = _norms(model, recipe) + _attention(model, recipe) + _feedforward(model, recipe)
    kept += _inputs(model, recipe) + _scaled_outputs(model, recipe) + _masks(model)
    return LayerBytes(kept, _backward(model, recipe), _scores(model, recipe))


def _norms(model: ModelFacts, recipe: Recipe) -> float:
    """Their inputs, in the kernel's precision, and what a trained weight needs."""
    width, entry = model.d_model, kernel("norm", recipe.norm)
    count = model.norms + (2 * _head_share(model) if model.qk_norm else 0)
    if model.norm == "layer" or entry.input == 0:
        # The residual itself; one that the layers' boundary already counts if activations are checkpointed.
        own = count - 1 if recipe.checkpointing else (1 if model.parallel else count)
        return max(own, 0) * recipe.residual * width
    own = count - 1 if recipe.checkpointing and recipe.residual == 4 else count
    trained = count * (2 * entry.weight if recipe.compute == 4 else entry.weight)
    return (own * entry.input + (trained if recipe.method in {"full", "adapter_v2"} else 0)) * width


def _head_share(model: ModelFacts) -> float:
    """The mean width of queries and keys, for their own norms, as a share of the model's."""
    return (model.heads + model.kv_heads) * model.head_dim / (2 * model.d_model)


def _attention(model: ModelFacts, recipe: Recipe) -> float:
    """Queries, keys, values and the output, and the log-sum-exp of a fused kernel."""
    size = 2 if recipe.autocast or recipe.compute == 2 else 4
    queries, keys = _widths(model)
    if recipe.attention == "eager":  # two products keep queries, keys and values; the scores count for themselves
        return float(size * (queries + 2 * keys))
    if recipe.packed_qkv and 1 < model.heads != model.kv_heads:
        keys = queries  # expanded to all heads before the kernel
    kept = size * (2 * queries + 2 * keys) + 4.0 * model.heads
    if recipe.packed_qkv:
        kept += size * (_widths(model)[0] + _widths(model)[1])  # the values are a view that keeps the whole product
    if recipe.copies_qkv:
        kept += size * (queries + 2 * _widths(model)[1])
    return kept


def _widths(model: ModelFacts) -> tuple[int, int]:
    return model.heads * model.head_dim, model.kv_heads * model.head_dim


def _scores(model: ModelFacts, recipe: Recipe) -> float:
    entry = kernel("attention", recipe.attention)
    if recipe.compute == 4:
        return model.heads * entry.scores_32
    return model.heads * (entry.scores_amp if recipe.autocast and entry.scores_amp else entry.scores_16)


def _feedforward(model: ModelFacts, recipe: Recipe) -> float:
    """Tensors of the inner width that the activation keeps; with experts, of as many as each token has."""
    tensors = kernel("feedforward", recipe.feedforward).gated if model.gated else _plain(model)
    active = model.experts_per_token or 1
    routed = (2 * active + 1) * model.d_model if model.experts else 0  # gathered in, weighed out, and their sum
    return recipe.inner * (tensors * active * model.feedforward + routed)


def _plain(model: ModelFacts) -> int:
    return 0 if model.activation == "relu" else 1  # a ReLU keeps its output, which `_inputs` counts


def _inputs(model: ModelFacts, recipe: Recipe) -> float:
    """What the matrices keep to train: all of them, or those with adapters, or any of an old 4-bit kernel."""
    groups = _groups(model, recipe)
    if recipe.method == "full" or recipe.frozen_inputs:
        kept: float = recipe.compute * sum(width for width, _ in groups.values())
    else:
        kept = 0.0
    if recipe.method == "lora":
        kept += sum(_adapted(recipe, width, targets) for width, targets in groups.values())
        kept -= kernel("adapter", recipe.adapter).saves * model.d_model
    return kept


def _groups(model: ModelFacts, recipe: Recipe) -> dict[str, tuple[int, int]]:
    """The distinct inputs of a layer's matrices: their width, and how many of their readers have adapters."""
    active = model.experts_per_token or 1
    queries, _ = _widths(model)
    targets = set(recipe.targets)
    plain_output = recipe.attention != "flash" or recipe.packed_qkv  # else it is what the kernel keeps anyhow
    shared_norm = model.parallel and model.norms == 1
    return {
        "qkv": (model.d_model, len(targets & {"q", "k", "v"})),
        "o": (queries if plain_output or recipe.low_rank else 0, len(targets & {"o"})),
        "inner": (0 if shared_norm and not recipe.low_rank else model.d_model * active, len(targets & {"gate", "up"})),
        "down": (model.feedforward * active, len(targets & {"down"})),
    }


def _adapted(recipe: Recipe, width: int, targets: int) -> float:
    """An input with `targets` adapters on it."""
    entry = kernel("adapter", recipe.adapter)
    size = recipe.trained_bytes if not recipe.autocast else recipe.compute
    mask = 1 if recipe.adapter_dropout else 0
    if not targets or entry.copies == "shared":
        return float(min(targets, 1) * recipe.compute * width)
    copies = targets if entry.copies == "each" else 1
    if size == recipe.compute and not recipe.adapter_dropout and not recipe.autocast:
        return float(size * width)
    return float(copies * (size + mask) * width)


def _scaled_outputs(model: ModelFacts, recipe: Recipe) -> float:
    """Adapter v2 scales the output of every matrix and keeps it for that."""
    if recipe.method != "adapter_v2":
        return 0.0
    queries, keys = _widths(model)
    inner = (2 if model.gated else 1) * model.feedforward
    return float(recipe.compute * (queries + 2 * keys + 2 * model.d_model + inner))


def _masks(model: ModelFacts) -> float:
    return 2.0 * model.d_model if model.dropout else 0.0


def _backward(model: ModelFacts, recipe: Recipe) -> float:
    """The gradients of the feed-forward's tensors, and of the layer's output; its input is freed by then if kept."""
    active = model.experts_per_token / model.experts if model.experts else 1.0
    inner = recipe.inner * model.feedforward * active
    tensors = (3 if model.gated else 2) - (1 if recipe.method == "full" else 0)
    output = (2 if recipe.checkpointing else 1) * recipe.residual * model.d_model
    return tensors * inner + output
