"""Repeatable chance for searches: the same seed gives the same plan. It is no good for statistics or secrets."""

from __future__ import annotations

__all__ = ["Dice"]

MASK = 2**64 - 1


class Dice:
    """splitmix64 (Steele, Lea, Flood 2014): a counter and three multiplications."""

    __slots__ = ("state",)

    def __init__(self, seed: int) -> None:
        self.state = seed & MASK

    def share(self) -> float:
        """From 0 to 1, without 1."""
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        mixed = self.state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
        return ((mixed ^ (mixed >> 31)) >> 11) / 2**53

    def below(self, limit: int) -> int:
        """A whole number from 0 to `limit - 1`."""
        return int(self.share() * limit)

    def weighted(self, weights: list[float]) -> int:
        """A position, as often as its weight says."""
        left = self.share() * sum(weights)
        for position, weight in enumerate(weights):
            left -= weight
            if left < 0:
                return position
        return len(weights) - 1

    def shuffled(self, items: list[int]) -> list[int]:
        """The items in another order (Fisher-Yates)."""
        mixed = list(items)
        for last in range(len(mixed) - 1, 0, -1):
            other = self.below(last + 1)
            mixed[last], mixed[other] = mixed[other], mixed[last]
        return mixed
