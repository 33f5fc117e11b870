"""Replays allocations and frees through the rules of PyTorch's CUDA caching allocator. It traces and measures nothing.

The rules are those of c10/cuda/CUDACachingAllocator.cpp and c10/core/AllocatorConfig.h, seen in November 2026 and the
same since torch 1.3 (the expandable segments since 2.1): sizes are rounded up to 512 bytes; requests of at most 1 MiB
share segments of 2 MiB, those below 10 MiB segments of 20 MiB, all others get a segment of their own, rounded up to
2 MiB; the smallest free block that is large enough is taken, the one at the lowest address among equals; it is split
if more than 1 MiB (in small segments 512 bytes) would be left; free neighbours are joined; and when the device is full,
the segments that are wholly free are given back, and then it is tried once more. One stream, and the defaults of
PYTORCH_ALLOC_CONF.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Allocator", "Block", "Replayed", "replay"]

SMALLEST_BYTES = 512
SMALL_BYTES = 1 * MIB
SMALL_SEGMENT_BYTES = 2 * MIB
LARGE_SEGMENT_BYTES = 20 * MIB
OWN_SEGMENT_BYTES = 10 * MIB
"""From here on a request gets a segment of its own, rounded up to `ROUNDED_BYTES`."""
ROUNDED_BYTES = 2 * MIB
ADDRESS_SPACE_BYTES = LARGE_SEGMENT_BYTES << 24
"""Of an expandable segment: PyTorch reserves 9/8 of the device's memory as addresses, which is never the limit. Whole
granules, so that each segment begins with one."""


class Replayed(NamedTuple):
    """The most bytes that tensors asked for, that their blocks took, and that the allocator held from the device.

    `flushes` counts how often free segments were given back for want of room; where `fits` is false, the figures are
    those up to the allocation that failed.
    """

    requested_bytes: int
    allocated_bytes: int
    reserved_bytes: int
    flushes: int
    fits: bool


@dataclass(slots=True, eq=False)
class Block:
    """A piece of a segment: used, free, or an address without memory. Neighbours are those of the same segment."""

    address: int
    size: int
    pool: Pool
    expandable: bool = False
    used: bool = False
    mapped: bool = True
    before: Block | None = None
    after: Block | None = None


@dataclass(slots=True, eq=False)
class Pool:
    """The free blocks of small or of large segments, by size and then by address."""

    is_small: bool
    free: list[tuple[int, int]] = field(default_factory=list)
    blocks: dict[int, Block] = field(default_factory=dict)
    unmapped: dict[int, Block] = field(default_factory=dict)

    @property
    def segment_bytes(self) -> int:
        """What an expandable segment grows by."""
        return SMALL_SEGMENT_BYTES if self.is_small else LARGE_SEGMENT_BYTES

    def add(self, block: Block) -> None:
        """It is free from now on."""
        insort(self.free, (block.size, block.address))
        self.blocks[block.address] = block

    def remove(self, block: Block) -> None:
        """It is free no more."""
        del self.free[bisect_left(self.free, (block.size, block.address))]
        del self.blocks[block.address]


def replay(
    sizes: Sequence[int],
    events: Iterable[int],
    *,
    expandable_segments: bool = False,
    room_bytes: int | None = None,
) -> Replayed:
    """What the allocator holds for a stream of events: 0 makes the next of `sizes` (bytes), k frees the k-th last made.

    `room_bytes` is what the device has for it; None for a device without end.
    """
    allocator = Allocator(expandable_segments=expandable_segments, room_bytes=room_bytes)
    requested = most = 0
    fits = True
    made: list[Block] = []
    for event in events:
        number = len(made) - event
        if event:
            requested -= sizes[number]
            allocator.release(made[number])
            continue
        block = allocator.allocate(sizes[number])
        if block is None:
            fits = False
            break
        made.append(block)
        requested += sizes[number]
        most = max(most, requested)
    return Replayed(
        requested_bytes=most,
        allocated_bytes=allocator.most_allocated_bytes,
        reserved_bytes=allocator.most_reserved_bytes,
        flushes=allocator.flushes,
        fits=fits,
    )


class Allocator:
    """The state of the allocator on one device. All sizes are bytes."""

    def __init__(self, *, expandable_segments: bool = False, room_bytes: int | None = None) -> None:
        self.expandable_segments = expandable_segments
        self.room_bytes = room_bytes
        self.allocated_bytes = 0
        self.reserved_bytes = 0
        self.most_allocated_bytes = 0
        self.most_reserved_bytes = 0
        self.flushes = 0
        self._pools = (Pool(is_small=False), Pool(is_small=True))
        self._next_address = 0

    def allocate(self, size: int) -> Block | None:
        """A block of at least `size` bytes; None where the device has no more room."""
        size = _rounded(max(size, 1), SMALLEST_BYTES)
        pool = self._pools[size <= SMALL_BYTES]
        block = self._best_fit(pool, size) or self._more(pool, size)
        if block is None:
            self.flushes += 1
            self._flush()
            block = self._more(pool, size)
        if block is None:
            return None
        self._split(block, size)
        block.used = True
        self.allocated_bytes += block.size
        self.most_allocated_bytes = max(self.most_allocated_bytes, self.allocated_bytes)
        return block

    def release(self, block: Block) -> None:
        """The block is free again, together with its free neighbours."""
        self.allocated_bytes -= block.size
        block.used = False
        self._join_neighbours(block)
        block.pool.add(block)

    # ------------------------------------------------------------ finding a block

    def _best_fit(self, pool: Pool, size: int) -> Block | None:
        place = bisect_left(pool.free, (size, 0))
        if place == len(pool.free):
            return None
        if self.expandable_segments:
            place = _least_growing(pool, place)
        block = pool.blocks[pool.free[place][1]]
        pool.remove(block)
        return block

    def _split(self, block: Block, size: int) -> None:
        left = block.size - size
        if left < SMALLEST_BYTES if block.pool.is_small or self.expandable_segments else left <= SMALL_BYTES:
            return
        block.pool.add(_cut(block, size))

    def _more(self, pool: Pool, size: int) -> Block | None:
        """A free block from new memory of the device."""
        size = _segment_bytes(size)
        if self.expandable_segments:
            return self._expand(pool, size)
        if not self._take(size):
            return None
        block = Block(self._next_address, size, pool)
        self._next_address += size
        return block

    def _take(self, size: int) -> bool:
        if self.room_bytes is not None and self.reserved_bytes + size > self.room_bytes:
            return False
        self.reserved_bytes += size
        self.most_reserved_bytes = max(self.most_reserved_bytes, self.reserved_bytes)
        return True

    # ------------------------------------------------------------ expandable segments

    def _expand(self, pool: Pool, size: int) -> Block | None:
        block = self._growing_place(pool, size)
        if not block.mapped and not self._map(block, min(block.size, size)):
            return None
        while block.size < size:
            # Mapping joins what follows to the free block before it.
            following = block.after
            assert following is not None
            if not self._map(following, min(size - block.size, following.size)):
                return None
            block = following
        pool.remove(block)
        return block

    def _growing_place(self, pool: Pool, size: int) -> Block:
        """The lowest address where `size` bytes are free or without memory; a new segment if there is none."""
        for _, block in sorted(pool.unmapped.items()):
            start = block.before if block.before is not None and not block.before.used else block
            if _free_from(start, size) >= size:
                return start
        segment = Block(self._next_address, ADDRESS_SPACE_BYTES, pool, expandable=True, mapped=False)
        self._next_address += ADDRESS_SPACE_BYTES
        pool.unmapped[segment.address] = segment
        return segment

    def _map(self, block: Block, size: int) -> bool:
        """Give memory to the start of a block that has none, in whole granules."""
        size = min(_rounded(size, block.pool.segment_bytes), block.size)
        if not self._take(size):
            return False
        del block.pool.unmapped[block.address]
        if size < block.size:
            rest = _cut(block, size)
            rest.mapped = False
            block.pool.unmapped[rest.address] = rest
        block.mapped = True
        self._join_neighbours(block)
        block.pool.add(block)
        return True

    # ------------------------------------------------------------ giving back

    def _flush(self) -> None:
        """Give the device what is wholly free."""
        for pool in self._pools:
            for block in list(pool.blocks.values()):
                if block.expandable:
                    self._unmap(block)
                elif block.before is None and block.after is None:
                    pool.remove(block)
                    self.reserved_bytes -= block.size

    def _unmap(self, block: Block) -> None:
        """Take the memory of the whole granules inside a free block."""
        pool, granule = block.pool, block.pool.segment_bytes
        start = _rounded(block.address, granule)
        end = (block.address + block.size) // granule * granule
        if end <= start:
            return
        pool.remove(block)
        if start > block.address:
            head, block = block, _cut(block, start - block.address)
            pool.add(head)
        if end < block.address + block.size:
            pool.add(_cut(block, end - block.address))
        self.reserved_bytes -= block.size
        block.mapped = False
        self._join_neighbours(block)
        pool.unmapped[block.address] = block

    def _join_neighbours(self, block: Block) -> None:
        """One block with the neighbours that are as it is: both free, or both without memory."""
        if _is_like(block, block.before):
            assert block.before is not None
            _forget(block.before)
            block.address = block.before.address
            block.size += block.before.size
            block.before = block.before.before
            if block.before is not None:
                block.before.after = block
        if _is_like(block, block.after):
            assert block.after is not None
            _forget(block.after)
            block.size += block.after.size
            block.after = block.after.after
            if block.after is not None:
                block.after.before = block


def _segment_bytes(size: int) -> int:
    """What is asked of the device for a block of `size` bytes."""
    if size <= SMALL_BYTES:
        return SMALL_SEGMENT_BYTES
    return LARGE_SEGMENT_BYTES if size < OWN_SEGMENT_BYTES else _rounded(size, ROUNDED_BYTES)


def _cut(block: Block, size: int) -> Block:
    """Shorten a block to `size`; what is left of it becomes its neighbour."""
    rest = Block(
        block.address + size, block.size - size, block.pool, expandable=block.expandable, mapped=block.mapped,
        before=block, after=block.after,
    )  # fmt: skip
    if rest.after is not None:
        rest.after.before = rest
    block.size, block.after = size, rest
    return rest


def _is_like(block: Block, other: Block | None) -> bool:
    return other is not None and not other.used and other.mapped == block.mapped


def _forget(block: Block) -> None:
    if block.mapped:
        block.pool.remove(block)
    else:
        del block.pool.unmapped[block.address]


def _free_from(block: Block, enough: int) -> int:
    """Bytes from a block on that are not used, until there are enough."""
    total, step = 0, block
    while total < enough:
        total += step.size
        if step.after is None or step.after.used:
            break
        step = step.after
    return total


def _least_growing(pool: Pool, place: int) -> int:
    """Past blocks at the growing end of a segment, which count as large as they can become."""
    while place + 1 < len(pool.free) and _grown(pool, place + 1) < _grown(pool, place):
        place += 1
    return place


def _grown(pool: Pool, place: int) -> int:
    size, address = pool.free[place]
    after = pool.blocks[address].after
    return size + (after.size if after is not None and not after.mapped else 0)


def _rounded(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
