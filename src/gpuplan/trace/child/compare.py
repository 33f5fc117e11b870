"""Holds two traces against each other: only where each does the same, every quantity is a line in the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, List, Optional, Sequence

from .envelope import line_through

if TYPE_CHECKING:
    from .observe import Observation
    from .stretch import Stretch

__all__ = ["difference_between"]


def difference_between(observations: Sequence[Observation], stretches: Sequence[Stretch]) -> Optional[str]:
    """Why the two traces make no lines; None if they do."""
    if len(stretches) == 1:
        return None
    one, other = stretches
    batches = [observation.batch for observation in observations]
    where = "between batch {} and {} ".format(*batches)
    names = [[deed[0] for deed in observation.deeds] for observation in observations]
    if names[0] != names[1]:
        index = _first_difference(names[0], names[1])
        return where + "the operators differ from the {}th on: {} and {}".format(
            index + 1, _item(names[0], index), _item(names[1], index)
        )
    if one.events != other.events or one.categories != other.categories:
        return where + "tensors come and go in another order"
    return where + _bend(observations, stretches) if _bend(observations, stretches) else None


def _bend(observations: Sequence[Observation], stretches: Sequence[Stretch]) -> str:
    """A tensor's line that starts below zero is no line: its size grows faster, as batch x batch does."""
    batches = [observation.batch for observation in observations]
    for number, sizes in enumerate(zip(stretches[0].sizes, stretches[1].sizes)):  # noqa: B905  Python 3.9
        if line_through(batches, sizes).intercept < 0:
            operator, shape = stretches[1].labels[number][:2]
            return "the result of {}, {}, does not grow in a line".format(operator, tuple(shape))
    return ""


def _first_difference(one: List[str], other: List[str]) -> int:
    shared = min(len(one), len(other))
    return next((index for index in range(shared) if one[index] != other[index]), shared)


def _item(names: List[str], index: int) -> str:
    return names[index] if index < len(names) else "nothing"
