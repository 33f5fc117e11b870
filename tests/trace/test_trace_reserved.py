"""What a traced step reserves, and the largest batch that fits: by arithmetic, or by further traces."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuplan.footprint.replay import replay
from gpuplan.model import Component, Footprint, Line, Moment
from gpuplan.trace import Part, Stream, Traced, largest_batch, trace
from gpuplan.trace.result import CUBLAS_BYTES
from gpuplan.units import MIB

PROGRAMS = Path(__file__).parent / "programs"


@cache
def traced(target: str, *batches: int, device: str = "cuda") -> Traced:
    return trace(
        target,
        {"batch_size": 4},
        workdir=PROGRAMS,
        micro_batch="batch_size",
        batches=batches,
        device="cuda" if device == "cuda" else "cpu",
    )


@cache
def contrasted(*batches: int) -> Traced:
    settings = {"batch_size": 4, "each": 512}
    return trace("habits:contrastive", settings, workdir=PROGRAMS, micro_batch="batch_size", batches=batches)


@pytest.mark.parametrize("batch", [1, 5, 64, 1000])
def test_more_is_reserved_than_tensors_need(batch: int) -> None:
    answer = traced("decoder:make_step")
    peak = answer.footprint.peak(batch).total_bytes(batch)
    found = answer.reserved(batch)
    assert found is not None
    assert found.requested_bytes == peak + 2 * CUBLAS_BYTES
    assert found.requested_bytes <= found.allocated_bytes <= found.reserved_bytes
    assert found.reserved_bytes % (2 * MIB) == 0
    assert found.reserved_bytes < 1.5 * peak + 60 * MIB


def test_a_batch_between_two_traces_is_reserved_as_if_it_was_traced() -> None:
    lines, own = traced("decoder:make_step", 2, 3), traced("decoder:make_step", 64)
    assert lines.reserved(64) == own.reserved(64)
    assert lines.reserved(64, expandable_segments=True) == own.reserved(64, expandable_segments=True)


def test_the_stream_is_replayed_from_the_first_allocation_of_the_process() -> None:
    answer = traced("habits:plain")
    stream = answer.stream
    assert stream.whole
    sizes = [round(stream.lines[index].at(4)) for index in stream.line_of]
    found = answer.reserved(4)
    assert found == replay([CUBLAS_BYTES] * 2 + sizes, [0, 0, *stream.events])


def test_a_cpu_has_no_caching_allocator() -> None:
    assert traced("decoder:make_step", device="cpu").reserved(4) is None


def test_a_card_that_is_just_too_small_is_told() -> None:
    answer = traced("decoder:make_step")
    found = answer.reserved(64)
    assert found is not None
    enough = answer.reserved(64, room_bytes=found.reserved_bytes)
    assert enough is not None
    assert (enough.fits, enough.flushes) == (True, 0)
    tensors = int(answer.footprint.peak(64).total_bytes(64))
    too_small = answer.reserved(64, room_bytes=tensors)
    assert too_small is not None
    assert not too_small.fits


# ---------------------------------------------------------------- the largest batch


def never(batch: int) -> Traced:
    raise AssertionError(f"batch {batch} needed no trace")


def test_lines_answer_without_another_trace() -> None:
    answer, room = traced("decoder:make_step"), 200 * MIB
    found = largest_batch(answer, room, trace_at=never)
    assert found.exact
    assert found.traced_at == ()
    fits, fails = (answer.reserved(batch, room_bytes=room) for batch in (found.micro_batch, found.micro_batch + 1))
    assert fits is not None
    assert fails is not None
    assert (fits.fits, fails.fits) == (True, False)
    confirmed = traced("decoder:make_step", found.micro_batch).reserved(found.micro_batch, room_bytes=room)
    assert confirmed == fits


def test_not_even_one_row() -> None:
    assert largest_batch(traced("decoder:make_step"), MIB, trace_at=never).micro_batch == 0


def test_a_step_without_rows_fits_at_any_batch() -> None:
    found = largest_batch(traced("decoder:make_step"), 2**62, trace_at=never)
    assert not found.exact


def test_where_there_are_no_lines_it_is_found_by_bisection_and_said() -> None:
    """Each row stands for 512, so that one more is 15 MiB and more."""
    answer, limit = contrasted(6, 7), contrasted(8).reserved(8)
    assert limit is not None
    found = largest_batch(answer, limit.reserved_bytes, trace_at=contrasted)
    assert found.micro_batch == 8
    assert found.exact
    assert found.traced_at == (12, 9, 8)
    assert str(answer.difference) in found.because
    assert "each batch was traced by itself" in found.because


def stepwise(*batches: int) -> Traced:
    """A step that holds 100 bytes a row and, from 100 rows on, as much again: no line goes through all batches."""

    def part(batch: int) -> Part:
        alive: dict[Component, Line] = {"activations": Line(intercept=100 * batch + (10_000 if batch > 100 else 0))}
        footprint = Footprint(
            source="traced", because="", parameters=0, gradient_bytes=0, checkpoint_bytes=0, operators=(),
            moments=(Moment(phase="forward", alive_bytes=alive),),
        )  # fmt: skip
        return Part((batch,), footprint, (), (), Stream((), (), (), (), (), (), whole=True), ())

    parts = tuple(part(batch) for batch in batches)
    return Traced("mine:step", parts, "they differ", {}, on_gpu=False, duration_s=0.0, from_cache=False)


@given(st.integers(1, 2000), st.sampled_from([(4, 8), (1,), (64, 128)]))
def test_bisection_finds_the_last_batch_that_fits(rows: int, known: tuple[int, ...]) -> None:
    room = 100 * rows
    found = largest_batch(stepwise(*known), room, trace_at=stepwise)
    by_hand = max(batch for batch in range(rows + 1) if 100 * batch + (10_000 if batch > 100 else 0) <= room)
    assert found.micro_batch == by_hand or (not found.exact and found.micro_batch < by_hand)
    assert found.exact or len(found.traced_at) == 16
    assert not set(known) & set(found.traced_at)


def test_a_search_that_gives_up_says_so() -> None:
    found = largest_batch(stepwise(4, 8), 2**60, trace_at=stepwise)
    assert not found.exact
    assert len(found.traced_at) == 16
    assert found.micro_batch >= 4 * 2**16
