"""Moves between host and device, and questions for values, for tensors without memory. It makes no tensors anew."""

# ruff: noqa: SLF001  what PyTorch does with a tensor is decided below its public functions
from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

import torch

from .devices import CPU, GPU, asks_for_gpu, is_meta, on_device
from .state import STATE, honest, placing
from .unknowable import guess_of, zeros_as_list

__all__ = ["transfers"]

Handler = Callable[[Any, Sequence[Any], Dict[str, Any]], Any]
LARGEST_ARRAY_BYTES = 2**26


class Wish(NamedTuple):
    """What a call of `Tensor.to` asks for."""

    device: Any
    dtype: Optional[torch.dtype] = None
    copy: bool = False
    memory_format: Any = None


def transfers() -> Dict[Any, Handler]:
    """The handlers by function."""
    tensor = torch.Tensor
    return {
        tensor.to: _to,
        tensor.cuda: lambda _func, args, _kwargs: _move(args[0], Wish(GPU)),
        tensor.cpu: lambda _func, args, _kwargs: _move(args[0], Wish(CPU)),
        tensor.pin_memory: lambda _func, args, _kwargs: args[0],
        tensor.is_pinned: lambda _func, _args, _kwargs: False,
        tensor.numpy: _numpy,
        tensor.__array__: _numpy,
        tensor.tolist: _tolist,
        tensor.__repr__: _describe,
        tensor.__deepcopy__: _deepcopy,
    }


def _to(func: Any, args: Sequence[Any], kwargs: Dict[str, Any]) -> Any:
    wish = _wish(args[1:], kwargs)
    if wish.device is None:
        return func(*args, **kwargs)
    return _move(args[0], wish)


def _wish(args: Sequence[Any], kwargs: Dict[str, Any]) -> Wish:
    device, dtype = kwargs.get("device"), kwargs.get("dtype")
    switches: List[bool] = []
    for value in args:
        if isinstance(value, torch.Tensor):
            device, dtype = value.device, value.dtype
        elif isinstance(value, torch.dtype):
            dtype = value
        elif isinstance(value, bool):
            switches.append(value)
        elif value is not None:
            device = value
    other = kwargs.get("other")
    if isinstance(other, torch.Tensor):
        device, dtype = other.device, other.dtype
    copy = bool(kwargs.get("copy", switches[1] if len(switches) > 1 else False))
    return Wish(device, dtype, copy, kwargs.get("memory_format"))


def _move(tensor: torch.Tensor, wish: Wish) -> Any:
    """To the device, to the host, or only to another dtype."""
    to_device = asks_for_gpu(wish.device)
    options: Dict[str, Any] = {"dtype": wish.dtype or tensor.dtype, "copy": wish.copy}
    if wish.memory_format is not None:
        options["memory_format"] = wish.memory_format
    # The plain method: quantised parameters have one of their own, which led here.
    move: Any = torch.Tensor.to
    if not is_meta_tensor(tensor):
        if not to_device or not STATE.gpu:
            return move(tensor, **options)
        with placing(on_device=True):
            return move(tensor, device="meta", **options)
    if on_device(tensor) == to_device:
        return move(tensor, **options)
    with placing(to_device):
        return move(tensor, **{**options, "copy": True})


def is_meta_tensor(tensor: torch.Tensor) -> bool:
    """Whether it has no memory, asked where modes are on."""
    with torch._C.DisableTorchFunction():
        return bool(is_meta(tensor))


def _numpy(func: Any, args: Sequence[Any], kwargs: Dict[str, Any]) -> Any:
    tensor = args[0]
    if not is_meta_tensor(tensor):
        return func(*args, **kwargs)
    import numpy as np  # noqa: PLC0415  the program asked for an array, so that it is installed

    if tensor.numel() * tensor.element_size() > LARGEST_ARRAY_BYTES:
        raise MemoryError("an array of " + str(tuple(tensor.shape)) + " was asked of a tensor that has no values")
    empty = torch.empty(0, dtype=tensor.dtype, device="cpu")
    with torch._C.DisableTorchFunction():
        dtype = torch.empty(0, dtype=empty.dtype, device="cpu").numpy().dtype
    return np.zeros(tuple(tensor.shape), dtype=dtype)


def _tolist(func: Any, args: Sequence[Any], kwargs: Dict[str, Any]) -> Any:
    if not is_meta_tensor(args[0]):
        return func(*args, **kwargs)
    return zeros_as_list(tuple(args[0].shape), guess_of(args[0]))


def _describe(func: Any, args: Sequence[Any], kwargs: Dict[str, Any]) -> str:
    if not is_meta_tensor(args[0]):
        return str(func(*args, **kwargs))
    return "tensor(..., size={}, dtype={})".format(tuple(args[0].shape), args[0].dtype)


def _deepcopy(func: Any, args: Sequence[Any], kwargs: Dict[str, Any]) -> Any:
    """PyTorch copies a tensor without memory by `clone`, if it admits that it is one."""
    with honest():
        return func(*args, **kwargs)
