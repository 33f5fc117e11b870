"""How many parameters a published model has, and in which parts. It knows nothing of batches, bytes or training."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gpuplan.data.models import ModelFacts

__all__ = ["Census", "Matrix", "census_of"]


class Matrix(NamedTuple):
    """One matrix of a layer by the name that adapters target: its widths, and how many of it there are."""

    name: str
    inputs: int
    outputs: int
    copies: int = 1

    @property
    def elements(self) -> int:
        """Weights of all copies."""
        return self.inputs * self.outputs * self.copies


class Census(NamedTuple):
    """Counts of elements: the matrices of one layer, and what stands outside of the layers."""

    matrices: tuple[Matrix, ...]
    layers: int
    layer_rest: int
    embedding: int
    positions: int
    head: int
    rest: int

    @property
    def layer_matrices(self) -> int:
        """Weights of one layer's matrices, every expert's included."""
        return sum(matrix.elements for matrix in self.matrices)

    @property
    def layer(self) -> int:
        """One layer with its norms and biases."""
        return self.layer_matrices + self.layer_rest

    @property
    def outside(self) -> int:
        """Embedding, positions, head and final norm; a tied head is the embedding and counts once."""
        return self.embedding + self.positions + self.head + self.rest

    @property
    def total(self) -> int:
        """All of them."""
        return self.layers * self.layer + self.outside


@lru_cache(maxsize=512)
def census_of(model: ModelFacts, *, tied: bool | None = None) -> Census:
    """The parameters of `model`; `tied` for a code base that keeps a head of its own where others share it."""
    shared = model.tied if tied is None else tied
    width = model.d_model
    matrices = _matrices(model)
    norm = width * (2 if model.norm == "layer" and not model.weight_only_norm else 1)
    return Census(
        matrices=matrices,
        layers=model.layers,
        layer_rest=model.norms * norm + _qk_norms(model) + _biases(model, matrices) + _router(model),
        embedding=model.vocabulary * width + (model.patch**2 * 3 * width + width if model.patch else 0),
        positions=_positions(model),
        head=_head(model, tied=shared),
        rest=_rest(model, norm),
    )


def _matrices(model: ModelFacts) -> tuple[Matrix, ...]:
    width, inner = model.d_model, model.feedforward
    queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    copies = model.experts or 1
    attention: tuple[Matrix, ...] = (
        Matrix("q", width, queries),
        Matrix("k", width, keys),
        Matrix("v", width, keys),
        Matrix("o", queries, width),
    )
    # Of an encoder-decoder a layer is a decoder's, with a second attention; `_rest` adds the encoder's layers.
    if model.kind == "seq2seq":
        attention += tuple(matrix._replace(name=f"cross_{matrix.name}") for matrix in attention)
    gate = (Matrix("gate", width, inner, copies),) if model.gated else ()
    return (*attention, *gate, Matrix("up", width, inner, copies), Matrix("down", inner, width, copies))


def _qk_norms(model: ModelFacts) -> int:
    return 2 * model.head_dim if model.qk_norm else 0


def _router(model: ModelFacts) -> int:
    return model.d_model * model.experts


def _biases(model: ModelFacts, matrices: tuple[Matrix, ...]) -> int:
    names = {"none": (), "qkv": ("q", "k", "v"), "all": ("q", "k", "v", "o", "gate", "up", "down")}[model.bias]
    return sum(matrix.outputs * matrix.copies for matrix in matrices if matrix.name in names)


def _positions(model: ModelFacts) -> int:
    if model.patch:
        return ((model.image // model.patch) ** 2 + 2) * model.d_model  # with the class token and its position
    return (model.positions + (2 if "segments" in model.extra else 0)) * model.d_model


def _head(model: ModelFacts, *, tied: bool) -> int:
    if model.classes:
        return (model.d_model + 1) * model.classes
    return (0 if tied else model.vocabulary * model.d_model) + (model.vocabulary if model.head_bias else 0)


def _rest(model: ModelFacts, norm: int) -> int:
    """The norm after the layers (of a BERT, after the embedding), a pooler, an encoder's layers."""
    dense = model.d_model * (model.d_model + 1)
    pooler = dense if "pooler" in model.extra else 0
    transform = dense + norm if "transform" in model.extra else 0
    if model.kind != "seq2seq":
        return norm + pooler + transform
    attention = 4 * model.d_model * model.heads * model.head_dim
    feedforward = (3 if model.gated else 2) * model.d_model * model.feedforward
    encoder = model.layers * (attention + feedforward + 2 * model.d_model)
    decoder_norms = model.layers * model.d_model
    relative_positions = 2 * 32 * model.heads
    return encoder + decoder_norms + 2 * norm + relative_positions
