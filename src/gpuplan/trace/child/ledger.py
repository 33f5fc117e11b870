"""Follows the life of every storage: when it comes, how large it is, when it goes. It does not know what it is for."""

from __future__ import annotations

import weakref
from typing import Any, Dict, List, NamedTuple, Tuple

__all__ = ["EMPTY", "GATHERED", "HOST", "Allocation", "Ledger"]

HOST = -1
"""The number of a storage that is not on the device."""
EMPTY = -2
"""The number of a storage of the device that has no memory now: sharded training takes it and gives it back."""

GATHERED = "gather"
"""The operator of an allocation that is memory for such a storage."""


class Allocation(NamedTuple):
    """One storage on the device; its number is its place in the ledger.

    `event` is where its life begins, `with_grad` whether autograd was recording, `placed` whether the program said that
    it goes to the device.
    """

    size_bytes: int
    shape: Tuple[int, ...]
    dtype: str
    operator: str
    site: int
    event: int
    with_grad: bool
    placed: bool


class Ledger:
    """Allocations in the order of their making, and events: n + 1 when allocation n comes, -(n + 1) when it goes."""

    def __init__(self) -> None:
        self.allocations: List[Allocation] = []
        self.events: List[int] = []
        self.alive_bytes = 0
        self.host_bytes = 0
        self._numbers: Dict[int, int] = {}
        self._host_sizes: Dict[int, int] = {}
        self._references: Dict[int, Any] = {}

    def number_of(self, storage: Any) -> int:
        """The number of a storage's allocation; HOST for one that is not on the device or not known."""
        return self._numbers.get(id(storage), HOST)

    def knows(self, storage: Any) -> bool:
        """Whether it was seen before."""
        return id(storage) in self._numbers

    def add(self, storage: Any, allocation: Allocation) -> None:
        """A storage came to the device, or has memory there again."""
        self._follow(storage, self._come(allocation))

    def add_host(self, storage: Any, size_bytes: int) -> None:
        """A storage came to the host's memory."""
        self.host_bytes += size_bytes
        self._host_sizes[id(storage)] = size_bytes
        self._follow(storage, HOST)

    def empty(self, storage: Any) -> None:
        """A storage of the device gave up its memory, but lives on."""
        number = self.number_of(storage)
        if number >= 0:
            self._go(number)
            self._numbers[id(storage)] = EMPTY

    def pass_by(self, allocation: Allocation) -> None:
        """A kernel's own workspace: it comes and goes within one operator."""
        number = len(self.allocations)
        self.allocations.append(allocation)
        self.events += [number + 1, -(number + 1)]

    def alive(self) -> List[int]:
        """Numbers of the allocations that are there now, oldest first."""
        return sorted(number for number in self._numbers.values() if number >= 0)

    def _come(self, allocation: Allocation) -> int:
        number = len(self.allocations)
        self.allocations.append(allocation)
        self.events.append(number + 1)
        self.alive_bytes += allocation.size_bytes
        return number

    def _go(self, number: int) -> None:
        self.alive_bytes -= self.allocations[number].size_bytes
        self.events.append(-(number + 1))

    def _follow(self, storage: Any, number: int) -> None:
        key = id(storage)
        self._numbers[key] = number
        if key in self._references:
            return

        def gone(_reference: Any) -> None:
            last = self._numbers.pop(key)
            del self._references[key]
            if last == HOST:
                self.host_bytes -= self._host_sizes.pop(key)
            elif last != EMPTY:
                self._go(last)

        # A storage keeps one Python object for its whole life, so that a weak reference tells its end.
        self._references[key] = weakref.ref(storage, gone)
