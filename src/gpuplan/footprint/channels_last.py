"""Image networks whose every pixel is a vector that layer norms and matrices read: ConvNeXt and Swin.

Each is torchvision's code. It counts layers, and knows no batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuplan.footprint.network import NORM_SWEEPS, SUM_SWEEPS, Network, Part

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["CHANNELS_LAST_FAMILIES"]

CLASSES = 1000
SCALE_SWEEPS, DEPTH_SWEEPS = 8, 4
"""Of a product with a learned vector, and of dropping the branch of a whole image."""
COPY_SWEEPS = 4
"""Of a copy in another order, and of its gradient's."""
HEADS_SWEEPS = 48
"""Of queries, keys and values of one width: scaled, copied head by head, the mix copied back; three gradients are
written into tensors of all three and summed."""
SOFTMAX_SWEEPS, MASK_SWEEPS = 8, 2
"""Over the scores: a bias is added and its gradient summed, softmax; a mask is added where windows are shifted."""


def convnext(image: int, given: Mapping[str, Any]) -> Network:
    """Depthwise 7 x 7, then a perceptron on each pixel."""
    net = Network(size=image, channels=3)
    for number, (channels, count) in enumerate(given["stages"]):
        if number:
            _norm(net)
        _cut(net, channels, 2 if number else 4)
        if not number:
            _norm(net)
        for _ in range(count):
            net.convolve(channels, 7, groups=channels, norm=False, activation="", bias=True)
            _perceptron(net)
            elements = channels * net.pixels
            net.sweep(elements, full=SCALE_SWEEPS, kernels=4, weights=channels)
            net.sweep(elements, full=DEPTH_SWEEPS + 2 * SUM_SWEEPS, kept=elements, kernels=6)
    _mean(net)
    _norm(net)
    net.multiply(CLASSES)
    return net


def swin(image: int, given: Mapping[str, Any]) -> Network:
    """Attention within windows, every second time shifted by half a window."""
    window = given["window"]
    net = Network(size=image, channels=3)
    _cut(net, given["stages"][0][0], 4)
    _norm(net)
    for number, (channels, count, heads) in enumerate(given["stages"]):
        if number:
            _merge(net, channels)
        for layer in range(count):
            _attend(net, heads, window, shifted=layer % 2 == 1 and net.size > window)
            _perceptron(net)
            _leave_out_and_add(net)
    _norm(net)
    _mean(net)
    net.multiply(CLASSES)
    return net


def _attend(net: Network, heads: int, window: int, *, shifted: bool) -> None:
    """An image that windows do not fill is padded; the table has a bias for each distance of two pixels."""
    channels, size, area = net.channels, net.size, window * window
    tokens = (-(-size // window) * window) ** 2
    elements, scores = channels * tokens, heads * tokens * area
    _norm(net)
    net.sweep(elements, (5 if shifted else 3) * COPY_SWEEPS, kernels=10 if shifted else 6)
    _matrix(net, 3 * channels, pixels=tokens)
    net.channels = channels
    net.sweep(elements, HEADS_SWEEPS, kept=elements, kernels=18)
    macs = 2 * elements * area
    net.parts.append(Part("attention", macs=macs, swept=3 * (4 * elements + 2 * scores), kernels=6))
    table = (2 * window - 1) ** 2 * heads
    net.parts.append(Part("elementwise", table, fixed=COPY_SWEEPS * 2 * heads * area * area, kernels=6))
    net.sweep(scores, full=SOFTMAX_SWEEPS + (MASK_SWEEPS if shifted else 0), casts=1, kept=scores, kernels=5)
    if shifted:
        net.parts.append(Part("elementwise", fixed=10 * tokens * area, kernels=18))  # the mask is made anew each time
    _matrix(net, channels, pixels=tokens)
    _leave_out_and_add(net)


def _leave_out_and_add(net: Network) -> None:
    """The sum takes the place of the branch, which nothing keeps."""
    net.sweep(net.channels * net.pixels, full=DEPTH_SWEEPS + 2 * SUM_SWEEPS, kernels=6)


def _merge(net: Network, outputs: int) -> None:
    """Four neighbours become one vector; each one's gradient is written into an image of its own, and these summed."""
    elements = net.channels * net.pixels
    net.sweep(elements, full=24, kept=elements, kernels=18)
    net.channels, net.size = 4 * net.channels, (net.size + 1) // 2
    _norm(net)
    _matrix(net, outputs, bias=False)


def _perceptron(net: Network) -> None:
    """A norm, and two matrices with four times the width between them."""
    width = net.channels
    _norm(net)
    _matrix(net, 4 * width)
    net.activate("gelu")
    _matrix(net, width)


def _norm(net: Network) -> None:
    """A layer norm, in fp32 under autocast too."""
    elements = net.channels * net.pixels
    net.sweep(elements, full=NORM_SWEEPS, casts=1, kept=elements, kernels=3, weights=2 * net.channels)


def _matrix(net: Network, outputs: int, *, bias: bool = True, pixels: int = 0) -> None:
    """On each pixel, or on as many as `pixels`."""
    size = net.size
    net.multiply(outputs, bias=bias, times=pixels or net.pixels, inputs=net.channels)
    net.size = size


def _cut(net: Network, outputs: int, patch: int) -> None:
    """A convolution whose windows do not overlap."""
    net.convolve(outputs, patch, stride=patch, padding=0, norm=False, activation="", bias=True)


def _mean(net: Network) -> None:
    net.sweep(net.channels * net.pixels, 2)
    net.size = 1


CHANNELS_LAST_FAMILIES: dict[str, Callable[[int, Mapping[str, Any]], Network]] = {"convnext": convnext, "swin": swin}
