"""A small GPT-2-like model, with LoRA layers if asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

VOCABULARY, WIDTH, HEADS, LAYERS, LENGTH = 2000, 96, 4, 3, 64
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Block(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.before_attention, self.before_mlp = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query_key_value, self.output = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        rows, length, _ = hidden.shape
        parts = self.query_key_value(self.before_attention(hidden)).view(rows, length, 3, HEADS, WIDTH // HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True, dropout_p=self.dropout)
        hidden = hidden + functional.dropout(self.output(mixed.transpose(1, 2).reshape(hidden.shape)), self.dropout)
        return hidden + functional.dropout(self.down(functional.gelu(self.up(self.before_mlp(hidden)))), self.dropout)


class Decoder(nn.Module):
    def __init__(self, *, dropout: float, checkpointing: bool) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.ModuleList(Block(dropout) for _ in range(LAYERS))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            hidden = checkpoint(block, hidden, use_reentrant=False) if self.checkpointing else block(hidden)
        logits: torch.Tensor = self.head(self.norm(hidden))
        return logits


class Lora(nn.Module):
    """A frozen layer with a trained one of rank 8 beside it."""

    def __init__(self, base: Any) -> None:
        super().__init__()
        self.base = base
        self.dropout = nn.Dropout(0.1)
        self.down, self.up = nn.Linear(base.in_features, 8, bias=False), nn.Linear(8, base.out_features, bias=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.base(hidden) + 2.0 * self.up(self.down(self.dropout(hidden)))
        return result


def make_step(settings: dict[str, Any]) -> Callable[[], float]:
    model = Decoder(dropout=settings.get("dropout", 0.0), checkpointing=settings.get("checkpointing", False))
    if settings.get("lora"):
        model.requires_grad_(requires_grad=False)
        for block in model.blocks:
            block.query_key_value = Lora(block.query_key_value)
    model.to(DEVICE)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, foreach=settings.get("foreach"), fused=settings.get("fused"))
    precision = torch.bfloat16 if settings.get("precision") == "bf16" else torch.float32

    def step() -> float:
        tokens = torch.randint(VOCABULARY, (settings["batch_size"], LENGTH), device=DEVICE)
        with torch.autocast(DEVICE, dtype=precision, enabled=precision != torch.float32):
            loss = functional.cross_entropy(model(tokens).view(-1, VOCABULARY), tokens.view(-1))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        return loss.item()

    return step
