"""A small residual network on images of 32 x 32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Residual(nn.Module):
    def __init__(self, channels: int, made: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, made, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(made, made, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(made) for _ in range(2))
        self.shortcut = nn.Conv2d(channels, made, 1, stride, bias=False) if channels != made else nn.Identity()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        inner = functional.relu(self.norms[0](self.first(image)), inplace=True)
        return functional.relu(self.norms[1](self.second(inner)) + self.shortcut(image), inplace=True)


def make_step(settings: dict[str, Any]) -> Callable[[], float]:
    stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    blocks = [Residual(16, 16, 1), Residual(16, 32, 2), Residual(32, 64, 2)]
    return _train(nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)), settings)


def _train(model: nn.Module, settings: dict[str, Any]) -> Callable[[], float]:
    model.to(DEVICE)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step() -> float:
        images = torch.randn(settings["batch_size"], 3, 32, 32).to(DEVICE)
        labels = torch.randint(10, (settings["batch_size"],)).to(DEVICE)
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.item()

    return step
