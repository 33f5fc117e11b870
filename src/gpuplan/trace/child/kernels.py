"""Functions that a GPU computes with another kernel than PyTorch's portable composition. It holds no attention."""

# ruff: noqa: SLF001  what PyTorch does with a tensor is decided below its public functions
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, NamedTuple, Optional, Sequence

import torch

from .autocast import full
from .state import STATE

if TYPE_CHECKING:
    from .autocast import Autocast

__all__ = ["kernels"]

aten = torch.ops.aten
Handler = Callable[[Any, Sequence[Any], Dict[str, Any]], Any]
nll_loss: Any = torch._C._nn.nll_loss_nd
fused_rms_norm = getattr(aten, "_fused_rms_norm", None)


def kernels(autocast: Autocast) -> Dict[Any, Handler]:
    """The handlers by function; none for a program that is traced as on a CPU."""
    if not STATE.gpu:
        return {}
    gpu = Kernels(autocast)
    found: Dict[Any, Handler] = {torch.dropout: gpu.dropout}
    found.update(dict.fromkeys((torch.softmax, torch.Tensor.softmax), gpu.softmax))
    found.update(dict.fromkeys((torch.log_softmax, torch.Tensor.log_softmax), gpu.log_softmax))
    found[torch._C._nn.cross_entropy_loss] = gpu.cross_entropy
    if fused_rms_norm is not None:
        found[torch.rms_norm] = gpu.rms_norm
    return found


class Kernels:
    """What a GPU does in one kernel."""

    def __init__(self, autocast: Autocast) -> None:
        self.autocast = autocast

    def dropout(self, func: Any, args: Sequence[Any], kwargs: Dict[str, Any]) -> Any:
        """One kernel, and a mask of one byte an element."""
        call = _Dropout(*args, **kwargs)
        if call.train and 0.0 < call.p < 1.0 and call.input.is_cuda and call.input.numel():
            return torch.native_dropout(call.input, call.p, train=True)[0]
        return func(*args, **kwargs)

    def softmax(self, func: Any, args: Sequence[Any], kwargs: Dict[str, Any]) -> Any:
        """Reads fp16 and writes fp32 without a cast between."""
        return self._normalised(aten._softmax, func, args, kwargs)

    def log_softmax(self, func: Any, args: Sequence[Any], kwargs: Dict[str, Any]) -> Any:
        """As softmax."""
        return self._normalised(aten._log_softmax, func, args, kwargs)

    def cross_entropy(self, func: Any, args: Sequence[Any], kwargs: Dict[str, Any]) -> Any:
        """Autocast runs both its halves in fp32; from fp16 without a cast between."""
        if not self.autocast.is_on():
            return func(*args, **kwargs)
        call = _CrossEntropy(*args, **kwargs)
        with torch.autocast("cuda", enabled=False):
            if call.is_plain and call.input.dtype == torch.float16:
                logs = aten._log_softmax(call.input, 1 if call.input.dim() > 1 else 0, half_to_float=True)
                return nll_loss(logs, call.target, call.weight, call.reduction, call.ignore_index)
            return func(full(call.input), *call[1:])

    def rms_norm(self, func: Any, args: Sequence[Any], kwargs: Dict[str, Any]) -> Any:
        """One kernel that keeps the input and one number a row."""
        assert fused_rms_norm is not None
        call = _RmsNorm(*args, **kwargs)
        if self.autocast.is_on():
            call = call._replace(input=full(call.input), weight=full(call.weight))
        if call.input.is_cuda and (call.weight is None or call.weight.dtype == call.input.dtype):
            return fused_rms_norm(*call)[0]
        return func(*call)

    def _normalised(self, kernel: Any, func: Any, args: Sequence[Any], kwargs: Dict[str, Any]) -> Any:
        call = _Softmax(*args, **kwargs)
        by_autocast = call.dtype is None and self.autocast.is_on()
        if (by_autocast or call.dtype == torch.float32) and call.input.dtype == torch.float16 and call.input.is_cuda:
            return kernel(call.input, call.dim, half_to_float=True)
        if by_autocast:
            return self.autocast.call(func, self.autocast.policies[func], args, kwargs)
        return func(*args, **kwargs)


class _CrossEntropy(NamedTuple):
    """The arguments of `cross_entropy_loss`, by PyTorch's names."""

    input: torch.Tensor
    target: torch.Tensor
    weight: Optional[torch.Tensor] = None
    reduction: int = 1
    ignore_index: int = -100
    label_smoothing: float = 0.0

    @property
    def is_plain(self) -> bool:
        """Whether it is a log-softmax and a look-up."""
        return self.label_smoothing == 0.0 and not self.target.is_floating_point()


class _Dropout(NamedTuple):
    """The arguments of `dropout`."""

    input: torch.Tensor
    p: float = 0.5
    train: bool = True


class _Softmax(NamedTuple):
    """The arguments of `softmax` and `log_softmax`."""

    input: torch.Tensor
    dim: int
    dtype: Optional[torch.dtype] = None


class _RmsNorm(NamedTuple):
    """The arguments of `rms_norm`."""

    input: torch.Tensor
    normalized_shape: Sequence[int]
    weight: Optional[torch.Tensor] = None
    eps: Optional[float] = None
