"""Lines between measured sizes of one program."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuplan.estimate.between import REACH, Sized, between

SMALL, LARGE = Sized(0.010, 0.013), Sized(0.040, 0.044)


def seconds(*points: Sized, at: float) -> float:
    found = between(points, at)
    assert found is not None
    return found.seconds


def test_at_a_measured_size_it_is_what_was_measured() -> None:
    assert seconds(SMALL, LARGE, at=SMALL.closed_s) == pytest.approx(SMALL.measured_s)
    assert seconds(SMALL, LARGE, at=LARGE.closed_s) == pytest.approx(LARGE.measured_s)


def test_half_way_the_two_residuals_count_alike() -> None:
    """0.013 / 0.010 = 1.3 and 0.044 / 0.040 = 1.1: their geometric mean is what the closed form misses at 0.020."""
    assert seconds(SMALL, LARGE, at=0.020) == pytest.approx(0.020 * (1.3 * 1.1) ** 0.5)


def test_beyond_them_the_line_goes_on_but_not_for_ever() -> None:
    assert between([SMALL, LARGE], 0.04 * REACH * 1.01) is None
    found = between([SMALL, LARGE], 0.08)
    assert found is not None
    assert not found.is_inside
    assert LARGE.measured_s < found.seconds < 2 * LARGE.measured_s


def test_one_size_is_no_line() -> None:
    assert between([SMALL], 0.02) is None
    assert between([SMALL, Sized(0.0101, 0.5)], 0.02) is None, "noise of one size is no slope"


@given(st.lists(st.tuples(st.floats(1e-4, 10), st.floats(1e-4, 10)), min_size=2, max_size=6), st.floats(1e-4, 10))
def test_inside_it_stays_between_its_neighbours(points: list[tuple[float, float]], at: float) -> None:
    sized = [Sized(*point) for point in points]
    found = between(sized, at)
    if found is not None and found.is_inside:
        measured = [point.measured_s for point in sized]
        assert min(measured) * 0.999 <= found.seconds <= max(measured) * 1.001
