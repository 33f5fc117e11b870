"""One training step, the same for a run and for gpuplan's tracer, and the parts it needs.

It never waits for the device: the loss comes back as a tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn import functional
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from gpuplan.workloads.agnews.config import Config, from_settings
from gpuplan.workloads.agnews.model import Classifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Parts(NamedTuple):
    """What is trained and what trains it."""

    model: Classifier
    optimizer: Adam
    scheduler: LambdaLR


def make_step(settings: Mapping[str, object]) -> Callable[[], torch.Tensor]:
    """A function that does one training step on random ids, with the model and the batch of `settings`.

    `batch_size` is the batch of one process here. It runs on the GPU if there is one.
    """
    config = from_settings(settings)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    parts = build(config, device=device, total_steps=1)
    tokens = torch.randint(1, config.vocabulary, (config.batch_size, config.sequence), dtype=torch.int32, device=device)
    labels = torch.randint(config.classes, (config.batch_size,), device=device)

    def step() -> torch.Tensor:
        weight = 1 / len(labels)
        return training_step(
            parts.model, parts, tokens=tokens, labels=labels, weight=weight, precision=config.precision
        )

    return step


def build(config: Config, *, device: torch.device, total_steps: int) -> Parts:
    """A new model in training mode with its optimizer and schedule; torch's generator decides its weights."""
    model = Classifier(
        vocabulary=config.vocabulary,
        sequence=config.sequence,
        d_model=config.d_model,
        layers=config.layers,
        heads=config.heads,
        feedforward=config.feedforward,
        dropout=config.dropout,
        classes=config.classes,
    ).to(device)
    # The fused kernel keeps no temporary copy of the parameters, and saves 8 % of a step of the default model on a CPU.
    optimizer = Adam(model.parameters(), lr=config.learning_rate, fused=True)
    scheduler = LambdaLR(
        optimizer, lambda step: rate_factor(step, warmup_steps=config.warmup_steps, total_steps=total_steps)
    )
    return Parts(model, optimizer, scheduler)


def training_step(
    model: nn.Module, parts: Parts, *, tokens: torch.Tensor, labels: torch.Tensor, weight: float, precision: str
) -> torch.Tensor:
    """Forward, backward and update with `weight` times the summed loss; gives the sum of the rows' losses.

    `model` is the model of `parts`, or DDP around it.
    """
    parts.optimizer.zero_grad(set_to_none=True)
    with autocast(tokens.device, precision=precision):
        logits = model(tokens)
    loss_sum = functional.cross_entropy(logits.float(), labels, reduction="sum")
    # torch's own stubs leave backward untyped.
    (loss_sum * weight).backward()  # type: ignore[no-untyped-call]
    parts.optimizer.step()
    parts.scheduler.step()
    return loss_sum.detach()


def autocast(device: torch.device, *, precision: str) -> torch.autocast:
    """The precision of the forward pass."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def rate_factor(step: int, *, warmup_steps: int, total_steps: int) -> float:
    """The share of the peak rate at `step` (from 0): up in a line, then down in a line to zero after the last step.

    >>> [round(rate_factor(step, warmup_steps=2, total_steps=6), 2) for step in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return max(0.0, (total_steps - step) / max(1, total_steps - warmup_steps))
