"""What the closed form misses, between measured sizes of one program."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuplan.estimate.between import REACH, Sized, between

CORNERS = [
    Sized(16, 6.44e-3, 7.15e-3),
    Sized(64, 18.3e-3, 28.1e-3),
    Sized(16, 30.8e-3, 26.6e-3),
    Sized(64, 101.3e-3, 98.2e-3),
]
"""Steps of an encoder of width 64 and 192 at two batches on one thread of a CPU, measured in November 2026."""


def seconds(points: list[Sized], rows: float, closed_s: float) -> float:
    found = between(points, rows=rows, closed_s=closed_s)
    assert found is not None
    return found.seconds


@pytest.mark.parametrize("corner", CORNERS)
def test_at_a_measured_size_it_is_near_what_was_measured(corner: Sized) -> None:
    assert seconds(CORNERS, corner.rows, corner.closed_s) == pytest.approx(corner.measured_s, rel=0.08)


@pytest.mark.parametrize(
    ("rows", "closed_s", "measured_s"),
    [
        (32, 10.4e-3, 14.4e-3),
        (16, 16.3e-3, 15.8e-3),
        (32, 27.8e-3, 28.3e-3),
        (64, 50.8e-3, 52.4e-3),
        (32, 54.3e-3, 49.6e-3),
    ],
)
def test_the_sizes_between_the_corners_as_they_were_measured(rows: float, closed_s: float, measured_s: float) -> None:
    assert seconds(CORNERS, rows, closed_s) == pytest.approx(measured_s, rel=0.15)


def test_inside_and_beyond() -> None:
    inside, beyond = between(CORNERS, rows=32, closed_s=27.8e-3), between(CORNERS, rows=128, closed_s=202e-3)
    assert inside is not None
    assert beyond is not None
    assert (inside.is_inside, beyond.is_inside) == (True, False)
    assert between(CORNERS, rows=64 * REACH * 1.1, closed_s=1.0) is None


def test_one_size_makes_no_surface() -> None:
    assert between(CORNERS[:1], rows=32, closed_s=0.01) is None
    twice = [CORNERS[0], CORNERS[0]._replace(measured_s=0.02)]
    assert between(twice, rows=32, closed_s=0.01) is None
    assert between([], rows=32, closed_s=0.01) is None


@given(st.floats(0.2, 5.0), st.floats(1, 512), st.floats(1e-3, 1.0))
def test_a_closed_form_that_is_off_by_one_factor_is_put_right(factor: float, rows: float, closed_s: float) -> None:
    points = [one._replace(measured_s=factor * one.closed_s) for one in CORNERS]
    found = between(points, rows=rows, closed_s=closed_s)
    if found is not None:
        assert found.seconds == pytest.approx(factor * closed_s, rel=1e-3)
