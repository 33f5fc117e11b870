"""The largest micro-batch that fits into so much memory: by arithmetic where all is linear, else by further traces.

It never guesses: every batch it calls fitting was replayed, and where lines do not hold, traced by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuplan.trace.result import Traced

__all__ = ["Largest", "largest_batch"]

LARGEST = 1 << 20
MOST_TRACES = 16


class Largest(NamedTuple):
    """The answer: 0 if not even one row fits; `exact` is false where a batch above might fit too.

    `traced_at` are the batches that had to be traced for it, in the order of their tracing.
    """

    micro_batch: int
    room_bytes: int
    exact: bool
    traced_at: tuple[int, ...]
    because: str


def largest_batch(traced: Traced, room_bytes: int, *, trace_at: Callable[[int], Traced]) -> Largest:
    """The largest micro-batch whose step fits into `room_bytes` of tensors and of what is kept for them.

    `trace_at` traces one batch by itself; it is called only where the traces are no lines in the batch.
    """
    if traced.is_linear:
        return _by_lines(traced, room_bytes)
    return _Bisection(traced, room_bytes, trace_at).answer()


def _by_lines(traced: Traced, room_bytes: int) -> Largest:
    # Tensors alone are arithmetic; only below their limit the allocator has to be replayed.
    tensors = _search(lambda batch: traced.footprint.peak(batch).total_bytes(batch) <= room_bytes, LARGEST)
    largest = _search(lambda batch: _fits(traced, batch, room_bytes), tensors)
    because = "two traces do the same, so that every tensor is a line in the batch"
    return Largest(largest, room_bytes, largest < LARGEST, (), because)


def _search(fits: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` that fits, by halving; 0 if none does."""
    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _fits(traced: Traced, batch: int, room_bytes: int) -> bool:
    footprint = traced.at(batch)
    if footprint is None or footprint.peak(batch).total_bytes(batch) > room_bytes:
        return False
    replayed = traced.reserved(batch, room_bytes=room_bytes)
    return replayed is None or replayed.fits


class _Bisection:
    """Doubling and halving, with a trace for each batch that is not known yet."""

    def __init__(self, traced: Traced, room_bytes: int, trace_at: Callable[[int], Traced]) -> None:
        self.traced = traced
        self.room_bytes = room_bytes
        self.trace_at = trace_at
        self.traced_at: list[int] = []

    def answer(self) -> Largest:
        low, high = self._bracket()
        while high - low > 1 and len(self.traced_at) < MOST_TRACES:
            middle = (low + high) // 2
            low, high = (middle, high) if self._fits(middle) else (low, middle)
        because = f"{self.traced.difference or 'one trace makes no line'}; each batch was traced by itself"
        return Largest(low, self.room_bytes, high - low == 1, tuple(self.traced_at), because)

    def _bracket(self) -> tuple[int, int]:
        """A batch that fits (or 0), and one above it that does not."""
        low, high = 0, self.traced.parts[0].batches[0]
        while high <= LARGEST and len(self.traced_at) < MOST_TRACES and self._fits(high):
            low, high = high, 2 * high
        return low, high

    def _fits(self, batch: int) -> bool:
        if self.traced.at(batch) is not None:
            return _fits(self.traced, batch, self.room_bytes)
        self.traced_at.append(batch)
        return _fits(self.trace_at(batch), batch, self.room_bytes)
