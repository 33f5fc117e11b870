"""Answers for what only a tensor's values could tell. Each answer is a guess that is counted and told to the user."""

# ruff: noqa: SLF001  what PyTorch does with a tensor is decided below its public functions
from __future__ import annotations

import functools
from typing import Any, Callable, Dict, List, Sequence

import torch

from . import quantised
from .attention_shapes import missing_shapes

__all__ = ["ALL_TRUE", "DRAWN", "DRAWS", "DataDependentError", "guess_of", "stand_in_for", "zeros_as_list"]

ALL_TRUE = "gpuplan_all_true"
"""Set on the result of `all()`: asserts and checks for padding ask it, and expect to hear yes."""

DRAWN = "gpuplan_drawn"
"""Set on whole numbers and truths that come from numbers chosen on the device: which tokens, and whether it is over."""
DRAWS = frozenset(("argmax", "multinomial", "topk", "max", "sort"))
"""The operators that choose them."""

aten = torch.ops.aten


class DataDependentError(Exception):
    """The size of a result depends on values that a trace does not have."""


def guess_of(tensor: torch.Tensor) -> Any:
    """A value for `item()`: 0.0, 1 for integers, False unless it came from `all()`.

    Of chosen tokens not all are the end: generation is traced to its longest.
    """
    if tensor.dtype == torch.bool:
        return getattr(tensor, ALL_TRUE, False) and not hasattr(tensor, DRAWN)
    if tensor.is_complex():
        return 0j
    return 0.0 if tensor.is_floating_point() else 1


def stand_in_for(func: Any) -> Callable[..., Any] | None:
    """What to call in place of an operator that needs values, or that has no shape function."""
    if getattr(func, "namespace", "") == "c10d":
        return functools.partial(_collective, func)
    if getattr(func, "namespace", "") == quantised.LIBRARY:
        return quantised.stand_in(func._opname)
    return STAND_INS.get(func)


def zeros_as_list(shape: Sequence[int], value: Any) -> Any:
    """Nested lists of one value, as `tolist()` gives them."""
    if not shape:
        return value
    return [zeros_as_list(shape[1:], value) for _ in range(shape[0])]


def _collective(func: Any, *args: Any, **kwargs: Any) -> Any:
    """A collective writes into its first argument; what it says of its end comes from one without elements."""
    made = func(*(_without_elements(value) for value in args), **kwargs)
    return (args[0], *made[1:]) if isinstance(made, tuple) else made


def _without_elements(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_without_elements(item) for item in value]
    return torch.empty(0, dtype=value.dtype, device="cpu") if isinstance(value, torch.Tensor) else value


def _nonzero(tensor: torch.Tensor) -> torch.Tensor:
    """At most every element is one."""
    return torch.empty((tensor.numel(), tensor.dim()), dtype=torch.int64, device="meta")


def _masked_select(tensor: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    elements = torch.where(mask, tensor, tensor).numel()
    return tensor.new_empty((elements,))


def _index(tensor: torch.Tensor, indices: Sequence[Any]) -> Any:
    return aten.index.Tensor(tensor, _without_masks(indices))


def _index_put(tensor: torch.Tensor, indices: Sequence[Any], values: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    if any(_is_mask(index) for index in indices) and values.dim() > 0 and values.numel() != 1:
        return tensor.clone()
    return aten.index_put.default(tensor, _without_masks(indices), values, *args, **kwargs)


def _index_put_(tensor: torch.Tensor, indices: Sequence[Any], values: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    if not any(_is_mask(index) for index in indices):
        aten.index_put_.default(tensor, indices, values, *args, **kwargs)
    return tensor


def _without_masks(indices: Sequence[Any]) -> List[Any]:
    """Boolean masks as the integer indices of all their elements."""
    found: List[Any] = []
    for index in indices:
        if _is_mask(index):
            found += [torch.empty((index.numel(),), dtype=torch.int64, device="meta") for _ in range(index.dim())]
        else:
            found.append(index)
    return found


def _is_mask(index: Any) -> bool:
    return isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8)


def _unique(
    tensor: torch.Tensor, _sorted: bool = True, return_inverse: bool = False, return_counts: bool = False
) -> Any:
    distinct = tensor.new_empty((tensor.numel(),))
    inverse = torch.empty(tensor.shape if return_inverse else (0,), dtype=torch.int64, device="meta")
    counts = torch.empty((tensor.numel() if return_counts else 0,), dtype=torch.int64, device="meta")
    return distinct, inverse, counts


def _unique_consecutive(
    tensor: torch.Tensor, return_inverse: bool = False, return_counts: bool = False, *_: Any
) -> Any:
    return _unique(tensor, return_inverse=return_inverse, return_counts=return_counts)


def _equal(_one: torch.Tensor, _other: torch.Tensor) -> bool:
    return True


def _nothing(*_args: Any, **_kwargs: Any) -> None:
    """A fused optimizer writes into its arguments and makes nothing."""


def _refuse(*_args: Any, **_kwargs: Any) -> Any:
    raise DataDependentError


STAND_INS: Dict[Any, Callable[..., Any]] = {
    aten.nonzero.default: _nonzero,
    aten.masked_select.default: _masked_select,
    aten.index.Tensor: _index,
    aten.index_put.default: _index_put,
    aten.index_put_.default: _index_put_,
    aten._index_put_impl_.default: _index_put_,
    aten._unique2.default: _unique,
    aten.unique_consecutive.default: _unique_consecutive,
    aten.equal.default: _equal,
    aten.repeat_interleave.Tensor: _refuse,
    aten.bincount.default: _refuse,
    **missing_shapes(),
}
for _name in ("_fused_adam_", "_fused_adamw_", "_fused_sgd_", "_fused_adagrad_"):
    _packet = getattr(aten, _name, None)
    for _overload in _packet.overloads() if _packet is not None else ():
        STAND_INS[getattr(_packet, _overload)] = _nothing
