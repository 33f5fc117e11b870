"""One traced step by itself: what was there before it, numbered afresh, and what came and went. It compares nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Set

if TYPE_CHECKING:
    from .observe import Observation

__all__ = ["Stretch", "stretch_of"]


class Stretch(NamedTuple):
    """Allocations 0 to `kept` - 1 were there before; all others come in the order of their numbers."""

    kept: int
    sizes: List[int]
    categories: List[str]
    labels: List[List[Any]]
    persistent: List[int]
    events: List[int]
    phases: List[List[Any]]


def stretch_of(observation: Observation) -> Stretch:
    """Cut the step out of the whole trace."""
    before = _alive_before(observation.events[: observation.start])
    events = observation.events[observation.start : observation.end]
    numbers = before + [event - 1 for event in events if event > 0]
    fresh: Dict[int, int] = {old: new for new, old in enumerate(numbers)}
    return Stretch(
        kept=len(before),
        sizes=[observation.sizes[number] for number in numbers],
        categories=[observation.categories[number] for number in numbers],
        labels=[observation.labels[number] for number in numbers],
        persistent=[fresh[number] for number in observation.persistent if number in fresh],
        events=[fresh[event - 1] + 1 if event > 0 else -(fresh[-event - 1] + 1) for event in events],
        phases=[[max(0, event - observation.start), phase] for event, phase in observation.phases],
    )


def _alive_before(events: List[int]) -> List[int]:
    alive: Set[int] = set()
    for event in events:
        if event > 0:
            alive.add(event - 1)
        else:
            alive.discard(-event - 1)
    return sorted(alive)
