"""What attention kernels give, where PyTorch knows it of fake tensors only (before 2.5). It computes nothing.

The shapes are those of torch/_subclasses/fake_impls.py of torch 2.4.1.
"""

# ruff: noqa: SLF001  what PyTorch does with a tensor is decided below its public functions
from __future__ import annotations

from typing import Any, Callable, Dict, Tuple

import torch

__all__ = ["missing_shapes"]

aten = torch.ops.aten


def missing_shapes() -> Dict[Any, Callable[..., Any]]:
    """By operator, the shape functions that this PyTorch lacks."""
    wanted: Dict[str, Callable[..., Any]] = {
        "_scaled_dot_product_flash_attention": _flash,
        "_scaled_dot_product_efficient_attention": _efficient,
    }
    return {
        getattr(aten, name).default: function
        for name, function in wanted.items()
        if not torch._C._dispatch_has_kernel_for_dispatch_key("aten::" + name, "Meta")
    }


def _flash(query: torch.Tensor, key: torch.Tensor, _value: torch.Tensor, *_: Any, **__: Any) -> Tuple[Any, ...]:
    rows, heads, length = query.shape[:3]
    made = torch.empty_like(query.transpose(1, 2)).transpose(1, 2)
    sums = torch.empty((rows, heads, length), dtype=torch.float32, device="meta")
    return (made, sums, None, None, length, key.shape[2], *_state(), query.new_empty((0,)))


def _efficient(
    query: torch.Tensor, _key: torch.Tensor, value: torch.Tensor, _bias: Any, learns: bool, *_: Any, **__: Any
) -> Tuple[Any, ...]:
    rows, heads, length = query.shape[:3]
    made = query.new_empty((rows, length, heads, value.shape[-1])).transpose(1, 2)
    padded = -(-length // 32) * 32 if learns else 0
    return (made, torch.empty((rows, heads, padded), dtype=torch.float32, device="meta"), *_state())


def _state() -> Tuple[torch.Tensor, torch.Tensor]:
    """Of the generator of random numbers."""
    return torch.empty((), dtype=torch.int64, device="meta"), torch.empty((), dtype=torch.int64, device="meta")
