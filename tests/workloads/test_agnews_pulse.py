"""The pulse: losses are read in bunches, a lost one is found at its own step, and slow steps are watched closely."""

from __future__ import annotations

import math
import time

import pytest
import torch

from gpuplan.workloads.agnews.errors import DivergedError
from gpuplan.workloads.agnews.pulse import BEAT_S, MOST_STEPS, Pulse
from gpuplan.workloads.agnews.ranks import Ranks, gathered, highest, identify, total

ALONE = Ranks(0, 1, torch.device("cpu"))


def pulse_of(*losses: float) -> Pulse:
    pulse = Pulse(ALONE)
    for loss in losses:
        pulse.add(torch.tensor(loss), 4)
    return pulse


def test_a_beat_reads_what_was_added_and_forgets_it() -> None:
    pulse = pulse_of(8.0, 4.0)
    beat = pulse.beat(step=2, stop=False)
    assert (beat.losses, beat.samples, beat.mean_loss, beat.stop) == ([8.0, 4.0], 8, 1.5, False)
    assert pulse.beat(step=2, stop=True) == ([], 0, True)


def test_a_rank_without_rows_has_no_mean() -> None:
    pulse = Pulse(ALONE)
    pulse.add(torch.tensor(0.0), 0)
    assert pulse.beat(step=1, stop=False).mean_loss is None


@pytest.mark.parametrize(
    ("losses", "step", "loss"),
    [
        ((1.0, math.nan, math.nan), 8, "nan"),
        ((1.0, 1.0, math.inf), 9, "inf"),
        ((-math.inf, math.nan, 1.0), 7, "inf"),
        ((math.nan, math.inf, 1.0), 7, "nan"),
    ],
)
def test_a_lost_loss_is_found_at_its_step(losses: tuple[float, ...], step: int, loss: str) -> None:
    with pytest.raises(DivergedError) as caught:
        pulse_of(*losses).beat(step=9, stop=False)
    assert str(caught.value) == f"diverged: loss is {loss} at step {step}"


def test_fast_steps_are_read_in_bunches_and_slow_ones_one_by_one() -> None:
    fast = pulse_of(1.0)
    assert fast.due
    fast.beat(step=1, stop=False)
    due = []
    for _ in range(MOST_STEPS):
        fast.add(torch.tensor(1.0), 1)
        due.append(fast.due)
    # A slow machine may beat earlier, but never later.
    assert due[-1]
    slow = pulse_of(1.0)
    time.sleep(BEAT_S * 1.1)
    slow.beat(step=1, stop=False)
    slow.add(torch.tensor(1.0), 1)
    assert slow.due


def test_one_rank_is_its_own_sum_and_maximum() -> None:
    assert total([1.0, 2.0], ALONE) == highest([1.0, 2.0], ALONE) == [1.0, 2.0]
    assert gathered("state", ALONE) == ["state"]


def test_ranks_are_numbered_as_torchrun_says() -> None:
    assert identify({})[:2] == (0, 1)
    assert identify({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "0"})[:2] == (5, 8)
