"""Tells forward, backward and optimizer apart by when autograd and optimizers run. It asks the user nothing."""

# ruff: noqa: SLF001  what PyTorch does with a tensor is decided below its public functions
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, List, NamedTuple

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

if TYPE_CHECKING:
    from torch.overrides import TorchFunctionMode

    from .ledger import Ledger

__all__ = ["BACKWARD", "FORWARD", "OPTIMIZER", "Clock", "Mark"]

FORWARD, BACKWARD, OPTIMIZER = "forward", "backward", "optimizer"


class Mark(NamedTuple):
    """From this event on it is this phase."""

    event: int
    phase: str


class Clock:
    """The phase that it is now, and when each began."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.phase = FORWARD
        self.marks: List[Mark] = []
        self.at_backward_end: List[Callable[[], None]] = []
        self.at_optimizer: List[Callable[[Any], None]] = []

    def enter(self, phase: str) -> None:
        """A phase begins."""
        self.phase = phase
        self.marks.append(Mark(len(self.ledger.events), phase))

    def hook(self, functions: TorchFunctionMode) -> None:
        """Watch the engine of autograd and all optimizers from now on."""
        self._hook_engine(functions)
        register_optimizer_step_pre_hook(self._optimizer_begins)
        register_optimizer_step_post_hook(self._optimizer_ends)

    def _hook_engine(self, functions: TorchFunctionMode) -> None:
        original = torch.autograd.graph._engine_run_backward

        def run_backward(*args: Any, **kwargs: Any) -> Any:
            """PyTorch turns the mode off around `backward`; checkpointing needs it there to compute again."""
            outer = self.phase
            if outer != BACKWARD:
                self.enter(BACKWARD)
            try:
                if is_active(functions):
                    return original(*args, **kwargs)
                with functions:
                    return original(*args, **kwargs)
            finally:
                if outer != BACKWARD:
                    for act in self.at_backward_end:
                        act()
                    self.enter(OPTIMIZER if outer == OPTIMIZER else FORWARD)

        torch.autograd.graph._engine_run_backward = run_backward
        torch.autograd._engine_run_backward = run_backward  # type: ignore[attr-defined]

    def _optimizer_begins(self, optimizer: Any, *_: Any) -> None:
        if self.phase == FORWARD:
            self.enter(OPTIMIZER)
        for act in self.at_optimizer:
            act(optimizer)

    def _optimizer_ends(self, optimizer: Any, *_: Any) -> None:
        for act in self.at_optimizer:
            act(optimizer)
        if self.phase == OPTIMIZER:
            self.enter(FORWARD)


def is_active(mode: TorchFunctionMode) -> bool:
    """Whether a function mode is among those that see calls now."""
    depth = torch._C._len_torch_function_stack()
    return any(torch._C._get_function_stack_at(index) is mode for index in range(depth))
