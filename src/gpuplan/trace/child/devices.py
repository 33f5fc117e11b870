"""Makes `meta` tensors say that they are on the GPU or on the host. It moves nothing."""

# ruff: noqa: SLF001  what PyTorch does with a tensor is decided below its public functions
from __future__ import annotations

from typing import Any, List

import torch

from .ledger import HOST
from .state import STATE

__all__ = ["CPU", "GPU", "asks_for_gpu", "is_meta", "on_device", "parts_of", "pretend"]

GPU = torch.device("cuda", 0)
CPU = torch.device("cpu")

PLAIN = (torch.Tensor, torch.nn.Parameter)
BASE: Any = torch._C.TensorBase
is_meta = BASE.is_meta.__get__
real_device = BASE.device.__get__
real_index = BASE.get_device


def pretend() -> None:
    """Replace what Python code can ask a tensor about its device.

    The class's attributes are replaced, not a function mode used: hooks of autograd run where modes are off.
    """
    replaced: dict[str, Any] = {
        "device": property(shown_device),
        "is_cuda": property(lambda tensor: shown_device(tensor).type == "cuda"),
        "is_cpu": property(lambda tensor: shown_device(tensor).type == "cpu"),
        "is_meta": property(lambda tensor: STATE.inside > 0 and is_meta(tensor)),
        "get_device": lambda tensor: real_index(tensor) if STATE.inside else (0 if on_device(tensor) else -1),
    }
    for name, value in replaced.items():
        setattr(torch.Tensor, name, value)


def shown_device(tensor: torch.Tensor) -> torch.device:
    """Where the real tensor would be."""
    with torch._C.DisableTorchFunction():
        if STATE.inside:
            device: torch.device = real_device(tensor)
            return device
        return GPU if STATE.gpu and on_device(tensor) else CPU


def on_device(tensor: torch.Tensor) -> bool:
    """Whether its storage counts as the device's."""
    with torch._C.DisableTorchFunction():
        if STATE.ledger is None:
            return False
        try:
            storages = [part.untyped_storage() for part in parts_of(tensor)]
        except NotImplementedError:  # a sparse tensor has none of its own
            return True
        return any(STATE.ledger.number_of(storage) != HOST for storage in storages)


def parts_of(tensor: torch.Tensor) -> List[torch.Tensor]:
    """The tensors with memory behind one that only wraps them, as a shard does; else itself."""
    if type(tensor) in PLAIN or not hasattr(tensor, "__tensor_flatten__"):
        return [tensor]
    inner = [getattr(tensor, name) for name in tensor.__tensor_flatten__()[0]]
    return [part for one in inner if isinstance(one, torch.Tensor) for part in parts_of(one)]


def asks_for_gpu(device: object) -> bool:
    """Whether `device` is the one that is traced."""
    if not STATE.gpu:
        return True
    if isinstance(device, int) and not isinstance(device, bool):
        return True
    return torch.device(device).type == "cuda" if isinstance(device, (str, torch.device)) else False
