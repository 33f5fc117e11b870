"""Architectures of known models, and small real ones in torch that have the layers the closed form assumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuplan.footprint import Unknown, closed_form
from gpuplan.model import Architecture, Footprint

if TYPE_CHECKING:
    import torch
    from torch import nn


def agnews(*, layers: int = 2, d_model: int = 128, heads: int = 4, feedforward: int = 256) -> Architecture:
    return Architecture(
        kind="encoder", layers=layers, d_model=d_model, heads=heads, feedforward=feedforward,
        vocabulary=20_000, sequence=64, classes=4,
    )  # fmt: skip


def gpt2(**changes: Any) -> Architecture:
    dimensions = {
        "kind": "decoder", "layers": 12, "d_model": 768, "heads": 12, "feedforward": 3072, "vocabulary": 50_257,
        "sequence": 1024, "tied": True, "learned_positions": True,
    }  # fmt: skip
    return Architecture.model_validate(dimensions | changes)


def llama_1b(**changes: Any) -> Architecture:
    dimensions = {
        "kind": "decoder", "layers": 16, "d_model": 2048, "heads": 32, "kv_heads": 8, "feedforward": 8192,
        "vocabulary": 128_256, "sequence": 1024, "tied": True, "gated": True,
    }  # fmt: skip
    return Architecture.model_validate(dimensions | changes)


def known(architecture: Architecture, settings: dict[str, Any] | None = None, **context: Any) -> Footprint:
    footprint = closed_form(architecture, settings or {}, **context)
    assert not isinstance(footprint, Unknown), footprint
    return footprint


def operators_flops(footprint: Footprint, kind: str, *, batch: int) -> float:
    return next(operators.flops.at(batch) for operators in footprint.operators if operators.kind == kind)


def torch_model(architecture: Architecture, *, dropout: float) -> nn.Module:
    """The real model of `architecture`, whose dimensions are all numbers."""
    from torch_nets import Classifier, LanguageModel

    return Classifier(architecture, dropout) if architecture.classes else LanguageModel(architecture, dropout)


def torch_batch(architecture: Architecture, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids, and one label for each prediction."""
    import torch

    assert isinstance(architecture.vocabulary, int)
    assert isinstance(architecture.sequence, int)
    ids = torch.randint(1, architecture.vocabulary, (rows, architecture.sequence))
    return ids, torch.zeros(rows, dtype=torch.long) if architecture.classes else ids
