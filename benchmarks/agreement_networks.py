"""One training step of a network of public benchmark tables, for the tracer. It imports torch alone, never gpuplan.

16 bits are autocast's, without a scaler of the loss. What the published programs do to all gradients is done here too:
weight decay with SGD and in Tacotron2, a limit on their norm in all that run over sequences but NCF.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from agreement_images import IMAGES
from agreement_sequences import SEQUENCES
from agreement_sounds import SOUNDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

__all__ = ["make_network", "make_step"]

DEVICE = "cuda"
LIMITED = frozenset({"gnmt", "transformer_xl", "tacotron2", "waveglow"})


def make_network(shape: Mapping[str, Any]) -> Any:
    """The network of `shape`: a module with a method that makes a batch, and a forward pass that ends in a loss."""
    families: dict[str, Callable[[Mapping[str, Any]], nn.Module]] = {**IMAGES, **SEQUENCES, **SOUNDS}
    return families[shape["family"]](shape)


def make_step(shape: dict[str, Any]) -> Callable[[], None]:
    """One training step of `shape`: dimensions of a workload, `size` of a row, `rows`, `precision`, `optimizer`."""
    network = make_network(shape).to(DEVICE)
    optimizer = optimizer_of(shape, list(network.parameters()))

    def step() -> None:
        inputs = network.batch(shape["rows"], shape["size"])
        with torch.autocast(DEVICE, dtype=torch.float16, enabled=shape["precision"] == "fp16"):
            loss = network(*inputs)
        loss.backward()
        if shape["family"] in LIMITED:
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def optimizer_of(shape: Mapping[str, Any], parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    if shape["optimizer"] == "sgd_momentum":
        return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=1e-4)
    return torch.optim.Adam(parameters, weight_decay=1e-6 if shape["family"] == "tacotron2" else 0.0)
