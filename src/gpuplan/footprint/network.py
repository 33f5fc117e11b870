"""A network written down layer by layer as what one row of it costs: a convolutional one, or any of matrices.

It counts weights, multiply-adds, elements read, written and kept, and kernels; it knows no precision and no batch.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = [
    "ACTIVATION_SWEEPS", "DROPOUT_SWEEPS", "LOSS_SWEEPS", "NORM_SWEEPS", "SUM_SWEEPS", "Kind", "Network", "Part",
    "TooSmallError",
]  # fmt: skip

Kind = Literal["matmul", "attention", "convolution", "depthwise", "elementwise", "embedding"]

NORM_SWEEPS, ACTIVATION_SWEEPS, SUM_SWEEPS, POOL_SWEEPS, DROPOUT_SWEEPS, LOSS_SWEEPS = 8, 5, 3, 3, 4.5, 6
"""How often a tensor is read or written by an operator, forward and backward together: a norm reads it for its
statistics and once more, and in its backward pass the gradient too; an activation in its backward pass reads two; a
dropout reads a mask of one byte; a loss is a log-softmax and the look-up of its targets. benchmarks/agreement_work.py
holds the counts of whole networks against traces."""


class TooSmallError(ValueError):
    """An image is too small for a layer of the network."""


class Part(NamedTuple):
    """One operator of a step for one row: `swept` are elements read or written over all its passes.

    Under autocast `full` are swept in fp32 all the same, and `cast` are cast there and their gradients back. Weights
    with more than one of `uses` are read anew each time, and each time a gradient is added to the one so far. `tied`
    weights are another part's. `fixed` are elements in fp32 that are swept whatever the batch. Of a loss, `logits` are
    alive at once when the backward pass begins, in fp32. A `recurrent` part is a layer that one kernel runs over all
    its steps.
    """

    kind: Kind
    weights: float = 0.0
    macs: float = 0.0
    swept: float = 0.0
    kept: float = 0.0
    kernels: int = 0
    passes: int = 3
    full: float = 0.0
    cast: float = 0.0
    uses: int = 1
    tied: float = 0.0
    fixed: float = 0.0
    logits: float = 0.0
    recurrent: bool = False


class Network:
    """A stack under construction: `channels` and `size` are those of its last output."""

    def __init__(self, *, size: int, channels: int) -> None:
        self.size, self.channels = size, channels
        self.parts: list[Part] = []

    @property
    def pixels(self) -> int:
        """Elements of one channel."""
        return self.size * self.size

    def convolve(
        self, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, padding: int | None = None,
        norm: bool = True, activation: str = "relu", bias: bool = False,
    ) -> None:  # fmt: skip
        """A convolution, and what usually follows it."""
        before = self.channels * self.pixels
        edge = (kernel - 1) // 2 if padding is None else padding
        self._slide(kernel, stride=stride, edge=edge)
        weights = self.channels // groups * outputs * kernel * kernel
        passes = 3 if self.parts else 2  # an image wants no gradient
        after = outputs * self.pixels
        macs, own = weights * self.pixels, outputs if bias else 0
        kind: Kind = "depthwise" if groups == self.channels > 1 else "convolution"
        swept = passes * (before + after)
        self.parts.append(Part(kind, weights + own, macs, swept, after, kernels=passes, passes=passes))
        self.channels = outputs
        if norm:
            self.norm()
        if activation:
            self.activate(activation)

    def _slide(self, kernel: int, *, stride: int, edge: int) -> None:
        """The size after a window; raises TooSmallError where it does not fit once."""
        size = (self.size + 2 * edge - kernel) // stride + 1
        if size < 1:
            raise TooSmallError(f"a window of {kernel} x {kernel} does not fit into {self.size} x {self.size} pixels")
        self.size = size

    def norm(self) -> None:
        """A batch norm, whose output is kept unless an activation in place takes its storage."""
        elements = self.channels * self.pixels
        self.parts.append(Part("elementwise", 2 * self.channels, 0, NORM_SWEEPS * elements, elements, kernels=2))

    def activate(self, name: str) -> None:
        """ReLU works in place, as ReLU6 does on a copy; others keep their input and make an output."""
        elements = self.channels * self.pixels
        kept = 0 if name == "relu" else elements
        sweeps = ACTIVATION_SWEEPS + (2 if name == "relu6" else 0)
        self.parts.append(Part("elementwise", 0, 0, sweeps * elements, kept, kernels=3 if name == "relu6" else 2))

    def add(self) -> None:
        """A residual sum, and the sum of both gradients."""
        elements = self.channels * self.pixels
        self.parts.append(Part("elementwise", 0, 0, 2 * SUM_SWEEPS * elements, 0, kernels=2))

    def pool(self, kernel: int, stride: int, *, padding: int = 0) -> None:
        """The largest or the mean of a window; positions of the largest are kept."""
        before = self.channels * self.pixels
        self._slide(kernel, stride=stride, edge=padding)
        after = self.channels * self.pixels
        self.parts.append(Part("elementwise", 0, 0, POOL_SWEEPS * (before + after), 3 * after, kernels=2))

    def multiply(
        self, outputs: int, *, bias: bool = True, times: int = 1, inputs: int = 0, uses: int = 1, tied: bool = False,
        keeps: bool = True,
    ) -> None:  # fmt: skip
        """A matrix, on each of `times` vectors of a row; of `inputs` where it does not read the last output.

        A loop in Python `uses` it that many times, each time on its share of the vectors. A `tied` one is counted
        among the parameters elsewhere. What follows `keeps` its output, or not.
        """
        width = inputs or self.channels * self.pixels
        weights, made = width * outputs, times * outputs
        own = (0 if tied else weights) + (outputs if bias else 0)
        swept, kernels = 3.0 * times * (width + outputs), (3 if uses == 1 else 4) * uses
        self.parts.append(
            Part(
                "matmul", own, weights * times, swept, made if keeps else 0.0, kernels, uses=uses,
                tied=weights if tied else 0.0,
            )
        )  # fmt: skip
        if bias:
            self.parts.append(Part("elementwise", swept=float(made), kernels=uses))
        self.channels, self.size = outputs, 1

    def look_up(self, rows: int, width: int, *, times: int = 1, uses: int = 1, keeps: bool = True) -> None:
        """A table of `rows` rows, of which a row of the batch takes `times`, in all of its `uses` together."""
        taken = times * width
        self.parts.append(
            Part("embedding", rows * width, kept=taken if keeps else 0.0, kernels=2 * uses, full=4.0 * taken, uses=uses)
        )

    def recur(self, inputs: int, hidden: int, *, times: int) -> None:
        """An LSTM layer over `times` steps, each of which waits for the one before."""
        weights = 4 * hidden * (inputs + hidden)
        swept = 3.0 * times * (inputs + hidden + 8 * hidden)
        kernels = 2 * times + 3
        kept = times * 7 * hidden
        self.parts.append(Part("matmul", weights + 8 * hidden, weights * times, swept, kept, kernels, recurrent=True))

    def attend(self, *, width: int, length: int, source: int, kernels: int = 2) -> None:
        """Scores of `length` queries over `source` keys, and their mix; the scores are kept."""
        macs = 2.0 * length * source * width
        self.parts.append(Part("attention", 0, macs, 3.0 * (2 * length + 2 * source) * width, kernels=kernels))

    def sweep(
        self, elements: float, sweeps: float = 0.0, *, full: float = 0.0, casts: float = 0.0, kept: float = 0.0,
        kernels: int = 2, weights: float = 0.0, logits: float = 0.0,
    ) -> None:  # fmt: skip
        """Elementwise operators on `elements` elements: `sweeps`, and in fp32 even under autocast `full` more."""
        part = Part("elementwise", weights, 0, sweeps * elements, kept, kernels)
        self.parts.append(part._replace(full=full * elements, cast=casts * elements, logits=logits * elements))
