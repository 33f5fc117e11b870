"""Frozen layers in 4 and 8 bits with trained ones beside them, and optimizers whose states have 8 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bitsandbytes as bnb
import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH, LAYERS = 2048, 2


class Adapted(nn.Module):
    """A frozen layer and two thin ones that are trained."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.down, self.up = nn.Linear(WIDTH, 8, bias=False), nn.Linear(8, WIDTH, bias=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.base(hidden) + self.up(self.down(hidden))
        return result


def four_bits(settings: dict[str, Any]) -> Callable[[], None]:
    def layer() -> nn.Module:
        return bnb.nn.Linear4bit(
            WIDTH,
            WIDTH,
            bias=False,
            compute_dtype=torch.bfloat16,
            quant_type="nf4",
            compress_statistics=bool(settings.get("double")),
        )

    return _train(layer, settings)


def eight_bits(settings: dict[str, Any]) -> Callable[[], None]:
    threshold = 6.0 if settings.get("outliers") else 0.0
    return _train(
        lambda: bnb.nn.Linear8bitLt(WIDTH, WIDTH, bias=False, has_fp16_weights=False, threshold=threshold), settings
    )


def _train(layer: Callable[[], nn.Module], settings: dict[str, Any]) -> Callable[[], None]:
    model = nn.Sequential(*(Adapted(layer()) for _ in range(LAYERS)))
    for adapted in model:
        adapted.base.requires_grad_(requires_grad=False)
    model.to(torch.bfloat16).cuda()
    optimizer = torch.optim.AdamW([parameter for parameter in model.parameters() if parameter.requires_grad])

    def step() -> None:
        rows = torch.randn(settings["batch_size"], WIDTH, device="cuda", dtype=torch.bfloat16)
        model(rows).float().pow(2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def small_states(settings: dict[str, Any]) -> Callable[[], None]:
    model = nn.Linear(WIDTH, WIDTH, bias=False).cuda()
    kind = bnb.optim.PagedAdamW8bit if settings.get("paged") else bnb.optim.AdamW8bit
    optimizer = kind(model.parameters(), lr=1e-3)

    def step() -> None:
        model(torch.randn(settings["batch_size"], WIDTH, device="cuda")).pow(2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step
