"""A network written down layer by layer as what one row of it costs: a convolutional one, or any of matrices.

It counts weights, multiply-adds, elements read, written and kept, and kernels; it knows no precision and no batch.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = [
    "ACTIVATION_SWEEPS", "DROPOUT_SWEEPS", "LOSS_SWEEPS", "NORM_SWEEPS", "SUM_SWEEPS", "Kind", "Network", "Part",
]  # fmt: skip

Kind = Literal["matmul", "attention", "convolution", "depthwise", "elementwise", "embedding"]

NORM_SWEEPS, ACTIVATION_SWEEPS, SUM_SWEEPS, POOL_SWEEPS, DROPOUT_SWEEPS, LOSS_SWEEPS = 8, 5, 3, 3, 4.5, 9
"""How often a tensor is read or written by an operator, forward and backward together: a norm reads it for its
statistics and once more, and in its backward pass the gradient too; an activation in its backward pass reads two; a
dropout reads a mask of one byte; of a log-softmax and the look-up of its targets as PyTorch runs them."""


class Part(NamedTuple):
    """One operator of a step for one row: `swept` are elements read or written over all its passes.

    Under autocast `full` are swept in fp32 all the same, and `cast` are cast there and their gradients back. Weights
    with more than one of `uses` are read anew each time, and each time a gradient is added to the one so far. `fixed`
    are elements in fp32 that are swept once whatever the batch.
    """

    kind: Kind
    weights: float = 0.0
    macs: float = 0.0
    swept: float = 0.0
    kept: float = 0.0
    kernels: int = 0
    passes: int = 3
    looked_up: float = 0.0
    full: float = 0.0
    cast: float = 0.0
    uses: int = 1
    fixed: float = 0.0


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
        self.size = (self.size + 2 * edge - kernel) // stride + 1
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

    def norm(self) -> None:
        """A batch norm, whose output is kept unless an activation in place takes its storage."""
        elements = self.channels * self.pixels
        self.parts.append(Part("elementwise", 2 * self.channels, 0, NORM_SWEEPS * elements, elements, kernels=2))

    def activate(self, name: str) -> None:
        """ReLU works in place; others keep their input and make an output."""
        elements = self.channels * self.pixels
        kept = 0 if name == "relu" else elements
        self.parts.append(Part("elementwise", 0, 0, ACTIVATION_SWEEPS * elements, kept, kernels=2))

    def add(self) -> None:
        """A residual sum, and the sum of both gradients."""
        elements = self.channels * self.pixels
        self.parts.append(Part("elementwise", 0, 0, 2 * SUM_SWEEPS * elements, 0, kernels=2))

    def pool(self, kernel: int, stride: int, *, padding: int = 0) -> None:
        """The largest or the mean of a window; positions of the largest are kept."""
        before = self.channels * self.pixels
        self.size = (self.size + 2 * padding - kernel) // stride + 1
        after = self.channels * self.pixels
        self.parts.append(Part("elementwise", 0, 0, POOL_SWEEPS * (before + after), 3 * after, kernels=2))

    def multiply(self, outputs: int, *, bias: bool = True, times: int = 1, inputs: int = 0, uses: int = 1) -> None:
        """A matrix, on each of `times` vectors of a row; of `inputs` where it does not read the last output.

        A loop in Python `uses` it that many times, each time on its share of the vectors.
        """
        width = inputs or self.channels * self.pixels
        weights = width * outputs
        swept = 3.0 * times * (width + outputs)
        own = outputs if bias else 0
        self.parts.append(
            Part(
                "matmul",
                weights + own,
                weights * times,
                swept,
                times * outputs,
                kernels=(3 if uses == 1 else 4) * uses,
                uses=uses,
            )
        )
        if bias:
            self.parts.append(Part("elementwise", swept=float(times * outputs), kernels=uses))
        self.channels, self.size = outputs, 1

    def look_up(self, rows: int, width: int, *, times: int = 1) -> None:
        """A table of `rows` rows, of which a row of the batch takes `times`."""
        self.parts.append(
            Part(
                "embedding",
                rows * width,
                0,
                0,
                times * width,
                kernels=2,
                looked_up=times * width,
                full=4.0 * times * width,
            )
        )

    def recur(self, inputs: int, hidden: int, *, times: int) -> None:
        """An LSTM layer over `times` steps, each of which waits for the one before."""
        weights = 4 * hidden * (inputs + hidden)
        swept = 3.0 * times * (inputs + hidden + 8 * hidden)
        kernels = 2 * times + 3
        self.parts.append(
            Part("matmul", weights + 8 * hidden, weights * times, swept, times * 7 * hidden, kernels=kernels)
        )

    def attend(self, *, width: int, length: int, source: int, kernels: int = 2) -> None:
        """Scores of `length` queries over `source` keys, and their mix; the scores are kept."""
        macs = 2.0 * length * source * width
        self.parts.append(Part("attention", 0, macs, 3.0 * (2 * length + 2 * source) * width, kernels=kernels))

    def sweep(
        self,
        elements: float,
        sweeps: float = 0.0,
        *,
        full: float = 0.0,
        casts: float = 0.0,
        kept: float = 0.0,
        kernels: int = 2,
    ) -> None:
        """Elementwise operators on `elements` elements; of the `sweeps` in fp32 under autocast too there are `full`."""
        self.parts.append(
            Part(
                "elementwise",
                0,
                0,
                sweeps * elements,
                kept,
                kernels=kernels,
                full=full * elements,
                cast=casts * elements,
            )
        )
