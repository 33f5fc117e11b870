from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuplan.place.interruptions import best_interval_s, expected_interruptions, repeats, useful_share

HOUR = 3600.0


@pytest.mark.parametrize(
    ("mean_h", "checkpoint_s", "restart_s", "share"),
    [
        (3, 60, 180, 0.88),  # the example of placement.md, section 6
        (1 / 0.10, 30, 180, 0.955),  # the least and the most interrupted of the 15 V100 traces
        (1 / 1.39, 30, 180, 0.778),
    ],
)
def test_the_useful_share_is_that_of_the_replayed_spot_traces(
    mean_h: float, checkpoint_s: float, restart_s: float, share: float
) -> None:
    found = useful_share(mean_s=mean_h * HOUR, checkpoint_s=checkpoint_s, restart_s=restart_s)
    assert found == pytest.approx(share, abs=0.006)


def test_the_interval_is_youngs() -> None:
    assert best_interval_s(checkpoint_s=60, mean_s=3 * HOUR) == pytest.approx(1138.4, abs=0.1)


@given(st.floats(600, 1e6), st.floats(0.1, 600), st.floats(0, 3600), st.floats(0.2, 5))
def test_no_other_interval_is_better_than_the_best(
    mean_s: float, checkpoint_s: float, restart_s: float, factor: float
) -> None:
    best = best_interval_s(checkpoint_s=checkpoint_s, mean_s=mean_s)
    own = useful_share(mean_s=mean_s, checkpoint_s=checkpoint_s, restart_s=restart_s)
    other = useful_share(mean_s=mean_s, checkpoint_s=checkpoint_s, restart_s=restart_s, interval_s=factor * best)
    assert 0 <= other <= own + 1e-9 <= 1 + 1e-9


def test_saving_that_costs_nothing_loses_the_restart_alone() -> None:
    assert useful_share(mean_s=HOUR, checkpoint_s=0, restart_s=360) == pytest.approx(0.9)


def test_without_checkpoints_long_runs_hardly_ever_end() -> None:
    assert repeats(HOUR, mean_s=1e9, restart_s=0) == pytest.approx(1, abs=1e-5)
    assert repeats(HOUR, mean_s=HOUR, restart_s=0) == pytest.approx(math.e - 1)
    assert repeats(10 * HOUR, mean_s=HOUR, restart_s=0) > 2000
    assert repeats(0, mean_s=HOUR, restart_s=60) == 1


@given(st.floats(1, 1e5), st.floats(1, 4), st.floats(600, 1e6))
def test_longer_runs_are_repeated_more(duration_s: float, factor: float, mean_s: float) -> None:
    short, long = (repeats(each, mean_s=mean_s, restart_s=60) for each in (duration_s, factor * duration_s))
    assert 1 <= short <= long * (1 + 1e-9)


def test_interruptions_are_counted_by_the_hour() -> None:
    assert expected_interruptions(10 * HOUR, 0.25) == 2.5
