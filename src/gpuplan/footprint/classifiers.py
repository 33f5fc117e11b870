"""Convolutional classifiers beyond those of images.py, one function a family. It counts layers, and knows no batch.

Each is torchvision's code, also where that differs from the paper (GoogLeNet's 5 x 5 are 3 x 3 there).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuplan.footprint.channels_last import CHANNELS_LAST_FAMILIES
from gpuplan.footprint.images import CLASSES, by_eight, classify, excite, inverted
from gpuplan.footprint.network import DROPOUT_SWEEPS, POOL_SWEEPS, SUM_SWEEPS, Network, Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Layer = Callable[[Network], None]

__all__ = ["CLASSIFIER_FAMILIES"]

MNASNET = ((3, 3, 2, 24, 3), (3, 5, 2, 40, 3), (6, 5, 2, 80, 3), (6, 3, 1, 96, 2), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1))
"""Stages of MNASNet-B1: expansion, kernel, stride, channels, layers (arXiv 1807.11626, figure 7)."""


def alexnet(image: int, given: Mapping[str, Any]) -> Network:
    """Of "One weird trick": no second tower, no local response norm."""
    net = Network(size=image, channels=3)
    for channels, kernel, stride, padding, pooled in given["layers"]:
        net.convolve(channels, kernel, stride=stride, padding=padding, norm=False, bias=True)
        if pooled:
            net.pool(3, 2)
    _mean(net, 6)
    for _ in range(2):
        _drop(net)
        net.multiply(given["hidden"])
        net.activate("relu")
    net.multiply(CLASSES)
    return net


def squeezenet(image: int, given: Mapping[str, Any]) -> Network:
    """Fire modules: few channels, then as many of 1 x 1 as of 3 x 3 beside each other."""
    net = Network(size=image, channels=3)
    channels, kernel = given["stem"]
    net.convolve(channels, kernel, stride=2, padding=0, norm=False, bias=True)
    for stage in given["stages"]:
        _pool_over_the_edge(net, 3)
        for narrow, outputs in stage:
            net.convolve(narrow, 1, norm=False, bias=True)
            _branches(net, [_plain(outputs // 2, 1)], [_plain(outputs // 2, 3)])
    _drop(net)
    net.convolve(CLASSES, 1, norm=False, bias=True)
    _mean(net, 1)
    return net


def shufflenet_v2(image: int, given: Mapping[str, Any]) -> Network:
    """Half of the channels pass each unit as they are; then both halves are shuffled."""
    net = Network(size=image, channels=3)
    net.convolve(24, 3, stride=2)
    net.pool(3, 2, padding=1)
    for channels, count in given["stages"]:
        for number in range(count):
            _shuffled(net, channels, 2 if number == 0 else 1)
    net.convolve(given["last"], 1)
    return classify(net)


def mnasnet(image: int, given: Mapping[str, Any]) -> Network:
    """Inverted residuals after a separable convolution, scaled in width."""
    net = Network(size=image, channels=3)
    net.convolve(by_eight(32 * given["width"]), 3, stride=2)
    inverted(net, 1, by_eight(16 * given["width"]), 3, 1, activation="relu")
    for expansion, kernel, stride, channels, count in MNASNET:
        for number in range(count):
            first = stride if number == 0 else 1
            inverted(net, expansion, by_eight(channels * given["width"]), kernel, first, activation="relu")
    net.convolve(1280, 1)
    net.sweep(net.channels, DROPOUT_SWEEPS, kept=1.25 * net.channels)
    return classify(net)


def mobilenet_v3(image: int, given: Mapping[str, Any]) -> Network:
    """Inverted residuals, some with squeeze and excitation, some with hard swish."""
    net = Network(size=image, channels=3)
    net.convolve(16, 3, stride=2, activation="hardswish")
    for kernel, expanded, channels, squeezed, hard, stride in given["stages"]:
        inputs, activation = net.channels, "hardswish" if hard else "relu"
        if expanded != inputs:
            net.convolve(expanded, 1, activation=activation)
        net.convolve(expanded, kernel, stride=stride, groups=expanded, activation=activation)
        if squeezed:
            excite(net, by_eight(expanded // 4), activation="relu")
        net.convolve(channels, 1, activation="")
        if inputs == channels and stride == 1:
            net.add()
    net.convolve(6 * net.channels, 1, activation="hardswish")
    _mean(net, 1)
    net.multiply(given["last"])
    net.activate("hardswish")
    _drop(net)
    net.multiply(CLASSES)
    return net


def efficientnet_v2(image: int, given: Mapping[str, Any]) -> Network:
    """The first stages expand with a full convolution, the others with squeeze and excitation."""
    net = Network(size=image, channels=3)
    net.convolve(given["stages"][0][2], 3, stride=2, activation="silu")
    for stage, (expansion, stride, channels, count) in enumerate(given["stages"]):
        for number in range(count):
            first = stride if number == 0 else 1
            if stage < given["fused"]:
                _fused(net, expansion, channels, first)
            else:
                inverted(net, expansion, channels, 3, first, activation="silu", squeeze=4)
    net.convolve(1280, 1, activation="silu")
    return classify(net)


def regnet(image: int, given: Mapping[str, Any]) -> Network:
    """RegNetX; with `squeeze` RegNetY."""
    net = Network(size=image, channels=3)
    net.convolve(32, 3, stride=2)
    for width, count in given["stages"]:
        for number in range(count):
            _bottleneck(net, width, 2 if number == 0 else 1, given)
    return classify(net)


def googlenet(image: int, given: Mapping[str, Any]) -> Network:
    """Inception v1 with batch norm; its `auxiliary` classifiers are trained, and left out of published weights."""
    net = Network(size=image, channels=3)
    net.convolve(64, 7, stride=2)
    _pool_over_the_edge(net, 3)
    net.convolve(64, 1)
    net.convolve(192, 3)
    _pool_over_the_edge(net, 3)
    for stage, modules in enumerate(given["stages"]):
        if stage:
            _pool_over_the_edge(net, 3 if stage == 1 else 2)
        for number, (one, narrow, three, narrower, five, pooled) in enumerate(modules):
            _branches(
                net, [_full(one, 1)], [_full(narrow, 1), _full(three, 3)], [_full(narrower, 1), _full(five, 3)],
                [lambda net: net.pool(3, 1, padding=1), _full(pooled, 1)],
            )  # fmt: skip
            if given["auxiliary"] and stage == 1 and number in {0, 3}:
                _aside(net, _classify_four_by_four)
    return classify(net)


def inception_v3(image: int, given: Mapping[str, Any]) -> Network:
    """With an `auxiliary` classifier, which the published weights have too."""
    net = Network(size=image, channels=3)
    for channels, kernel, stride, padding in ((32, 3, 2, 0), (32, 3, 1, 0), (64, 3, 1, 1)):
        net.convolve(channels, kernel, stride=stride, padding=padding)
    net.pool(3, 2)
    net.convolve(80, 1)
    net.convolve(192, 3, padding=0)
    net.pool(3, 2)
    for pooled in given["pooled"]:
        double = [_full(64, 1), _full(96, 3), _full(96, 3)]
        _branches(net, [_full(64, 1)], [_full(48, 1), _full(64, 5)], double, [_smooth, _full(pooled, 1)])
    _branches(net, [_full(384, 3, 2)], [_full(64, 1), _full(96, 3), _full(96, 3, 2)], [_halve])
    for narrow in given["narrow"]:
        single = [_full(narrow, 1), _strip(narrow, 7), _strip(192, 7)]
        double = [_full(narrow, 1), *[_strip(narrow, 7)] * 3, _strip(192, 7)]
        _branches(net, [_full(192, 1)], single, double, [_smooth, _full(192, 1)])
    if given["auxiliary"]:
        _aside(net, _classify_five_by_five)
    strips = [_full(192, 1), _strip(192, 7), _strip(192, 7), _full(192, 3, 2)]
    _branches(net, [_full(192, 1), _full(320, 3, 2)], strips, [_halve])
    for _ in range(2):
        double = [_full(448, 1), _full(384, 3), _cross]
        _branches(net, [_full(320, 1)], [_full(384, 1), _cross], double, [_smooth, _full(192, 1)])
    _drop(net)
    return classify(net)


# ---------------------------------------------------------------- blocks


def _shuffled(net: Network, outputs: int, stride: int) -> None:
    half, inputs, size = outputs // 2, net.channels, net.size
    if stride == 1:
        net.channels = half
    else:
        net.convolve(inputs, 3, stride=stride, groups=inputs, activation="")
        net.convolve(half, 1)
        net.channels, net.size = inputs, size
        net.sweep(inputs * size * size, SUM_SWEEPS, kernels=1)
    net.convolve(half, 1)
    net.convolve(half, 3, stride=stride, groups=half, activation="")
    net.convolve(half, 1)
    net.channels = outputs
    # Halves are joined and copied in the new order; both gradients are copied back.
    net.sweep(outputs * net.pixels, 8, kept=outputs * net.pixels, kernels=4)


def _fused(net: Network, expansion: int, outputs: int, stride: int) -> None:
    inputs = net.channels
    net.convolve(outputs if expansion == 1 else expansion * inputs, 3, stride=stride, activation="silu")
    if expansion != 1:
        net.convolve(outputs, 1, activation="")
    if inputs == outputs and stride == 1:
        net.add()


def _bottleneck(net: Network, width: int, stride: int, given: Mapping[str, Any]) -> None:
    inputs, size = net.channels, net.size
    net.convolve(width, 1)
    net.convolve(width, 3, stride=stride, groups=max(1, width // given["group_width"]))
    if "squeeze" in given:
        excite(net, inputs // given["squeeze"], activation="relu")
    net.convolve(width, 1, activation="")
    if inputs != width or stride != 1:
        net.channels, net.size = inputs, size
        net.convolve(width, 1, stride=stride, activation="")
        net.parts[-1] = net.parts[-1]._replace(kept=0.0)  # a sum keeps neither of its terms
    net.add()
    net.activate("relu")


# ---------------------------------------------------------------- branches


def _branches(net: Network, *branches: Iterable[Layer]) -> None:
    """Layers that read the same input; their outputs are joined, and their gradients of the input summed."""
    channels, size, joined = net.channels, net.size, 0
    net.sweep(channels * size * size, SUM_SWEEPS * (len(branches) - 1), kernels=len(branches) - 1)
    for branch in branches:
        net.channels, net.size = channels, size
        for layer in branch:
            layer(net)
        joined += net.channels
    net.channels = joined
    net.sweep(joined * net.pixels, 2, kept=joined * net.pixels, kernels=1)


def _full(outputs: int, kernel: int, stride: int = 1) -> Layer:
    """With a batch norm; one that makes the image smaller has no padding."""
    return lambda net: net.convolve(outputs, kernel, stride=stride, padding=0 if stride > 1 else None)


def _plain(outputs: int, kernel: int) -> Layer:
    return lambda net: net.convolve(outputs, kernel, norm=False, bias=True)


def _strip(outputs: int, length: int) -> Layer:
    """A kernel of 1 x `length` or `length` x 1."""

    def layer(net: Network) -> None:
        before, after = net.channels * net.pixels, outputs * net.pixels
        weights = net.channels * outputs * length
        net.parts.append(Part("convolution", weights, weights * net.pixels, 3 * (before + after), after, kernels=3))
        net.channels = outputs
        net.norm()
        net.activate("relu")

    return layer


def _cross(net: Network) -> None:
    _branches(net, [_strip(384, 3)], [_strip(384, 3)])


def _smooth(net: Network) -> None:
    """The mean of each 3 x 3."""
    net.sweep(net.channels * net.pixels, 4, kept=net.channels * net.pixels)


def _halve(net: Network) -> None:
    net.pool(3, 2)


def _pool_over_the_edge(net: Network, kernel: int) -> None:
    """The largest of each second window, the last of which may reach beyond the image (`ceil_mode`)."""
    before = net.channels * net.pixels
    net.size = (net.size - kernel + 1) // 2 + 1
    after = net.channels * net.pixels
    net.sweep(before + after, POOL_SWEEPS, kept=3 * after)


def _mean(net: Network, size: int) -> None:
    """An adaptive mean: whatever the image, `size` is left."""
    net.sweep(net.channels * net.pixels, 2)
    net.size = size


def _drop(net: Network) -> None:
    """Dropout with its mask."""
    elements = net.channels * net.pixels
    net.sweep(elements, DROPOUT_SWEEPS, kept=1.25 * elements)


def _aside(net: Network, classify: Layer) -> None:
    """A classifier of its own, whose gradient is added to the trunk's."""
    channels, size = net.channels, net.size
    net.sweep(channels * size * size, SUM_SWEEPS, kernels=1)
    classify(net)
    net.channels, net.size = channels, size


def _classify_four_by_four(net: Network) -> None:
    _mean(net, 4)
    net.convolve(128, 1)
    net.multiply(1024)
    net.activate("relu")
    _drop(net)
    net.multiply(CLASSES)


def _classify_five_by_five(net: Network) -> None:
    net.sweep(net.channels * net.pixels, 2)
    net.size = (net.size - 5) // 3 + 1
    net.convolve(128, 1)
    net.convolve(768, 5, padding=0)
    classify(net)


CLASSIFIER_FAMILIES: dict[str, Callable[[int, Mapping[str, Any]], Network]] = {
    "alexnet": alexnet, "squeezenet": squeezenet, "shufflenet_v2": shufflenet_v2, "mnasnet": mnasnet,
    "mobilenet_v3": mobilenet_v3, "efficientnet_v2": efficientnet_v2, "regnet": regnet, "googlenet": googlenet,
    "inception_v3": inception_v3,
} | CHANNELS_LAST_FAMILIES  # fmt: skip
