"""How many parameters a transformer has, exactly, and in which parts. It never looks at a batch.

RMSNorm has one weight a channel, LayerNorm two. An encoder is post-norm without a final norm (as
`torch.nn.TransformerEncoder`), the others pre-norm with one (as GPT-2, Llama, ViT and both halves of T5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gpuplan.footprint.dimensions import Dimensions

__all__ = ["RELATIVE_BUCKETS", "Parameters", "count_parameters"]

TENSORS_OF_A_LAYER = {True: 9, False: 12}
"""Gated or not: how many parameter tensors one layer has (the projections packed, as in nn.MultiheadAttention)."""
RELATIVE_BUCKETS = 32
"""Of T5's distances between positions."""
CHANNELS = 3


class Parameters(NamedTuple):
    """Counts of elements; `adapters` come beside all others, of which then none is trained.

    `active_matrices` are those of `layer_matrices` that one token passes.
    """

    embedding: int
    positions: int
    layer: int
    layers: int
    final_norm: int
    head: int
    layer_matrices: int
    active_matrices: int
    head_matrix: int
    adapters: int
    tensors: int
    largest: int

    @property
    def total(self) -> int:
        """All of the model's own; a tied head is the embedding and counts once."""
        return self.embedding + self.positions + self.layers + self.final_norm + self.head

    @property
    def trained(self) -> int:
        """Those with a gradient."""
        return self.adapters or self.total

    @property
    def matrices(self) -> int:
        """Weights of matrix products, those of the head included even if they are the embedding's."""
        return self.layer_matrices + self.head_matrix


def count_parameters(dimensions: Dimensions) -> Parameters:
    """The parameters of a model of these dimensions."""
    width, tied = dimensions.d_model, dimensions.tied and not dimensions.classes
    embedding = _embedding(dimensions)
    norm = width * (1 if dimensions.norm == "rms" else 2)
    matrices, layers = _layer_matrices(dimensions, dimensions.experts), dimensions.layers
    layer = matrices + 2 * norm + _layer_biases(dimensions)
    head_matrix = width * dimensions.outputs
    of_decoder = layers * (layer + _cross_attention(dimensions) + norm) if dimensions.halves == 2 else 0
    return Parameters(
        embedding=embedding,
        positions=_positions(dimensions) + dimensions.extra_parameters,
        layer=layer,
        layers=layer * layers + of_decoder,
        final_norm=0 if dimensions.kind == "encoder" else norm * dimensions.halves,
        head=(0 if tied else head_matrix) + _head_bias(dimensions),
        layer_matrices=_of_layers(dimensions, dimensions.experts),
        active_matrices=_of_layers(dimensions, dimensions.experts_per_token),
        head_matrix=head_matrix,
        adapters=_adapters(dimensions),
        tensors=TENSORS_OF_A_LAYER[dimensions.gated] * layers * dimensions.halves + 4,
        largest=max(embedding, width * dimensions.feedforward * max(dimensions.experts, 1), 3 * width**2),
    )


def _embedding(dimensions: Dimensions) -> int:
    """Of words, or of patches with the class token."""
    if dimensions.kind != "vision":
        return dimensions.vocabulary * dimensions.d_model
    return (CHANNELS * dimensions.patch**2 + 2) * dimensions.d_model


def _positions(dimensions: Dimensions) -> int:
    if dimensions.kind == "encoder_decoder":
        return 2 * RELATIVE_BUCKETS * dimensions.heads
    return dimensions.tokens * dimensions.d_model if dimensions.learned_positions else 0


def _attention(dimensions: Dimensions) -> int:
    return 2 * dimensions.d_model * (dimensions.query_width + dimensions.kv_width)


def _cross_attention(dimensions: Dimensions) -> int:
    return _attention(dimensions) if dimensions.halves == 2 else 0


def _layer_matrices(dimensions: Dimensions, experts: int) -> int:
    feedforward = (3 if dimensions.gated else 2) * dimensions.d_model * dimensions.feedforward
    return _attention(dimensions) + max(experts, 1) * feedforward + dimensions.d_model * dimensions.experts


def _of_layers(dimensions: Dimensions, experts: int) -> int:
    """Of all layers; a decoder's has a second attention."""
    once = dimensions.layers * _layer_matrices(dimensions, experts)
    return dimensions.halves * once + dimensions.layers * _cross_attention(dimensions)


def _layer_biases(dimensions: Dimensions) -> int:
    of_inputs = dimensions.query_width + 2 * dimensions.kv_width
    if dimensions.bias == "all":
        return of_inputs + 2 * dimensions.d_model + dimensions.feedforward
    return of_inputs if dimensions.bias == "qkv" else 0


def _head_bias(dimensions: Dimensions) -> int:
    return dimensions.classes if dimensions.classes and dimensions.kind in {"encoder", "vision"} else 0


def _adapters(dimensions: Dimensions) -> int:
    """Two narrow matrices beside each target; attention to an encoder has its own."""
    width, inner = dimensions.d_model, dimensions.feedforward
    ends = {
        "q": width + dimensions.query_width, "k": width + dimensions.kv_width, "v": width + dimensions.kv_width,
        "o": width + dimensions.query_width, "gate": width + inner, "up": width + inner, "down": width + inner,
    }  # fmt: skip
    if dimensions.packed:
        ends["q"], ends["k"], ends["v"] = width + dimensions.query_width + 2 * dimensions.kv_width, 0, 0
    of_layer = sum(ends[name] for name in dimensions.targets)
    of_cross = sum(ends[name] for name in dimensions.targets if name in "qkvo")
    of_decoder = of_layer + of_cross if dimensions.halves == 2 else 0
    return dimensions.rank * dimensions.layers * (of_layer + of_decoder)
