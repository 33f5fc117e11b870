"""Sizes of what some CUDA kernels allocate for themselves while they run. It knows only kernels that were read."""

from __future__ import annotations

from typing import Any, List, Sequence

__all__ = ["workspaces_of"]


def workspaces_of(operator: str, args: Sequence[Any]) -> List[int]:
    """Bytes that `operator` holds beside its inputs and outputs; nothing for all those that are not known."""
    if operator == "_scaled_dot_product_flash_attention_backward":
        return [_flash_backward(args[1], args[2])]
    if operator == "_scaled_dot_product_efficient_attention_backward":
        return [_efficient_backward(args[1])]
    return []


def _flash_backward(query: Any, key: Any) -> int:
    """FlashAttention 2: fp32 sums of the query's gradient, row sums, and unshared gradients of shared heads.

    mha_bwd of flash_api.cpp: lengths are rounded up to 128, widths to 32.
    """
    batch, heads, length, width = query.shape
    rows = batch * heads * _rounded(length, 128)
    shared = 2 * batch * key.shape[2] * heads * width * query.element_size() if key.shape[1] != heads else 0
    return rows * _rounded(width, 32) * 4 + rows * 4 + shared


def _efficient_backward(query: Any) -> int:
    """xFormers' kernel: row sums, and in 16 bits the fp32 sums of the query's gradient (an upper bound)."""
    rows = query.shape[0] * query.shape[1] * query.shape[2]
    return int(rows * 4 + (rows * query.shape[3] * 4 if query.element_size() == 2 else 0))


def _rounded(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
