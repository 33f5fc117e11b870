"""Steps that a program counts anew in each epoch, as steps of the whole run. It never touches steps that only grow."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COUNTED_ON", "CountedOn"]

COUNTED_ON = "steps begin anew with each epoch in it: they are counted on"


class CountedOn:
    """Goes on counting where the epoch is the next one and the step is back at its first.

    Of an epoch whose last steps are not in the log, these are missing in the count.
    """

    def __init__(self) -> None:
        self.begins_anew = False
        """Whether it had to be done."""
        self._before = 0.0
        self._first: float | None = None
        self._last = -1.0
        self._stride = 1.0
        self._epoch: float | None = None

    def at(self, step: float, epoch: float | None) -> float:
        """The step of the run that is this step of this epoch; as it stands where no epoch is known."""
        if epoch is None:
            return self._before + step
        first = step if self._first is None else self._first
        if epoch == (self._epoch or 0.0) + 1 and step <= self._last and step <= first + self._stride:
            self._before += self._last - first + self._stride
            self.begins_anew = True
        elif self._epoch is not None and epoch < self._epoch:
            self._before, first = 0.0, step  # a program that began again, or another one
        elif step > self._last >= 0:
            self._stride = step - self._last
        self._first, self._last, self._epoch = first, step, epoch
        return self._before + step

    def many(self, steps: Sequence[float], epochs: Sequence[float] | None) -> Sequence[float]:
        """The same for rows that follow each other."""
        if not steps or epochs is None:
            return [self._before + step for step in steps] if self._before else steps
        only_grow = steps[0] > self._last and all(map(operator.lt, steps[:-1], steps[1:]))
        if only_grow and self._before == 0 and len(steps) > 1 and self._first is not None:
            self._last, self._epoch, self._stride = steps[-1], epochs[-1], steps[-1] - steps[-2]
            return steps
        return list(map(self.at, steps, epochs))
