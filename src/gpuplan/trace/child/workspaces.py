"""Sizes of what some kernels allocate for themselves while they run. It knows only kernels that were read or measured."""

from __future__ import annotations

from typing import Any, Sequence

import torch

from .state import STATE

__all__ = ["workspace_of"]


def workspace_of(operator: str, args: Sequence[Any], result: Any) -> int:
    """The most bytes that `operator` holds beside its inputs and outputs; nothing for all those that are not known."""
    if STATE.gpu and operator == "_scaled_dot_product_flash_attention_backward":
        return _flash_backward(args[1], args[2])
    if STATE.gpu and operator == "_scaled_dot_product_efficient_attention_backward":
        return _efficient_backward(args[1])
    if not STATE.gpu and operator == "convolution":
        return _one_dnn(args[0], args[1], result, is_transposed=args[6])
    if not STATE.gpu and operator == "convolution_backward":
        return _one_dnn_backward(args)
    return 0


def _flash_backward(query: Any, key: Any) -> int:
    """FlashAttention 2: fp32 sums of the query's gradient, row sums, and unshared gradients of shared heads.

    mha_bwd of flash_api.cpp: lengths are rounded up to 128, widths to 32.
    """
    batch, heads, length, width = query.shape
    rows = batch * heads * _rounded(length, 128)
    shared = 2 * batch * key.shape[2] * heads * width * query.element_size() if key.shape[1] != heads else 0
    return int(rows * _rounded(width, 32) * 4 + rows * 4 + shared)


def _efficient_backward(query: Any) -> int:
    """xFormers' kernel: row sums, and in 16 bits the fp32 sums of the query's gradient (an upper bound)."""
    rows = query.shape[0] * query.shape[1] * query.shape[2]
    return int(rows * 4 + (rows * query.shape[3] * 4 if query.element_size() == 2 else 0))


def _one_dnn(tensor: Any, weight: Any, made: Any, *, is_transposed: bool) -> int:
    """A CPU's convolution copies its tensors into blocks of channels and back.

    Read off the profiler's memory events of 19 convolutions, torch 2.13 on AVX-512, November 2025.
    """
    blocked = _blocked(_bytes(made), made.shape[1])
    computing = _read_blocked(tensor) + _bytes(weight) + blocked - _bytes(made)
    return max(computing, 2 * blocked if is_transposed else blocked)


def _one_dnn_backward(args: Sequence[Any]) -> int:
    gradient, tensor, weight, stride, groups, wanted = args[0], args[1], args[2], args[4], args[9], args[10]
    blocked_gradient = _blocked(_bytes(gradient), gradient.shape[1])
    blocked_input = _blocked(_bytes(tensor), tensor.shape[1])
    of_weight = blocked_gradient + _read_blocked(tensor)
    if not wanted[0]:
        return of_weight
    copies = 2 if max(stride) > 1 and groups == 1 else 1
    computing = blocked_gradient + _bytes(weight) + blocked_input - _bytes(tensor)
    unblocking = blocked_input + (copies - 1) * _bytes(tensor)
    made = _bytes(weight) if wanted[1] else 0
    return max(of_weight, computing - made, unblocking - made)


def _read_blocked(tensor: Any) -> int:
    """An input of few channels is read as it is."""
    return _blocked(_bytes(tensor), tensor.shape[1]) if tensor.shape[1] >= _block() else 0


def _blocked(size_bytes: int, channels: int) -> int:
    return size_bytes * _rounded(channels, _block()) // channels


def _block() -> int:
    """Channels in a vector register."""
    return 16 if "AVX512" in torch.backends.cpu.get_cpu_capability() else 8


def _bytes(tensor: Any) -> int:
    return int(tensor.numel() * tensor.element_size())


def _rounded(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
