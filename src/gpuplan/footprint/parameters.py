"""How many parameters a transformer has, exactly, and in which parts. It never looks at a batch.

The gated family (Llama) has RMSNorm and no biases; the others have LayerNorm and biases. An encoder is post-norm
without a final norm (as `torch.nn.TransformerEncoder`), a decoder pre-norm with one (as GPT-2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gpuplan.footprint.dimensions import Dimensions

__all__ = ["Parameters", "count_parameters"]

TENSORS_OF_A_LAYER = {True: 9, False: 12}
"""Gated or not: how many parameter tensors one layer has (the projections packed, as in nn.MultiheadAttention)."""


class Parameters(NamedTuple):
    """Counts of elements."""

    embedding: int
    positions: int
    layer: int
    layers: int
    final_norm: int
    head: int
    layer_matrices: int
    head_matrix: int
    tensors: int
    largest: int

    @property
    def total(self) -> int:
        """All of them; a tied head is the embedding and counts once."""
        return self.embedding + self.positions + self.layers + self.final_norm + self.head

    @property
    def matrices(self) -> int:
        """Weights of matrix products, those of the head included even if they are the embedding's."""
        return self.layer_matrices + self.head_matrix


def count_parameters(dimensions: Dimensions) -> Parameters:
    """The parameters of a model of these dimensions."""
    width, tied = dimensions.d_model, dimensions.tied and not dimensions.classes
    embedding = dimensions.vocabulary * width
    positions = dimensions.sequence * width if dimensions.learned_positions else 0
    norm = width * (2 if dimensions.biased else 1)
    matrices = _layer_matrices(dimensions)
    layer = matrices + 2 * norm + (_layer_biases(dimensions) if dimensions.biased else 0)
    head_matrix = width * dimensions.outputs
    return Parameters(
        embedding=embedding,
        positions=positions,
        layer=layer,
        layers=layer * dimensions.layers,
        final_norm=norm if dimensions.kind == "decoder" else 0,
        head=(0 if tied else head_matrix) + _head_bias(dimensions),
        layer_matrices=matrices * dimensions.layers,
        head_matrix=head_matrix,
        tensors=TENSORS_OF_A_LAYER[dimensions.gated] * dimensions.layers + 4,
        largest=max(embedding, width * dimensions.feedforward, 3 * width**2),
    )


def _layer_matrices(dimensions: Dimensions) -> int:
    width = dimensions.d_model
    attention = 2 * width**2 + 2 * width * dimensions.kv_width
    return attention + (3 if dimensions.gated else 2) * width * dimensions.feedforward


def _layer_biases(dimensions: Dimensions) -> int:
    return 3 * dimensions.d_model + 2 * dimensions.kv_width + dimensions.feedforward


def _head_bias(dimensions: Dimensions) -> int:
    return dimensions.classes if dimensions.classes and dimensions.biased else 0
