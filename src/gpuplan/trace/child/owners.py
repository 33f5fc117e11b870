"""Finds what the user's program keeps from step to step: parameters, buffers, gradients, optimizer states.

It asks Python's garbage collector for every module and optimizer there is, so that the user names nothing.
"""

# ruff: noqa: SLF001  what PyTorch does with a tensor is decided below its public functions
from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Set
from weakref import WeakValueDictionary

import torch

from .devices import parts_of
from .ledger import HOST

if TYPE_CHECKING:
    from .ledger import Ledger

__all__ = ["Census", "Owners"]


class Owners:
    """Numbers of the allocations by who keeps them, and the tensors to look at again while the step runs."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.parameters: List[torch.Tensor] = []
        self.numbers: Dict[str, Set[int]] = {
            kind: set() for kind in ("parameters", "buffers", "gradients", "optimizer")
        }
        self.persistent: Set[int] = set()

    def add(self, kind: str, tensor: torch.Tensor) -> int:
        """This tensor's storage is of that kind."""
        number = HOST
        with contextlib.suppress(NotImplementedError):
            for part in parts_of(tensor):
                number = self.ledger.number_of(part.untyped_storage())
                if number >= 0:
                    self.numbers[kind].add(number)
        return number

    def see_gradients(self) -> None:
        """Note the gradients that there are now."""
        with torch._C.DisableTorchFunction():
            for parameter in self.parameters:
                if parameter.grad is not None:
                    self.add("gradients", parameter.grad)

    def see_states(self, optimizer: Any) -> None:
        """Note the states of an optimizer and the gradients it is about to use."""
        self.see_gradients()
        with torch._C.DisableTorchFunction():
            for tensor in _tensors_below(getattr(optimizer, "state", None) or {}):
                self.add("optimizer", tensor)

    def kind_of(self, number: int) -> str | None:
        """Parameters come first: a tied head is one, whoever else holds it."""
        for kind, numbers in self.numbers.items():
            if number in numbers:
                return kind
        return None


class Census:
    """Every module and optimizer there is. What was looked through once is not looked through again."""

    def __init__(self) -> None:
        self._modules: WeakValueDictionary[int, Any] = WeakValueDictionary()
        self._optimizers: WeakValueDictionary[int, Any] = WeakValueDictionary()

    def look(self) -> None:
        """Find those that are new."""
        for thing in gc.get_objects():
            # Not isinstance: some objects act on being asked for their class.
            if issubclass(type(thing), torch.nn.Module):
                self._modules[id(thing)] = thing
            elif issubclass(type(thing), torch.optim.Optimizer):
                self._optimizers[id(thing)] = thing
        gc.freeze()

    def owners(self, ledger: Ledger) -> Owners:
        """What they hold now."""
        self.look()
        owners = Owners(ledger)
        with torch._C.DisableTorchFunction():
            for module in self._modules.values():
                _add_module(owners, module)
            for optimizer in self._optimizers.values():
                _add_optimizer(owners, optimizer)
        for optimizer in self._optimizers.values():
            owners.see_states(optimizer)
        return owners


def _add_module(owners: Owners, module: Any) -> None:
    for parameter in module.__dict__.get("_parameters", {}).values():
        if parameter is not None:
            owners.parameters.append(parameter)
            owners.add("parameters", parameter)
    passing = module.__dict__.get("_non_persistent_buffers_set", set())
    for name, buffer in module.__dict__.get("_buffers", {}).items():
        if isinstance(buffer, torch.Tensor):
            number = owners.add("buffers", buffer)
            if number >= 0 and name not in passing:
                owners.persistent.add(number)


def _add_optimizer(owners: Owners, optimizer: Any) -> None:
    """Its parameters are the model's, or copies in another precision; without a model they are the parameters."""
    kind = "optimizer" if owners.numbers["parameters"] else "parameters"
    known = {id(parameter) for parameter in owners.parameters}
    for group in getattr(optimizer, "param_groups", ()):
        for parameter in group.get("params", ()):
            if id(parameter) not in known:
                owners.parameters.append(parameter)
                owners.add(kind, parameter)


def _tensors_below(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors_below(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors_below(item)
