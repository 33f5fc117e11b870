"""The allocations and frees of a trace in order, as a model of PyTorch's allocator replays them. It models nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Sequence

if TYPE_CHECKING:
    from .envelope import Line

__all__ = ["stream_of"]


def stream_of(
    events: Sequence[int], lines: Sequence[Line], categories: Sequence[str], *, marks: Sequence[Sequence[Any]]
) -> Dict[str, Any]:
    """Compact arrays: allocation n has the size `lines[line_of[n]]`.

    In `events`, 0 is the next allocation and k > 0 frees the k-th last one made. `marks` are pairs of an event's index
    and what begins there.
    """
    distinct: Dict[Line, int] = {}
    kinds: Dict[str, int] = {}
    return {
        "line_of": [distinct.setdefault(line, len(distinct)) for line in lines],
        "component_of": [kinds.setdefault(category, len(kinds)) for category in categories],
        "lines": [list(line) for line in distinct],
        "components": list(kinds),
        "events": _relative(events),
        "marks": [list(mark) for mark in marks],
    }


def _relative(events: Sequence[int]) -> List[int]:
    made = 0
    relative: List[int] = []
    for event in events:
        if event > 0:
            made += 1
            relative.append(0)
        else:
            relative.append(made - (-event - 1))
    return relative
