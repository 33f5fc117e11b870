"""What the kernels of bitsandbytes compute and hold, beside the shapes that it tells itself. It quantises nothing.

From bitsandbytes 0.50.2 (_ops.py, backends/cuda/ops.py), read in November 2026.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Sequence

import torch

from .state import STATE

__all__ = ["LIBRARY", "QUANTISED", "matmul_flops", "stand_in", "workspace_of"]

LIBRARY = "bitsandbytes"
QUANTISED = frozenset(("gemm_4bit",))
"""The operators with a workspace."""
NESTED_AT = 8
"""Positional arguments of `gemm_4bit` from which on its scales are quantised too."""


def matmul_flops(name: str) -> Optional[Callable[..., int]]:
    """How to count the FLOPs of a matrix product with quantised weights; None for what is none."""
    return MATMULS.get(name)


def stand_in(name: str) -> Optional[Callable[..., Any]]:
    """What to call in place of an operator whose shape depends on values: which columns are out of range."""
    known: Dict[str, Callable[..., Any]] = {
        "int8_vectorwise_quant": _quantise_rows,
        "int8_mixed_scaled_mm": _mixed,
    }
    return known.get(name)


def workspace_of(name: str, args: Sequence[Any], kwargs: Dict[str, Any]) -> List[int]:
    """Bytes that a kernel allocates while it runs.

    A product with 4-bit weights unpacks them all first, unless there are few rows (at most 1,536, by the GPU), for
    which it reads them packed: then this is an upper bound, and no more than the backward pass takes in any case.
    """
    assert name in QUANTISED
    STATE.notes.add("unpacked")
    tensor, _, shape, _, block = args[:5]
    elements = shape[0] * shape[1]
    weight = elements * tensor.element_size()
    is_nested = len(args) >= NESTED_AT or kwargs.get("absmax_8bit") is not None
    scale = -(-elements // block) * 4
    # Both at once, as the scales are there until the weight is.
    return [weight + scale] if is_nested else [weight]


def _quantise_rows(tensor: torch.Tensor, threshold: float = 0.0) -> Any:
    rows = torch.empty(tensor.shape, dtype=torch.int8, device="meta")
    scales = torch.empty((tensor.numel() // tensor.shape[-1],), dtype=torch.float32, device="meta")
    if not threshold:
        return rows, scales, None
    STATE.notes.add("outliers")
    return rows, scales, torch.empty((0,), dtype=torch.int64, device="meta")


def _mixed(tensor: torch.Tensor, quantised: torch.Tensor, weight: torch.Tensor, *_: Any, **__: Any) -> Any:
    made = tensor.new_empty((*quantised.shape[:-1], weight.shape[0]))
    return made, tensor.new_empty((quantised.numel() // quantised.shape[-1], 0))


def _packed_flops(tensor: torch.Tensor, _weight: Any, shape: Sequence[int], *_: Any, **__: Any) -> int:
    return int(2 * tensor.numel() * shape[0])


def _flops(tensor: torch.Tensor, weight: torch.Tensor, *_: Any, **__: Any) -> int:
    return int(2 * tensor.numel() * weight.shape[0])


def _mixed_flops(_tensor: Any, quantised: torch.Tensor, weight: torch.Tensor, *_: Any, **__: Any) -> int:
    return _flops(quantised, weight)


MATMULS: Dict[str, Callable[..., int]] = {
    "gemm_4bit": _packed_flops,
    "gemv_4bit": _packed_flops,
    "int8_linear_matmul": _flops,
    "int8_scaled_mm": _flops,
    "int8_mixed_scaled_mm": _mixed_flops,
}
