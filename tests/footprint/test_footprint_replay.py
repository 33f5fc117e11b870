"""The allocator's rules by hand, and what holds for every stream of allocations and frees."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuplan.footprint.replay import Allocator, Block, replay
from gpuplan.units import GIB, MIB


def blocks_of(*sizes: float, expandable_segments: bool = False) -> tuple[Allocator, list[Block]]:
    allocator = Allocator(expandable_segments=expandable_segments)
    made = [allocator.allocate(int(size)) for size in sizes]
    return allocator, [block for block in made if block is not None]


# ---------------------------------------------------------------- by hand


@pytest.mark.parametrize(
    ("size", "allocated", "reserved"),
    [
        (1, 512, 2 * MIB),
        (512, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (1 * MIB, 1 * MIB, 2 * MIB),
        (1 * MIB + 1, 1 * MIB + 512, 20 * MIB),
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB, 10 * MIB),
        (11 * MIB, 11 * MIB, 12 * MIB),  # 1 MiB is left, which is not more than 1 MiB: it is not split off
        (100 * MIB + 1, 102 * MIB - (2 * MIB - 512), 102 * MIB),
        (19 * MIB, 19 * MIB, 20 * MIB),
    ],
)
def test_one_request(size: int, allocated: int, reserved: int) -> None:
    found = replay([size], [0])
    assert found.requested_bytes == size
    assert found.reserved_bytes == reserved
    left = reserved - allocated
    splits = left >= 512 if size <= MIB else left > MIB
    assert found.allocated_bytes == (allocated if splits else reserved)


def test_small_requests_share_a_segment_and_large_ones_another() -> None:
    allocator, made = blocks_of(MIB, MIB, 5 * MIB, 5 * MIB, 9 * MIB)
    assert allocator.reserved_bytes == (2 + 20) * MIB
    assert [block.address // MIB for block in made] == [0, 1, 2, 7, 12]
    # 1 MiB is left of the large segment, too little to split off.
    assert made[-1].size == 10 * MIB
    allocator.allocate(MIB + 1)
    assert allocator.reserved_bytes == (2 + 20 + 20) * MIB


def test_the_smallest_block_that_is_large_enough_is_taken_from_its_start() -> None:
    allocator, (large, small, _) = blocks_of(60 * MIB, 30 * MIB, 60 * MIB)
    allocator.release(large)
    allocator.release(small)
    block = allocator.allocate(25 * MIB)
    assert block is not None
    assert (block.address, block.size) == (60 * MIB, 25 * MIB)
    rest = allocator.allocate(4 * MIB)
    assert rest is not None
    assert rest.address == 85 * MIB
    assert allocator.reserved_bytes == 150 * MIB


def test_free_neighbours_become_one_block() -> None:
    allocator, made = blocks_of(4 * MIB, 4 * MIB, 4 * MIB, 4 * MIB, 4 * MIB)
    for index in (0, 2, 1):
        allocator.release(made[index])
    block = allocator.allocate(9 * MIB)
    assert block is not None
    assert (block.address, allocator.reserved_bytes) == (0, 20 * MIB)


def test_blocks_of_two_segments_never_join() -> None:
    """36 MiB are free, and none of 24: what an out-of-memory error calls reserved but unallocated."""
    allocator, made = blocks_of(18 * MIB, 18 * MIB)
    for block in made:
        allocator.release(block)
    allocator.allocate(24 * MIB)
    assert allocator.reserved_bytes == (18 + 18 + 24) * MIB


def test_an_expandable_segment_grows_instead() -> None:
    allocator, made = blocks_of(18 * MIB, 18 * MIB, expandable_segments=True)
    assert allocator.reserved_bytes == 40 * MIB
    assert made[1].address == 18 * MIB
    for block in made:
        allocator.release(block)
    larger = allocator.allocate(44 * MIB)
    assert larger is not None
    assert (larger.address, larger.size, allocator.reserved_bytes) == (0, 44 * MIB, 60 * MIB)


def test_a_full_device_gives_back_what_is_wholly_free() -> None:
    """A segment that is used in part stays."""
    sizes = [40 * MIB, 4 * MIB, 4 * MIB, 60 * MIB]
    events = [0, 0, 0, 3, 2, 0]  # the 40 and the first 4 go, then 60 come
    assert replay(sizes, events).reserved_bytes == (40 + 20 + 60) * MIB
    found = replay(sizes, events, room_bytes=80 * MIB)
    assert (found.fits, found.flushes, found.reserved_bytes) == (True, 1, 80 * MIB)
    assert not replay(sizes, events, room_bytes=79 * MIB).fits
    assert not replay([MIB], [0], room_bytes=MIB).fits


def test_an_expandable_segment_gives_back_whole_granules_from_its_middle() -> None:
    allocator = Allocator(expandable_segments=True, room_bytes=120 * MIB)
    made = [allocator.allocate(size * MIB) for size in (10, 50, 30)]
    assert made[1] is not None
    assert allocator.reserved_bytes == 100 * MIB
    allocator.release(made[1])
    # The granules of 20 to 60 MiB are wholly free; at the end there are 10 MiB, and 45 more need three granules.
    block = allocator.allocate(55 * MIB)
    assert block is not None
    assert (block.address, block.size) == (90 * MIB, 55 * MIB)
    assert (allocator.flushes, allocator.reserved_bytes) == (1, 120 * MIB)
    # The 10 MiB before the hole are still there, and the hole has no memory.
    again = allocator.allocate(10 * MIB)
    assert again is not None
    assert again.address == 10 * MIB
    assert allocator.allocate(40 * MIB) is None


def test_what_fails_is_told_with_the_figures_until_then() -> None:
    found = replay([30 * MIB, 30 * MIB, 30 * MIB], [0, 0, 0], room_bytes=70 * MIB)
    assert found == (60 * MIB, 60 * MIB, 60 * MIB, 1, False)


# ---------------------------------------------------------------- for every stream

sizes_of_tensors = st.one_of(
    st.integers(1, 4096), st.integers(1, 3 * MIB), st.integers(1, 64 * MIB), st.sampled_from([MIB, 10 * MIB, 20 * MIB])
)
actions = st.lists(st.tuples(st.booleans(), sizes_of_tensors, st.integers(0, 1 << 30)), min_size=1, max_size=80)


@given(actions, st.booleans(), st.sampled_from([None, 100 * MIB, GIB]))
def test_blocks_never_overlap_and_the_sums_hold(
    steps: list[tuple[bool, int, int]], expandable_segments: bool, room_bytes: int | None
) -> None:
    allocator = Allocator(expandable_segments=expandable_segments, room_bytes=room_bytes)
    alive: list[tuple[int, Block]] = []
    for frees, size, choice in steps:
        if frees and alive:
            allocator.release(alive.pop(choice % len(alive))[1])
        elif (block := allocator.allocate(size)) is not None:
            alive.append((size, block))
        spans = sorted((block.address, block.address + block.size) for _, block in alive)
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
        assert all(asked <= block.size for asked, block in alive)
        assert all(block.address % 512 == block.size % 512 == 0 for _, block in alive)
        assert allocator.allocated_bytes == sum(block.size for _, block in alive)
        assert allocator.allocated_bytes <= allocator.reserved_bytes
        assert room_bytes is None or allocator.reserved_bytes <= room_bytes
        assert allocator.reserved_bytes % (2 * MIB) == 0


@given(actions, st.booleans())
def test_when_everything_is_free_everything_can_be_given_back(
    steps: list[tuple[bool, int, int]], expandable_segments: bool
) -> None:
    """Whatever came and went, its pieces are whole again: a room of just what the last request needs is enough."""
    last = 64 * MIB
    allocator = Allocator(expandable_segments=expandable_segments)
    alive: list[Block] = []
    for frees, size, choice in steps:
        if frees and alive:
            allocator.release(alive.pop(choice % len(alive)))
        elif (block := allocator.allocate(size)) is not None:
            alive.append(block)
    for block in alive:
        allocator.release(block)
    assert allocator.allocated_bytes == 0
    allocator.room_bytes = 80 * MIB
    if allocator.reserved_bytes > allocator.room_bytes or allocator.allocate(last) is None:
        assert allocator.allocate(10 * last) is None
        assert allocator.reserved_bytes == 0
        assert allocator.allocate(last) is not None


@given(actions, st.booleans())
def test_the_replay_of_a_stream_is_what_the_allocator_did(
    steps: list[tuple[bool, int, int]], expandable_segments: bool
) -> None:
    sizes: list[int] = []
    events: list[int] = []
    alive: list[int] = []
    requested = most = 0
    for frees, size, choice in steps:
        if frees and alive:
            number = alive.pop(choice % len(alive))
            events.append(len(sizes) - number)
            requested -= sizes[number]
        else:
            alive.append(len(sizes))
            events.append(0)
            sizes.append(size)
            requested += size
            most = max(most, requested)
    found = replay(sizes, events, expandable_segments=expandable_segments)
    assert found.requested_bytes == most <= found.allocated_bytes <= found.reserved_bytes
    assert (found.flushes, found.fits) == (0, True)
    enough = replay(sizes, events, expandable_segments=expandable_segments, room_bytes=found.reserved_bytes)
    assert enough == found
