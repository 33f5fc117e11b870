"""Loss and accuracy on the held-out rows, each rank on its part of them.

It never draws a random number, so that training goes on exactly as it would have without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn import functional

from gpuplan.workloads.agnews.data import Rows
from gpuplan.workloads.agnews.ranks import Ranks, total
from gpuplan.workloads.agnews.step import autocast

if TYPE_CHECKING:
    from gpuplan.workloads.agnews.model import Classifier


class Evaluation(NamedTuple):
    """Means over all held-out rows; the same on every rank."""

    loss: float | None
    accuracy: float | None


def evaluate(model: Classifier, rows: Rows, *, batch_size: int, ranks: Ranks, precision: str) -> Evaluation:
    """Evaluate `model` in batches of `batch_size` rows a rank; all ranks must call it."""
    model.eval()
    mine = torch.arange(ranks.rank, len(rows.labels), ranks.world_size)
    sums = torch.zeros(2, dtype=torch.float64, device=ranks.device)
    with torch.inference_mode():
        for start in range(0, len(mine), batch_size):
            batch = mine[start : start + batch_size]
            part = Rows(rows.tokens[batch].to(ranks.device), rows.labels[batch].to(ranks.device))
            sums += _sums(model, part, precision=precision)
    model.train()
    loss_sum, correct = total(sums.tolist(), ranks)
    return Evaluation(loss_sum / len(rows.labels), correct / len(rows.labels))


def _sums(model: Classifier, rows: Rows, *, precision: str) -> torch.Tensor:
    """Summed loss and correct answers of the rows."""
    with autocast(rows.tokens.device, precision=precision):
        logits = model(rows.tokens).float()
    loss_sum = functional.cross_entropy(logits, rows.labels, reduction="sum")
    return torch.stack([loss_sum.double(), (logits.argmax(dim=1) == rows.labels).sum().double()])
