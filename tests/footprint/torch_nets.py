"""Small torch models of the three families that the closed form knows. Import it only where torch is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from gpuplan.model import Architecture


def number(value: str | int | None) -> int:
    assert isinstance(value, int)
    return value


class Classifier(nn.Module):
    """The AG News encoder: torch's own layers, the mean over all positions, one logit a class."""

    def __init__(self, architecture: Architecture, dropout: float) -> None:
        super().__init__()
        width, heads = number(architecture.d_model), number(architecture.heads)
        layer = nn.TransformerEncoderLayer(
            width, heads, number(architecture.feedforward), dropout, activation="relu", batch_first=True
        )
        self.embedding = nn.Embedding(number(architecture.vocabulary), width)
        self.register_buffer("positions", torch.zeros(number(architecture.sequence), width))
        self.encoder = nn.TransformerEncoder(layer, number(architecture.layers), enable_nested_tensor=False)
        self.head = nn.Linear(width, number(architecture.classes))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        positions = cast("torch.Tensor", self.positions)
        hidden = self.encoder(self.embedding(ids) + positions, src_key_padding_mask=ids == 0)
        return cast("torch.Tensor", self.head(hidden.mean(1)))


class LanguageModel(nn.Module):
    """A decoder: GPT-2's layers, or Llama's if the architecture is gated."""

    def __init__(self, architecture: Architecture, dropout: float) -> None:
        super().__init__()
        width, vocabulary = number(architecture.d_model), number(architecture.vocabulary)
        self.checkpointing = architecture.checkpointing
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(number(architecture.sequence), width) if architecture.learned_positions else None
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(architecture, dropout) for _ in range(number(architecture.layers)))
        self.norm = norm_of(architecture)
        self.head = nn.Linear(width, vocabulary, bias=False)
        if architecture.tied:
            self.head.weight = self.embedding.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = self.embedding(ids)
        if self.positions is not None:
            hidden = self.dropout(hidden + self.positions(torch.arange(ids.shape[1])))
        for block in self.blocks:
            hidden = checkpoint(block, hidden, use_reentrant=False) if self.checkpointing else block(hidden)
        return cast("torch.Tensor", self.head(self.norm(hidden)))


class Block(nn.Module):
    """One pre-norm layer."""

    def __init__(self, architecture: Architecture, dropout: float) -> None:
        super().__init__()
        width, inner, biased = number(architecture.d_model), number(architecture.feedforward), not architecture.gated
        self.heads = number(architecture.heads)
        self.kv_heads = number(architecture.kv_heads or architecture.heads)
        self.size = width // self.heads
        self.norms = nn.ModuleList([norm_of(architecture), norm_of(architecture)])
        self.sizes = [width, self.kv_heads * self.size, self.kv_heads * self.size]
        # GPT-2 has one matrix for queries, keys and values, Llama three.
        outputs = self.sizes if architecture.gated else [sum(self.sizes)]
        self.projections = nn.ModuleList(nn.Linear(width, size, bias=biased) for size in outputs)
        self.output = nn.Linear(width, width, bias=biased)
        self.up = nn.Linear(width, inner, bias=biased)
        self.down = nn.Linear(inner, width, bias=biased)
        self.gate = nn.Linear(width, inner, bias=False) if architecture.gated else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        hidden = hidden + self.dropout(self.output(self.attend(self.norms[0](hidden))))
        normed = self.norms[1](hidden)
        if self.gate is None:
            inner = functional.gelu(self.up(normed))
        else:
            inner = functional.silu(self.gate(normed)) * self.up(normed)
        return cast("torch.Tensor", hidden + self.dropout(self.down(inner)))

    def attend(self, normed: torch.Tensor) -> torch.Tensor:
        rows, length, width = normed.shape
        projected = [project(normed) for project in self.projections]
        parts = projected if len(projected) == 3 else projected[0].split(self.sizes, -1)
        query, key, value = (part.view(rows, length, -1, self.size).transpose(1, 2) for part in parts)
        dropout = self.dropout.p if self.training else 0.0
        grouped = self.kv_heads != self.heads
        attended = functional.scaled_dot_product_attention(
            query, key, value, dropout_p=dropout, is_causal=True, enable_gqa=grouped
        )
        return attended.transpose(1, 2).reshape(rows, length, width)


def norm_of(architecture: Architecture) -> nn.Module:
    width = number(architecture.d_model)
    return nn.RMSNorm(width, eps=1e-5) if architecture.gated else nn.LayerNorm(width)
