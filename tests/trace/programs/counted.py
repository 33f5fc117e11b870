"""Steps whose FLOPs and bytes can be counted by hand: a convolution in groups, and a matrix with its optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

DEVICE = "cuda"


def make_convolution(settings: dict[str, Any]) -> Callable[[], None]:
    """Forward and backward, with the gradients that are asked for; nothing else."""
    layer = nn.Conv2d(32, 64, 3, padding=1, groups=settings["groups"], bias=False).to(DEVICE)

    def step() -> None:
        images = torch.empty(settings["rows"], 32, 10, 10, device=DEVICE, requires_grad=settings["of_images"])
        made = layer(images)
        made.backward(torch.empty_like(made))
        layer.weight.grad = None

    return step


def make_matrix(settings: dict[str, Any]) -> Callable[[], None]:
    """A matrix on rows of several vectors, or on as many rows of one; trained by the optimizer that is asked for."""
    layers = nn.Sequential(nn.Linear(16, 24, bias=False), nn.Linear(24, 8, bias=False)).to(DEVICE)
    kinds = {
        "sgd": lambda: torch.optim.SGD(layers.parameters(), lr=0.1, momentum=0.9, foreach=True),
        "adam": lambda: torch.optim.Adam(layers.parameters(), lr=0.1, fused=True),
    }
    optimizer = kinds[settings["optimizer"]]()

    def step() -> None:
        shape = (settings["rows"], 5, 16) if settings["vectors"] else (settings["rows"] * 5, 16)
        made = layers(torch.empty(shape, device=DEVICE))
        made.backward(torch.empty_like(made))
        optimizer.step()
        optimizer.zero_grad()

    return step
