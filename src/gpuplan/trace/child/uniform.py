"""Tensors whose elements are all one known number, as masks and flags begin: what becomes of it. It guesses nothing.

`model.generate` of Hugging Face ends when a flag of the device says that the longest allowed length is reached.
"""

from __future__ import annotations

import operator
from typing import Any, Callable, Dict, Optional, Sequence

import torch

__all__ = ["follow", "value_of"]

VALUE = "gpuplan_value"
"""Set on a storage: what is written through one view is seen through all."""

MAKERS: Dict[str, int] = {"full": 1, "full_like": 1, "new_full": 2, "fill": 1, "scalar_tensor": 0}
"""By operator, the place of the number among its arguments."""
CONSTANTS = {"zeros": 0, "zeros_like": 0, "new_zeros": 0, "zero": 0, "ones": 1, "ones_like": 1, "new_ones": 1}
SAME = frozenset(("_to_copy", "clone", "max", "min", "amax", "amin", "repeat"))
UNARY: Dict[str, Callable[[Any], Any]] = {
    "any": bool,
    "all": bool,
    "logical_not": operator.not_,
    "copy": lambda one: one,
}
BINARY: Dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "add": operator.add,
    "sub": operator.sub,
    "rsub": lambda one, other: other - one,
    "mul": operator.mul,
    "bitwise_and": operator.and_,
    "bitwise_or": operator.or_,
    "logical_and": lambda one, other: bool(one and other),
    "logical_or": lambda one, other: bool(one or other),
}
ABSORBING: Dict[str, Any] = {"mul": 0, "bitwise_and": 0, "logical_and": False, "bitwise_or": True, "logical_or": True}
"""A number that decides by itself; `or` of whole numbers has none, but is asked of truths."""

RULES = frozenset((*MAKERS, *CONSTANTS, *SAME, *UNARY, *BINARY, "bitwise_not"))


def value_of(tensor: Any) -> Any:
    """The number that all elements are; None if it is not known."""
    if not isinstance(tensor, torch.Tensor):
        return tensor if isinstance(tensor, (bool, int, float)) else None
    if tensor.is_sparse:
        return None
    return getattr(tensor.untyped_storage(), VALUE, None)


def follow(name: str, args: Sequence[Any], result: Any) -> None:
    """Note what an operator made of it, or that it is known no more."""
    written = name.endswith("_") and not name.startswith("_")
    plain = name[:-1] if written else name
    if not (written or plain in RULES) or not isinstance(result, torch.Tensor) or result.is_sparse:
        return
    value = _value(plain, args[1:] if plain == "copy" else args, result)
    storage = result.untyped_storage()
    known = getattr(storage, VALUE, None)
    if value is None:
        if written and known is not None:
            setattr(storage, VALUE, None)
    elif not written or result.numel() * result.element_size() == storage.nbytes() or value == known:
        setattr(storage, VALUE, value)
    else:
        setattr(storage, VALUE, None)


def _value(name: str, args: Sequence[Any], result: torch.Tensor) -> Any:
    found = _raw(name, args)
    if found is None or result.dtype.is_complex:
        return None
    if result.dtype == torch.bool:
        return bool(found)
    return float(found) if result.is_floating_point() else int(found)


def _raw(name: str, args: Sequence[Any]) -> Any:
    if name in CONSTANTS:
        return CONSTANTS[name]
    if name in MAKERS:
        return value_of(args[MAKERS[name]])
    if name in SAME:
        return value_of(args[0])
    if name == "bitwise_not":
        return _not(args[0])
    if name in UNARY:
        one = value_of(args[0])
        return None if one is None else UNARY[name](one)
    return _of_two(name, args) if name in BINARY else None


def _not(tensor: torch.Tensor) -> Any:
    value = value_of(tensor)
    return None if value is None else (not value if tensor.dtype == torch.bool else ~value)


def _of_two(name: str, args: Sequence[Any]) -> Optional[Any]:
    one, other = value_of(args[0]), value_of(args[1])
    if one is not None and other is not None:
        return BINARY[name](one, other)
    known = one if other is None else other
    decides = known is not None and known == ABSORBING.get(name)
    return known if decides and (name != "bitwise_or" or isinstance(known, bool)) else None
