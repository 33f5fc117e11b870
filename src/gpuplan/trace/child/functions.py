"""Sees every call of a PyTorch function above autograd, and gives those that depend on the device their GPU form.

It never sees operators; that is `dispatch`.
"""

# ruff: noqa: SLF001  what PyTorch does with a tensor is decided below its public functions
from __future__ import annotations

from typing import Any, Callable, Dict, Sequence

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

from .attention import Attention
from .autocast import Autocast
from .devices import asks_for_gpu
from .kernels import kernels
from .state import STATE, placing
from .transfers import transfers

__all__ = ["Functions"]

Handler = Callable[[Any, Sequence[Any], Dict[str, Any]], Any]
OF_VALUES = (torch.tensor, torch.as_tensor, torch.asarray)
CONSTANTS = (torch.scalar_tensor, torch.arange, torch.linspace, torch.logspace)
"""What loops, schedules and index tables are made of: small ones on the host are real."""
REAL_ELEMENTS = 4096


class Functions(TorchFunctionMode):
    """Stands between the user's program and PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.autocast = Autocast()
        self.attention = Attention(self.autocast)
        self._handlers: Dict[Any, Handler] = dict.fromkeys(self.autocast.policies, self._cast)
        self._handlers.update(kernels(self.autocast))
        self._handlers.update(dict.fromkeys(_device_constructors(), construct))
        self._handlers.update(transfers())
        self._handlers.update(dict.fromkeys((torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu), _recur))
        self._handlers[torch.device] = _device
        self._handlers[torch._C._nn._parse_to] = _as_asked
        self._handlers[torch._C._nn.scaled_dot_product_attention] = self.attention

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One call."""
        handler = None if STATE.passing else self._handlers.get(func)
        if handler is not None:
            return handler(func, args, kwargs or {})
        if kwargs and not STATE.passing and ("device" in kwargs or "generator" in kwargs):
            return place(func, args, kwargs)
        return func(*args, **(kwargs or {}))

    def _cast(self, func: Any, args: Sequence[Any], kwargs: Dict[str, Any]) -> Any:
        if self.autocast.is_on():
            return self.autocast.call(func, self.autocast.policies[func], args, kwargs)
        return func(*args, **kwargs)


def _as_asked(func: Any, args: Sequence[Any], kwargs: Dict[str, Any]) -> Any:
    """It only reads the arguments of `to`, as modules and quantised parameters do for themselves."""
    return func(*args, **kwargs)


def _device(func: Any, args: Sequence[Any], kwargs: Dict[str, Any]) -> Any:
    """A number alone is a GPU's, which PyTorch refuses where it sees none."""
    if len(args) == 1 and type(args[0]) is int:
        return func("cuda", *args)
    return func(*args, **kwargs)


def _recur(func: Any, args: Sequence[Any], kwargs: Dict[str, Any]) -> Any:
    STATE.notes.add("recurrent")
    return func(*args, **kwargs)


def construct(func: Any, args: Sequence[Any], kwargs: Dict[str, Any]) -> Any:
    """Make a new tensor without memory; a small constant of the host with it."""
    if any(isinstance(value, torch.Tensor) for value in args):
        return _copy(func, args, kwargs)
    to_device = asks_for_gpu(kwargs.get("device"))
    kwargs = {name: value for name, value in kwargs.items() if name not in {"device", "generator", "pin_memory"}}
    with placing(to_device):
        if func in OF_VALUES:
            return _with_values(func(*args, **kwargs, device="cpu"), to_device=to_device)
        is_constant = func in CONSTANTS and (not STATE.gpu or not to_device)
        is_real = is_constant and _elements(func, args, kwargs) <= REAL_ELEMENTS
        return func(*args, **kwargs, device="cpu" if is_real else "meta")


def _with_values(made: torch.Tensor, *, to_device: bool) -> torch.Tensor:
    """PyTorch makes a tensor of Python's numbers on the host, out of sight, and copies it to the device."""
    if made.numel() <= REAL_ELEMENTS and (not STATE.gpu or not to_device):
        return made
    return made.to(device="meta")


def place(func: Any, args: Sequence[Any], kwargs: Dict[str, Any]) -> Any:
    """A call that names a device, or a generator of random numbers, which no tensor without memory can take."""
    kwargs = {name: value for name, value in kwargs.items() if name != "generator"}
    device = kwargs.get("device")
    if device is None:
        return func(*args, **kwargs)
    with placing(asks_for_gpu(device)):
        return func(*args, **{**kwargs, "device": "meta"})


def _copy(func: Any, args: Sequence[Any], kwargs: Dict[str, Any]) -> Any:
    """`as_tensor` and the like of a tensor."""
    device = kwargs.pop("device", None)
    if device is None:
        return func(*args, **kwargs)
    made = func(*args, **kwargs)
    return made.to(device)


def _elements(func: Any, args: Sequence[Any], kwargs: Dict[str, Any]) -> int:
    """How many elements a constructor would make."""
    before, STATE.muted = STATE.muted, True
    try:
        return int(func(*args, **kwargs, device="meta").numel())
    finally:
        STATE.muted = before
