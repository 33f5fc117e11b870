"""Says what each allocation is for, when the step is over and its whole life is known. It measures nothing."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Dict, List, NamedTuple, Sequence, Set

from .ledger import GATHERED
from .phases import BACKWARD, FORWARD, OPTIMIZER, Mark

if TYPE_CHECKING:
    from .ledger import Allocation
    from .owners import Owners
    from .sites import Site

__all__ = ["KEPT", "Spans", "Step", "categorize"]

KEPT = "kept"
"""There before the step and nobody's: an input if it grows with the batch, else a buffer."""
NUMBERS = frozenset(("float32", "float16", "bfloat16", "float64"))


class Spans:
    """The phase at each event, with the pauses between two phases told apart by what comes next."""

    def __init__(self, marks: Sequence[Mark], *, start: int) -> None:
        settled = [Mark(start, FORWARD), *(mark for mark in marks if mark.event >= start)]
        last = len(settled) - 1
        self.events = [mark.event for mark in settled]
        self.phases = [_settle(settled, index, is_last=index == last) for index in range(len(settled))]
        self.backwards = [mark.event for mark in settled if mark.phase == BACKWARD]

    def at(self, event: int) -> str:
        """The phase that an event belongs to."""
        return self.phases[max(0, bisect_right(self.events, event) - 1)]

    def next_backward(self, event: int) -> int | None:
        """When the next backward pass begins."""
        index = bisect_left(self.backwards, event)
        return self.backwards[index] if index < len(self.backwards) else None


def _settle(marks: List[Mark], index: int, *, is_last: bool) -> str:
    """After a backward pass comes clipping, if an optimizer follows; after the last optimizer, clearing up."""
    mark = marks[index]
    if mark.phase != FORWARD or index == 0:
        return mark.phase
    before = marks[index - 1].phase
    if is_last:
        return before
    return OPTIMIZER if before == BACKWARD and marks[index + 1].phase == OPTIMIZER else FORWARD


class Step(NamedTuple):
    """What is known of the traced step."""

    start: int
    spans: Spans
    ends: Dict[int, int]
    classes: Set[int]


def categorize(allocations: Sequence[Allocation], owners: Owners, sites: Sequence[Site], *, step: Step) -> List[str]:
    """The component of each allocation; those that were gone before the step are temporaries."""

    def component(number: int, allocation: Allocation) -> str:
        if allocation.operator == GATHERED:
            return "parameters"
        return owners.kind_of(number) or _category(allocation, sites, number=number, step=step)

    return [component(number, allocation) for number, allocation in enumerate(allocations)]


def _category(allocation: Allocation, sites: Sequence[Site], *, number: int, step: Step) -> str:
    end = step.ends.get(number)
    if allocation.event < step.start:
        return "temporaries" if end is not None and end < step.start else KEPT
    phase = step.spans.at(allocation.event)
    if phase == OPTIMIZER:
        return "temporaries"
    if phase == FORWARD and allocation.placed and not sites[allocation.site].in_module:
        return "inputs"
    if _is_logits(allocation, step.classes):
        return "logits"
    if phase == BACKWARD:
        return "activations" if allocation.with_grad else "temporaries"
    backward = step.spans.next_backward(allocation.event)
    is_saved = backward is not None and (end is None or end >= backward)
    return "activations" if is_saved else "temporaries"


def _is_logits(allocation: Allocation, classes: Set[int]) -> bool:
    shape = allocation.shape
    return len(shape) > 1 and allocation.dtype in NUMBERS and (shape[-1] in classes or shape[1] in classes)
