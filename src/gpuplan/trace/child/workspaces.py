"""What some kernels allocate for themselves while they run. It knows only kernels that were read or measured."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Sequence

import torch

from .quantised import QUANTISED, workspace_of
from .state import STATE

__all__ = ["NOTHING", "Workspaces", "workspaces_of"]


class Workspaces(NamedTuple):
    """Bytes held one after the other: before the results are there, and beside them.

    Each grows in a line with the batch, which their maximum would not.
    """

    before: List[int]
    beside: List[int]


NOTHING = Workspaces([], [])


def workspaces_of(operator: str, args: Sequence[Any], kwargs: Dict[str, Any], *, result: Any) -> Workspaces:
    """What `operator` holds beside its inputs and outputs; nothing for all those that are not known."""
    if operator in QUANTISED:
        return Workspaces(workspace_of(operator, args, kwargs), [])
    if STATE.gpu and operator == "_scaled_dot_product_flash_attention_backward":
        return Workspaces([], [_flash_backward(args[1], args[2])])
    if STATE.gpu and operator == "_scaled_dot_product_efficient_attention_backward":
        return Workspaces([], [_efficient_backward(args[1])])
    if not STATE.gpu and operator == "convolution":
        return _one_dnn(args[0], args[1], result, is_transposed=args[6])
    if not STATE.gpu and operator == "convolution_backward":
        return _one_dnn_backward(args)
    return NOTHING


def _flash_backward(query: Any, key: Any) -> int:
    """FlashAttention 2: fp32 sums of the query's gradient, row sums, and unshared gradients of shared heads.

    mha_bwd of flash_api.cpp: lengths are rounded up to 128, widths to 32.
    """
    batch, heads, length, width = query.shape
    rows = batch * heads * _rounded(length, 128)
    shared = 2 * batch * key.shape[2] * heads * width * query.element_size() if key.shape[1] != heads else 0
    return int(rows * _rounded(width, 32) * 4 + rows * 4 + shared)


def _efficient_backward(query: Any) -> int:
    """The kernel of xFormers: row sums, and in 16 bits the fp32 sums of the query's gradient (an upper bound)."""
    rows = query.shape[0] * query.shape[1] * query.shape[2]
    return int(rows * 4 + (rows * query.shape[3] * 4 if query.element_size() == 2 else 0))


def _one_dnn(tensor: Any, weight: Any, made: Any, *, is_transposed: bool) -> Workspaces:
    """A CPU's convolution copies its tensors into blocks of channels and back.

    Read off the profiler's memory events of 19 convolutions, torch 2.13 on AVX-512, November 2026.
    """
    blocked = _blocked(made)
    return Workspaces(
        [_read_blocked(tensor) + _bytes(weight) + blocked], [blocked + (_bytes(made) if is_transposed else 0)]
    )


def _one_dnn_backward(args: Sequence[Any]) -> Workspaces:
    """First the gradient of the input, which a stride makes copy once more; then, beside it, that of the weight."""
    gradient, tensor, weight, stride, groups, wanted = args[0], args[1], args[2], args[4], args[9], args[10]
    of_weight = _blocked(gradient) + _read_blocked(tensor) + _bytes(weight)
    if not wanted[0]:
        return Workspaces([of_weight], [])
    blocked = _blocked(tensor)
    copies = 2 if max(stride) > 1 and groups == 1 else 1
    return Workspaces(
        [_blocked(gradient) + _bytes(weight) + blocked, blocked + copies * _bytes(tensor), _bytes(tensor) + of_weight],
        [],
    )


def _read_blocked(tensor: Any) -> int:
    """An input of few channels is read as it is."""
    return _blocked(tensor) if tensor.shape[1] >= _block() else 0


def _blocked(tensor: Any) -> int:
    """Bytes of a tensor whose channels fill whole vector registers."""
    channels: int = tensor.shape[1]
    return _bytes(tensor) * _rounded(channels, _block()) // channels


def _block() -> int:
    """Channels in a vector register."""
    return 16 if "AVX512" in torch.backends.cpu.get_cpu_capability() else 8


def _bytes(tensor: Any) -> int:
    return int(tensor.numel() * tensor.element_size())


def _rounded(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
