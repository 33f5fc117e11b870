"""The two ways in which a training run ends badly on purpose.

It never holds programming errors: those keep their traceback.
"""

from __future__ import annotations


class WorkloadError(Exception):
    """Something the user can put right: what happened and where, and in `hint` what to do next."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class DivergedError(Exception):
    """The training loss is no longer a finite number; every rank of the run raises it at the same step."""

    def __init__(self, *, step: int, loss: float) -> None:
        super().__init__(f"diverged: loss is {loss} at step {step}")
        self.step = step
        self.loss = loss
