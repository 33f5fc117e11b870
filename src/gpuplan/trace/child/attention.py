"""Chooses the kernel of `scaled_dot_product_attention` as PyTorch would on the real device, and calls it.

The rules are those of ATen/native/transformers/{cuda/sdp_utils.cpp,sdp_utils_cpp.cpp}, seen in November 2026. It does
not choose cuDNN's kernel, which keeps the same tensors as flash attention.
"""

# ruff: noqa: SLF001  what PyTorch does with a tensor is decided below its public functions
from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Dict, NamedTuple, Optional, Sequence

import torch
from torch.nn import functional

from .state import STATE

if TYPE_CHECKING:
    from .autocast import Autocast

__all__ = ["Attention"]

aten = torch.ops.aten
HALVES = (torch.float16, torch.bfloat16)
BACKENDS: Any = torch.backends.cuda


class Call(NamedTuple):
    """The arguments of one call, by PyTorch's names."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    attn_mask: Optional[torch.Tensor] = None
    dropout_p: float = 0.0
    is_causal: bool = False
    scale: Optional[float] = None
    enable_gqa: bool = False


class Attention:
    """Stands for `torch.nn.functional.scaled_dot_product_attention`."""

    def __init__(self, autocast: Autocast) -> None:
        self.autocast = autocast
        self.chosen: Counter[str] = Counter()

    def __call__(self, _func: Any, args: Sequence[Any], kwargs: Dict[str, Any]) -> Any:
        """One attention."""
        call = Call(*args, **kwargs)
        if self.autocast.is_on():
            query, key, value, mask = (self.autocast.lower(tensor) for tensor in call[:4])
            call = call._replace(query=query, key=key, value=value, attn_mask=mask)
        kernel = choose(call)
        self.chosen[kernel] += 1
        with torch.autocast(self.autocast.device, enabled=False):
            return KERNELS[kernel](call)


def choose(call: Call) -> str:
    """The name of the kernel."""
    if not STATE.gpu or not call.query.is_cuda:
        return "CPU flash" if _cpu_flash_can(call) else "math"
    if _flash_can(call):
        return "flash"
    return "memory-efficient" if _efficient_can(call) else "math"


def _cpu_flash_can(call: Call) -> bool:
    return (
        BACKENDS.flash_sdp_enabled()
        and call.dropout_p == 0.0
        and call.query.dim() == 4
        and _same_width(call)
        and not (call.attn_mask is not None and call.attn_mask.requires_grad)
    )


def _flash_can(call: Call) -> bool:
    width = call.query.shape[-1]
    return (
        BACKENDS.flash_sdp_enabled()
        and STATE.capability >= (8, 0)
        and call.query.dtype in HALVES
        and call.attn_mask is None
        and call.query.dim() == 4
        and _same_width(call)
        and width <= 256
        and not (call.is_causal and call.query.shape[-2] != call.key.shape[-2])
        and _has_backward_of_width(call, width)
        and (call.enable_gqa or call.query.shape[1] == call.key.shape[1])
    )


def _has_backward_of_width(call: Call, width: int) -> bool:
    """Consumer cards of the compute capabilities 8.6, 8.9 and 12 have too little shared memory for some widths."""
    if STATE.capability not in {(8, 6), (8, 7), (8, 8), (8, 9), (12, 0), (12, 1)} or not call.query.requires_grad:
        return True
    return width <= 192 or (call.dropout_p == 0.0 and width > 224)


def _efficient_can(call: Call) -> bool:
    alignment = _alignment(call.query.dtype)
    supported = (torch.float16, torch.float32) if STATE.capability < (8, 0) else (*HALVES, torch.float32)
    return (
        BACKENDS.mem_efficient_sdp_enabled()
        and STATE.capability >= (5, 0)
        and call.query.dtype in supported
        and call.query.dim() == 4
        and call.query.shape[1] == call.key.shape[1]
        and call.query.shape[-1] == call.key.shape[-1]
        and call.query.shape[-1] % alignment == 0
        and call.value.shape[-1] % alignment == 0
    )


def _alignment(dtype: torch.dtype) -> int:
    """Elements that the kernel's matrix products need a width to be a multiple of."""
    half = dtype in HALVES
    with_tensor_cores = STATE.capability >= (8, 0) or (STATE.capability >= (7, 0) and half)
    least = 4 if STATE.capability >= (8, 0) else 1
    return max(least, 128 // (16 if half else 32)) if with_tensor_cores else least


def _same_width(call: Call) -> bool:
    return bool(call.query.shape[-1] == call.key.shape[-1] == call.value.shape[-1])


def _flash(call: Call) -> torch.Tensor:
    """The kernel takes widths that are multiples of 8; PyTorch pads the others."""
    width = call.query.shape[-1]
    padding = -width % 8
    query, key, value = call.query, call.key, call.value
    if padding:
        query, key, value = (functional.pad(tensor, (0, padding)) for tensor in (query, key, value))
    scale = call.scale if call.scale is not None else width**-0.5
    result: torch.Tensor = aten._scaled_dot_product_flash_attention(
        query, key, value, call.dropout_p, call.is_causal, return_debug_mask=False, scale=scale
    )[0]
    return result[..., :width] if padding else result


def _efficient(call: Call) -> torch.Tensor:
    learns = torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in call[:4])
    result: torch.Tensor = aten._scaled_dot_product_efficient_attention(
        call.query, call.key, call.value, _bias(call), learns, call.dropout_p, call.is_causal, scale=call.scale
    )[0]
    return result


def _bias(call: Call) -> Optional[torch.Tensor]:
    """The mask as numbers to add, seen by every head; its rows are padded to whole 16 bytes."""
    if call.attn_mask is None:
        return None
    mask = call.attn_mask
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=call.query.dtype).masked_fill_(mask.logical_not(), -math.inf)
    columns = call.key.shape[-2]
    if columns % 8:
        mask = functional.pad(mask, (0, -columns % 8))[..., :columns]
    return mask.expand(call.query.shape[0], call.query.shape[1], call.query.shape[2], columns)


def _cpu_flash(call: Call) -> torch.Tensor:
    mask = call.attn_mask
    if mask is not None and mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=call.query.dtype).masked_fill_(mask.logical_not(), -math.inf)
    result: torch.Tensor = aten._scaled_dot_product_flash_attention_for_cpu(
        call.query, call.key, call.value, call.dropout_p, call.is_causal, attn_mask=mask, scale=call.scale
    )[0]
    return result


def _math(call: Call) -> torch.Tensor:
    """PyTorch's own composition: all scores are there at once."""
    keywords: dict[str, Any] = {"scale": call.scale}
    if call.enable_gqa:
        keywords["enable_gqa"] = True
    result: torch.Tensor = aten._scaled_dot_product_attention_math(
        call.query, call.key, call.value, call.attn_mask, call.dropout_p, call.is_causal, None, **keywords
    )[0]
    return result


KERNELS = {"flash": _flash, "memory-efficient": _efficient, "math": _math, "CPU flash": _cpu_flash}
