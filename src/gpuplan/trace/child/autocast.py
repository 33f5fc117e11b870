"""Autocast for tensors without memory, for which PyTorch has none: the same casts. It never casts outside of it."""

# ruff: noqa: SLF001  what PyTorch does with a tensor is decided below its public functions
from __future__ import annotations

from typing import Any, Callable, Dict, List, Sequence, Tuple

import torch

from .casts import FULL, LOWER, OPTIONAL_FULL, policies
from .state import STATE

__all__ = ["Autocast"]

HALVES = (torch.float16, torch.bfloat16)
ELIGIBLE = (*HALVES, torch.float32)


class Autocast:
    """Casts the arguments of a function as its policy says, while the user's program has autocast on."""

    def __init__(self) -> None:
        self.device = "cuda" if STATE.gpu else "cpu"
        self.policies = policies(gpu=STATE.gpu)
        self._cache: Dict[int, Tuple[torch.Tensor, torch.Tensor]] = {}
        self._hook_cache()

    def is_on(self) -> bool:
        """Whether autocast is enabled for the device that is traced."""
        return bool(torch.is_autocast_enabled(self.device))

    def lower(self, value: Any) -> Any:
        """An argument in the lower precision; a weight's cast is kept until autocast ends."""
        target = torch.get_autocast_dtype(self.device)
        if not _is_eligible(value) or value.dtype == target:
            return value
        kept = (
            value.dtype == torch.float32
            and value.requires_grad
            and value.is_leaf
            and not value._is_view()
            and torch.is_autocast_cache_enabled()
        )
        if not kept:
            return value.to(dtype=target)
        if id(value) not in self._cache:
            # The weight is kept with its cast, so that its id stays its own.
            self._cache[id(value)] = (value, value.to(dtype=target))
        return self._cache[id(value)][1]

    def call(self, func: Callable[..., Any], policy: str, args: Sequence[Any], kwargs: Dict[str, Any]) -> Any:
        """`func` under its policy."""
        if policy == OPTIONAL_FULL:
            return self._call_with_dtype(func, args, kwargs)
        cast = self.lower if policy == LOWER else full if policy == FULL else _to_widest(args)
        with torch.autocast(self.device, enabled=False):
            return func(*_mapped(cast, args), **{name: _mapped(cast, [value])[0] for name, value in kwargs.items()})

    def _call_with_dtype(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Dict[str, Any]) -> Any:
        chosen = kwargs.get("dtype") is not None or any(isinstance(value, torch.dtype) for value in args)
        if not chosen and _is_eligible(args[0] if args else None):
            kwargs = {**kwargs, "dtype": torch.float32}
        return func(*args, **kwargs)

    def _hook_cache(self) -> None:
        clear = torch.clear_autocast_cache

        def clear_both() -> None:
            """PyTorch calls it at the end of the outermost autocast."""
            self._cache.clear()
            clear()

        torch.clear_autocast_cache = clear_both


def full(value: Any) -> Any:
    """An argument in fp32."""
    return value.to(dtype=torch.float32) if _is_eligible(value) and value.dtype in HALVES else value


def _to_widest(args: Sequence[Any]) -> Callable[[Any], Any]:
    wide = any(_is_eligible(value) and value.dtype == torch.float32 for value in args)
    return full if wide else _same


def _same(value: Any) -> Any:
    return value


def _is_eligible(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype in ELIGIBLE and (not STATE.gpu or value.is_cuda)


def _mapped(cast: Callable[[Any], Any], values: Sequence[Any]) -> List[Any]:
    return [
        type(value)(cast(item) for item in value) if type(value) in (list, tuple) else cast(value) for value in values
    ]
