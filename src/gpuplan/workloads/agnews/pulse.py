"""Every few steps: read the losses off the device, and agree among the ranks on whether to go on.

It never waits for the device at each of many fast steps, nor lets a stop wait for many slow ones.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple

import torch

from gpuplan.workloads.agnews.errors import DivergedError
from gpuplan.workloads.agnews.ranks import Ranks, highest

if TYPE_CHECKING:
    from collections.abc import Callable

BEAT_S = 0.5
"""Seconds of steps after which it beats, ..."""
MOST_STEPS = 10
"""... but never after more steps than these."""


class Beat(NamedTuple):
    """What came of the steps since the last beat."""

    losses: list[float]
    """For each step the summed losses of this rank's rows."""
    samples: int
    stop: bool
    """Some rank was told to stop; the same on every rank."""

    @property
    def mean_loss(self) -> float | None:
        """Mean over this rank's rows, or nothing if it had none."""
        return sum(self.losses) / self.samples if self.samples else None


class Pulse:
    """The losses that are still on the device, and how many steps may pass before they are read."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._losses: list[torch.Tensor] = []
        self._samples: list[int] = []
        self._most_steps = 1
        self._since = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time to beat; the same on every rank."""
        return len(self._losses) >= self._most_steps

    def add(self, loss_sum: torch.Tensor, samples: int) -> None:
        """Note the loss of one step without reading it."""
        self._losses.append(loss_sum)
        self._samples.append(samples)

    def beat(self, *, step: int, stop: bool) -> Beat:
        """Read the losses of the steps up to `step`; raises DivergedError on every rank if one of any is not finite."""
        losses = torch.stack(self._losses).tolist() if self._losses else []
        first = step - len(losses) + 1
        step_s = (time.monotonic() - self._since) / max(1, len(losses))
        agreed = highest(
            [
                float(stop),
                step_s,
                -_first_where(math.isnan, losses, from_step=first),
                -_first_where(math.isinf, losses, from_step=first),
            ],
            self._ranks,
        )
        first_nan, first_inf = -agreed[2], -agreed[3]
        if min(first_nan, first_inf) < math.inf:
            loss = math.nan if first_nan <= first_inf else math.inf
            raise DivergedError(step=int(min(first_nan, first_inf)), loss=loss)
        beat = Beat(losses, sum(self._samples), stop=agreed[0] > 0)
        self._losses, self._samples = [], []
        self._most_steps = max(1, min(MOST_STEPS, int(BEAT_S / max(agreed[1], 1e-9))))
        self._since = time.monotonic()
        return beat


def _first_where(is_bad: Callable[[float], bool], losses: list[float], *, from_step: int) -> float:
    """The step of the first bad loss, or infinity."""
    return next((float(step) for step, loss in enumerate(losses, start=from_step) if is_bad(loss)), math.inf)
