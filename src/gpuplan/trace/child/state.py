"""What the modes and the patched functions share while a step is traced. It decides nothing."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Optional, Set

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .ledger import Ledger

__all__ = ["STATE", "State", "honest", "placing"]


class State:
    """One per process: PyTorch's modes and patches are global too."""

    def __init__(self) -> None:
        self.gpu = True
        """False: the program is traced as it runs on a CPU, where every tensor counts."""
        self.capability = (8, 0)
        """Compute capability of the GPU, which decides the attention kernel."""
        self.ranks = 1
        """How many processes train together; this is the first of them."""
        self.inside = 0
        """Above zero while PyTorch computes a shape: then tensors say what they are."""
        self.place: Optional[bool] = None
        """Where new tensors go: True the device, False the host, None where the inputs are."""
        self.passing = 0
        """Above zero while PyTorch computes with fake tensors of its own: nothing of it is the program's."""
        self.drawing = False
        """True once numbers were chosen on the device, as generation chooses tokens."""
        self.muted = False
        """True while something is made that the real program does not make."""
        self.ledger: Optional[Ledger] = None
        self.kernels: Set[str] = set()
        """Operators of other libraries, of which only the results are known."""
        self.notes: Set[str] = set()
        """What happened that the user should know of: keys of `notes.NOTES`."""


STATE = State()


@contextlib.contextmanager
def placing(on_device: Optional[bool]) -> Iterator[None]:
    """Tensors made in here go to the device or to the host."""
    before = STATE.place
    STATE.place = on_device
    try:
        yield
    finally:
        STATE.place = before


@contextlib.contextmanager
def honest() -> Iterator[None]:
    """Tensors admit in here that they are `meta`."""
    STATE.inside += 1
    try:
        yield
    finally:
        STATE.inside -= 1
