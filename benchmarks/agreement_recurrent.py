"""Recurrent layers as a trace can compare them. It imports torch alone, and never gpuplan.

cuDNN runs an LSTM layer as a few kernels, whose inner traffic nobody sees; a trace sees thousands of operators instead.
Its parameters and FLOPs are the same, its bytes are not: where those are compared, it is made to move none. A single
cell is one kernel beside its products, and a trace can be made to see just that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Cell", "recurrent"]


class Recurrent(nn.Module):
    """An LSTM layer over the first dimension; it returns what it made at each step."""

    def __init__(self, inputs: int, outputs: int, *, both: bool) -> None:
        super().__init__()
        self.layer = nn.LSTM(inputs, outputs, bidirectional=both)
        self.width = (1 + both) * outputs

    def forward(self, hidden: Tensor) -> Tensor:
        return cast("Tensor", self.layer(hidden)[0])


class Unseen(Recurrent):
    """As it, without any operator: results and gradients are there, and nothing was read to make them."""

    def forward(self, hidden: Tensor) -> Tensor:
        made = Nothing.apply(self.width, hidden, *self.layer.parameters())  # type: ignore[no-untyped-call]
        return cast("Tensor", made)


class Nothing(torch.autograd.Function):
    """Memory for a result and for the gradients, which no kernel writes."""

    @staticmethod
    def forward(ctx: Any, width: int, hidden: Tensor, *weights: Tensor) -> Tensor:
        ctx.save_for_backward(hidden, *weights)
        autocast = torch.is_autocast_enabled("cuda")
        dtype = torch.get_autocast_dtype("cuda") if autocast else hidden.dtype
        return hidden.new_empty(*hidden.shape[:2], width, dtype=dtype)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(torch.empty_like(tensor) for tensor in ctx.saved_tensors)


def recurrent(shape: Mapping[str, Any], inputs: int, outputs: int, *, both: bool = False) -> Recurrent:
    """A layer as `shape` wants it: `unrolled` says whether its steps are run."""
    return (Recurrent if shape["unrolled"] else Unseen)(inputs, outputs, both=both)


class Cell(nn.LSTMCell):
    """One step as a GPU runs it: two products, and one kernel for all else. Traced as it is, it takes a CPU's way."""

    def forward(self, inputs: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Hidden state and cell after it."""
        assert state is not None
        products = functional.linear(inputs, self.weight_ih), functional.linear(state[0], self.weight_hh)
        fused = torch.ops.aten._thnn_fused_lstm_cell  # noqa: SLF001  no public function reaches it without a GPU
        hidden, cell, _ = fused(*products, state[1], self.bias_ih, self.bias_hh)
        return hidden, cell
