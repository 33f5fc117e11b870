from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from priced_cases import offer

from gpuplan.place.interruptions import repeats, useful_share
from gpuplan.place.luck import Hazards, Luck
from gpuplan.place.rentable import Load, Spot, spot_of

HOUR = 3600.0
DRAWS = 4000


def ends(hazards: Hazards, length_s: float, *, times: int = 1) -> list[float]:
    """When work that starts at once on a machine that is ready at once has ended, in many draws."""
    return [Luck(draw, 0.0).outages(hazards, ready_s=0).end_s(0.0, length_s, times) for draw in range(DRAWS)]


@pytest.mark.parametrize("failed", [0.01, 0.1, 0.4])
def test_attempts_fail_as_often_as_they_are_said_to_and_half_way_in_the_mean(failed: float) -> None:
    luck = Luck(0, failed)
    lost = [luck.repeats(1) for _ in range(40_000)]
    assert statistics.fmean(each > 0 for each in lost) == pytest.approx(failed, rel=0.06)
    assert statistics.fmean(lost) == pytest.approx(failed / (1 - failed) / 2, rel=0.08)


def test_of_runs_at_once_the_one_that_fails_most_is_waited_for() -> None:
    one, four = (statistics.fmean(Luck(draw, 0.2).repeats(runs) for draw in range(DRAWS)) for runs in (1, 4))
    assert one * 2 < four < one * 4


def test_many_in_sequence_lose_as_much_as_one_after_the_other() -> None:
    together = statistics.fmean(Luck(draw, 0.1).repeats_in_sequence(1, 30) for draw in range(DRAWS))
    assert together == pytest.approx(30 * 0.1 / 0.9 / 2, rel=0.03)
    assert Luck(3, 0.1).repeats_in_sequence(1, 30) == Luck(3, 0.1).repeats_in_sequence(1, 30)


def test_nothing_fails_where_nothing_is_said_to() -> None:
    assert Luck(7, 0.0).repeats_in_sequence(3, 10_000) == 0


@pytest.mark.parametrize("length_h", [0.5, 2.0, 8.0])
def test_runs_that_begin_again_take_as_long_in_the_mean_as_daly_says(length_h: float) -> None:
    hazards = Hazards(mean_s=4 * HOUR, restart_s=600)
    mean_s = statistics.fmean(ends(hazards, length_h * HOUR))
    assert mean_s == pytest.approx(length_h * HOUR * repeats(length_h * HOUR, mean_s=4 * HOUR, restart_s=600), rel=0.05)


@pytest.mark.parametrize("interval_s", [300, 1800])
def test_runs_that_resume_lose_half_an_interval_and_the_restart(interval_s: float) -> None:
    hazards = Hazards(mean_s=4 * HOUR, restart_s=600, interval_s=interval_s)
    share = useful_share(mean_s=4 * HOUR, checkpoint_s=0, restart_s=600, interval_s=interval_s)
    assert statistics.fmean(ends(hazards, 20 * HOUR)) == pytest.approx(20 * HOUR / share, rel=0.02)


@pytest.mark.parametrize(("resumes", "every_s"), [(True, None), (True, 900.0), (False, None)])
def test_a_spot_machine_takes_as_long_in_the_mean_as_it_is_planned_with(
    *, resumes: bool, every_s: float | None
) -> None:
    interval_s = {"RTX 4090": every_s} if every_s else {}
    load = Load(1e9, 40.0, interval_s, resumes, {"RTX 4090": 2 * HOUR}, 0.0)
    spot = spot_of(offer(spot=True, interruptions_per_h=0.3), load)
    assert spot is not None
    hazards = Hazards.of(0.0, spot)
    planned_s = 2 * HOUR * spot.pace
    assert statistics.fmean(ends(hazards, planned_s * hazards.undisturbed, times=6)) == pytest.approx(
        6 * planned_s, rel=0.03
    )


@given(st.integers(0, 50), st.floats(60, 20_000), st.integers(1, 12), st.sampled_from([600.0, 5000.0, math.inf]))
def test_runs_in_a_row_end_when_they_would_one_by_one(
    draw: int, length_s: float, times: int, interval_s: float
) -> None:
    hazards = Hazards(mean_s=HOUR, restart_s=300, interval_s=interval_s)
    row, single = (Luck(draw, 0.0).outages(hazards, ready_s=60) for _ in range(2))
    end_s = 60.0
    for _ in range(times):
        end_s = single.end_s(end_s, length_s)
    assert row.end_s(60.0, length_s, times) == pytest.approx(end_s)
    assert row.before(end_s) == single.before(end_s)


def test_a_run_that_would_hardly_ever_end_is_let_be() -> None:
    assert max(ends(Hazards(mean_s=60, restart_s=10), 100 * HOUR)[:50]) < 110 * HOUR


def test_a_machine_that_is_not_taken_away_has_no_hazard_but_failures() -> None:
    assert Hazards.of(0.0, None).is_steady
    assert Hazards.of(0.0, Spot(0.0, 1.0, is_assumed=False)).is_steady
    assert not Hazards.of(0.1, None).is_steady
    spot = Hazards.of(0.0, Spot(0.5, 1.25, is_assumed=True, restart_s=60, interval_s=900, undisturbed=1.05))
    assert spot == Hazards(0.0, 7200, 60, 900, 1.05 / 1.25)
