"""Wires the modes and patches of one process. After this, PyTorch in it only pretends."""

# ruff: noqa: SLF001  what PyTorch does with a tensor is decided below its public functions
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch._dynamo  # every optimizer imports it: better once, and before anything is replaced
from torch import nn

from .cuda_api import pretend_gpu
from .devices import is_meta, pretend
from .dispatch import Dispatch
from .functions import Functions
from .ledger import Ledger
from .owners import Census
from .phases import Clock
from .plain import make_plain
from .ranks import pretend_ranks
from .sites import Sites
from .state import STATE

if TYPE_CHECKING:
    from .owners import Owners
    from .request import Request

__all__ = ["Session"]


class Session:
    """Everything that listens. `stage` says what the user's program is doing: import, make or step."""

    def __init__(self, request: Request) -> None:
        STATE.gpu = request.gpu
        STATE.capability = request.capability
        STATE.ranks = request.ranks
        self.stage = "import"
        self.ledger = STATE.ledger = Ledger()
        self.sites = Sites(request.workdir)
        self.census = Census()
        self.clock = Clock(self.ledger)
        self.dispatch = Dispatch(self.ledger, self.sites)
        pretend()
        if request.gpu:
            pretend_gpu()
        make_plain()
        pretend_ranks()
        self._hear_resizes()
        self.functions = Functions()
        nn.modules.module.register_module_parameter_registration_hook(without_values)

    def start(self) -> None:
        """From now on nothing is computed."""
        torch.set_num_threads(1)
        self.clock.hook(self.functions)
        self.dispatch.__enter__()  # type: ignore[no-untyped-call]
        self.functions.__enter__()  # type: ignore[no-untyped-call]

    def _hear_resizes(self) -> None:
        """They are no operators."""
        real = torch.UntypedStorage.resize_

        def resize_(storage: Any, size: int) -> Any:
            result = real(storage, size)
            self.dispatch.resized(storage)
            return result

        torch.UntypedStorage.resize_ = resize_  # type: ignore[method-assign, assignment]

    def watch(self, owners: Owners) -> None:
        """Note whose each new gradient and state is."""
        self.clock.at_backward_end[:] = [owners.see_gradients]
        self.clock.at_optimizer[:] = [owners.see_states]


def without_values(_module: nn.Module, _name: str, parameter: Any) -> Any:
    """A parameter made of a small constant, which is real: its gradient will have no memory, so neither may it."""
    with torch._C.DisableTorchFunction():
        if parameter is None or is_meta(parameter):
            return None
        return nn.Parameter(parameter.detach().to(device="meta"), requires_grad=parameter.requires_grad)
