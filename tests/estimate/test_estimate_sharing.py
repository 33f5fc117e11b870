"""Runs that share one GPU: the rule, its limits, slices, the host, and utilizations told by measured runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuplan.data import gpus
from gpuplan.data.sharing import Mode, sharing_mode
from gpuplan.estimate.sharing import Host, Shared, mode_on, sharing, slice_speed, utilizations

BUSY = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=16)
MODES: list[Mode] = ["time_slicing", "mps", "mig", "old"]


def test_gpt2_nodes_on_one_card_by_how_busy_each_is() -> None:
    """Eight at 30, 60 and 100 %: 0.46, 0.23 and 0.14 of their speed alone (reference placement.md)."""
    for busy, speed in ((0.3, 0.46), (0.6, 0.23), (1.0, 0.14)):
        assert 1 / sharing([busy] * 8).times.p50 == pytest.approx(speed, abs=0.005)


def test_runs_that_leave_room_do_not_disturb_each_other() -> None:
    found = sharing([0.3, 0.4])
    assert found.times.p50 == 1
    assert found.times.p10 == 1 < found.times.p90
    assert found.times.source == "scaled"
    assert found.assumptions == ()


def test_an_unknown_utilization_is_assumed_and_wider() -> None:
    known, unknown = sharing([sharing_mode("time_slicing").usual] * 2), sharing([None, None])
    assert unknown.times.p50 == pytest.approx(known.times.p50)
    assert unknown.times.p90 > known.times.p90
    assert unknown.times.source == "assumed"
    assert "75%" in unknown.assumptions[0].text
    assert "unknown" in unknown.times.because


@given(BUSY, st.sampled_from(MODES))
def test_nothing_gets_faster_and_one_more_run_never_helps(busy: list[float], mode: Mode) -> None:
    few, more = sharing(busy, mode).times, sharing([*busy, 0.5], mode).times
    assert 1 <= few.p10 <= few.p50 <= few.p90
    if mode != "mig":
        assert more.p50 >= few.p50 - 1e-9


@given(st.floats(0.01, 1.0))
def test_alone_is_alone(busy: float) -> None:
    for mode in ("time_slicing", "mps", "old"):
        times = sharing([busy], mode).times
        assert times.p50 == 1


def test_old_cards_only_take_turns() -> None:
    assert sharing([0.2, 0.2, 0.2], "old").times.p50 == pytest.approx(3)
    assert mode_on(gpus()["Tesla K80"]) == "old"
    assert mode_on(gpus()["P100 PCIe 16GB"]) == "time_slicing"
    assert mode_on(gpus()["H100 SXM 80GB"], "MPS, cores pinned") == "mps"
    assert mode_on(gpus()["V100 SXM2 16GB"], "unstated(repo default no MPS)") == "time_slicing"
    assert mode_on(gpus()["A100 SXM 40GB"], "MIG 1g.5gb") == "mig"


def test_slices_are_as_fast_as_measured() -> None:
    for sevenths, speed in ((1, 0.344), (2, 0.48), (3, 0.645), (7, 1.0)):
        assert slice_speed(sevenths) == pytest.approx(speed, abs=0.03)
    assert slice_speed(1, busy=0.1) == 1.0
    assert slice_speed(1, busy=1.0) == pytest.approx(1 / 7 / 0.9)
    assert sharing([0.9] * 7, "mig").times.p50 == sharing([0.9], "mig", part=1).times.p50


def test_mps_is_no_slower_than_taking_turns() -> None:
    assert sharing([0.96] * 3, "mps").times.p50 < sharing([0.96] * 3).times.p50


def test_the_cores_of_the_host_are_shared_too() -> None:
    held = sharing([0.2, 0.2], host=Host(cores=8, cores_of_a_run=8))
    assert held.times.p50 == pytest.approx(2)
    assert "CPU cores" in held.times.because
    assert sharing([0.2, 0.2], host=Host(cores=16, cores_of_a_run=8)).times.p50 == 1


def test_measured_pairs_tell_how_busy_each_program_is() -> None:
    busy = {"a": 0.5, "b": 0.7, "c": 0.9}
    pairs = [
        Shared((first, second), min(1.0, 1 / (0.9 * (busy[first] + busy[second])))) for first in busy for second in busy
    ]
    found = utilizations(pairs)
    assert found == pytest.approx(busy, abs=0.08)
    assert utilizations([]) == {}
    assert utilizations([Shared(("a",), 1.0), Shared(("a", "b"), 0.0)]) == {}


@given(st.lists(st.builds(Shared, st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), st.floats(0.01, 2))))
def test_utilizations_stay_within_bounds(measured: list[Shared]) -> None:
    assert all(0.05 <= busy <= 1.5 for busy in utilizations(measured).values())


def test_no_run_at_all_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="nothing shares"):
        sharing([])
