"""Lines through two traces, and which of them are the highest anywhere."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gpuplan.trace.child.envelope import Line, line_through, upper_envelope

numbers = st.integers(min_value=-(2**40), max_value=2**40)
lines = st.lists(st.builds(Line, numbers, st.integers(min_value=0, max_value=2**30)), min_size=1, max_size=40)


@given(lines, st.integers(min_value=1, max_value=100_000))
def test_the_envelope_is_the_maximum_at_every_batch(every: list[Line], batch: int) -> None:
    chosen = [every[index] for index in upper_envelope(every)]
    assert max(line.at(batch) for line in chosen) == max(line.at(batch) for line in every)


@given(lines)
def test_each_line_of_the_envelope_is_needed(every: list[Line]) -> None:
    chosen = [every[index] for index in upper_envelope(every)]
    assert len(set(chosen)) == len(chosen)
    assert [line.slope for line in chosen] == sorted(line.slope for line in chosen)


def test_lines_that_are_highest_only_below_batch_one_are_left_out() -> None:
    assert upper_envelope([Line(10, 0), Line(9, 1), Line(0, 2)]) == [1, 2]


@given(numbers, st.integers(min_value=0, max_value=2**20), st.integers(1, 50), st.integers(1, 50))
def test_a_line_comes_back_from_two_of_its_points(intercept: int, slope: int, one: int, step: int) -> None:
    line = Line(intercept, slope)
    assert line_through([one, one + step], [line.at(one), line.at(one + step)]) == line


def test_one_point_is_a_flat_line() -> None:
    assert line_through([4], [100]) == Line(100, 0)
