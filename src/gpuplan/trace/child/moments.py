"""The instants of a step that can be its peak at some batch, and what is alive at each. It traces nothing."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, NamedTuple, Sequence, Set, Tuple

from .envelope import Line, upper_envelope

if TYPE_CHECKING:
    from .stretch import Stretch

__all__ = ["Instant", "find_moments", "most_at_once"]

ZERO = Line(0, 0)
MOST_BEHIND = 15
OWNED = frozenset(("parameters", "gradients", "optimizer"))


class Instant(NamedTuple):
    """After one event: the phase, and the bytes alive."""

    event: int
    phase: str
    total: Line


def find_moments(stretch: Stretch, lines: Sequence[Line], *, batch: int) -> List[Dict[str, Any]]:
    """For each phase the instants of its upper envelope, with what is alive by component and by operator."""
    instants = list(_instants(stretch, lines))
    chosen: List[Instant] = []
    for phase in ("forward", "backward", "optimizer"):
        of_phase = [instant for instant in instants if instant.phase == phase]
        chosen += [of_phase[index] for index in upper_envelope([instant.total for instant in of_phase])]
    chosen.sort(key=lambda instant: instant.event)
    return [
        {"phase": instant.phase, **_alive(stretch, lines, alive=alive, batch=batch)}
        for instant, alive in _replay(stretch, chosen)
    ]


def most_at_once(stretch: Stretch, lines: Sequence[Line], *, category: str) -> Line:
    """The most that one category ever holds."""
    total = _sum(lines[number] for number in range(stretch.kept) if stretch.categories[number] == category)
    most = [total]
    for event in stretch.events:
        number = abs(event) - 1
        if stretch.categories[number] == category:
            total = total.plus(lines[number], 1 if event > 0 else -1)
            most.append(total)
    return most[upper_envelope(most)[-1]]


def _instants(stretch: Stretch, lines: Sequence[Line]) -> Iterator[Instant]:
    """One at the start and one after each allocation: only there bytes alive grow."""
    starts = [event for event, _ in stretch.phases]
    total = _sum(lines[: stretch.kept])
    yield Instant(0, "forward", total)
    for index, event in enumerate(stretch.events):
        total = total.plus(lines[abs(event) - 1], 1 if event > 0 else -1)
        if event > 0:
            phase = stretch.phases[max(0, bisect_right(starts, index) - 1)][1]
            yield Instant(index + 1, phase, total)


def _replay(stretch: Stretch, instants: Sequence[Instant]) -> Iterator[Tuple[Instant, List[int]]]:
    alive: Set[int] = set(range(stretch.kept))
    done = 0
    for instant in instants:
        for event in stretch.events[done : instant.event]:
            if event > 0:
                alive.add(event - 1)
            else:
                alive.discard(-event - 1)
        done = instant.event
        yield instant, sorted(alive)


def _alive(stretch: Stretch, lines: Sequence[Line], *, alive: List[int], batch: int) -> Dict[str, Any]:
    components: Dict[str, Line] = {}
    behind: Dict[Any, List[int]] = {}
    for number in alive:
        category = stretch.categories[number]
        components[category] = components.get(category, ZERO).plus(lines[number])
        if category not in OWNED:
            operator, _, _, site = stretch.labels[number]
            behind.setdefault((category, operator, site), []).append(number)
    groups = [_group(stretch, lines, key=key, numbers=numbers) for key, numbers in behind.items()]
    groups.sort(key=lambda group: -Line(*group["bytes"]).at(batch))
    return {"alive": {name: list(line) for name, line in components.items()}, "behind": groups[:MOST_BEHIND]}


def _group(stretch: Stretch, lines: Sequence[Line], *, key: Any, numbers: List[int]) -> Dict[str, Any]:
    """Tensors of one component that one operator at one place made."""
    largest = max(numbers, key=lambda number: lines[number].at(1))
    _, shape, dtype, site = stretch.labels[largest]
    return {
        "component": key[0],
        "operator": key[1],
        "site": site,
        "count": len(numbers),
        "bytes": list(_sum(lines[number] for number in numbers)),
        "shape": shape,
        "dtype": dtype,
    }


def _sum(lines: Any) -> Line:
    total = ZERO
    for line in lines:
        total = total.plus(line)
    return total
