"""Convolutional networks from their dimensions, one function a family. It counts layers, and knows no batch.

The families are those of torchvision's code; SSD is NVIDIA's on a ResNet without its last stage.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gpuplan.footprint.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["CLASSES", "IMAGE_FAMILIES", "by_eight", "classify", "excite", "inverted"]

CLASSES = 1000
EFFICIENTNET = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)  # fmt: skip
"""Stages of EfficientNet-B0: expansion, kernel, stride, channels, layers (arXiv 1905.11946, table 1)."""


def resnet(image: int, given: Mapping[str, Any]) -> Network:
    """ResNet and ResNeXt."""
    net = _trunk(image, given, strides=(1, 2, 2, 2))
    return classify(net)


def vgg(image: int, given: Mapping[str, Any]) -> Network:
    """VGG, with batch norm or without; the matrices read 7 x 7 positions whatever the image."""
    net = Network(size=image, channels=3)
    for channels, count in given["stages"]:
        for _ in range(count):
            net.convolve(channels, 3, norm=given.get("batch_norm", False), bias=True)
        net.pool(2, 2)
    net.sweep(net.channels * net.pixels, 2)
    net.size = 7
    for width in (given["hidden"], given["hidden"]):
        net.multiply(width)
        net.activate("relu")
    net.multiply(CLASSES)
    return net


def mobilenet_v2(image: int, given: Mapping[str, Any]) -> Network:
    """Inverted residuals."""
    net = Network(size=image, channels=3)
    net.convolve(32, 3, stride=2, activation="relu6")
    for expansion, channels, count, stride in given["stages"]:
        for number in range(count):
            inverted(net, expansion, channels, 3, stride if number == 0 else 1, activation="relu6")
    net.convolve(1280, 1, activation="relu6")
    return classify(net)


def efficientnet(image: int, given: Mapping[str, Any]) -> Network:
    """Inverted residuals with squeeze and excitation, scaled in width and depth."""
    net = Network(size=image, channels=3)
    width, depth = given["width"], given["depth"]
    net.convolve(by_eight(32 * width), 3, stride=2, activation="silu")
    for expansion, kernel, stride, channels, count in EFFICIENTNET:
        for number in range(math.ceil(count * depth)):
            first = stride if number == 0 else 1
            inverted(net, expansion, by_eight(channels * width), kernel, first, activation="silu", squeeze=4)
    net.convolve(4 * net.channels, 1, activation="silu")
    return classify(net)


def densenet(image: int, given: Mapping[str, Any]) -> Network:
    """Each layer reads all before it of its block."""
    growth = given["growth"]
    net = Network(size=image, channels=3)
    net.convolve(2 * growth, 7, stride=2)
    net.pool(3, 2, padding=1)
    for number, count in enumerate(given["blocks"]):
        for _ in range(count):
            _dense_layer(net, growth)
        if number < len(given["blocks"]) - 1:
            net.norm()
            net.activate("relu")
            net.convolve(net.channels // 2, 1, norm=False, activation="")
            net.pool(2, 2)
    net.norm()
    net.activate("relu")
    return classify(net)


def ssd(image: int, given: Mapping[str, Any]) -> Network:
    """Boxes and labels at six scales, from the trunk of a ResNet whose third stage keeps its size."""
    net = _trunk(image, given, strides=(1, 2, 1))
    scales = [(net.channels, net.size)]
    for number, (narrow, channels) in enumerate(zip(given["narrow"], given["channels"][1:], strict=True)):
        net.convolve(narrow, 1)
        net.convolve(channels, 3, stride=2 if number < 3 else 1, padding=1 if number < 3 else 0)
        scales.append((net.channels, net.size))
    for (channels, size), boxes in zip(scales, given["boxes"], strict=True):
        for outputs in (4 * boxes, given["labels"] * boxes):
            net.channels, net.size = channels, size
            net.convolve(outputs, 3, norm=False, activation="", bias=True)
    return net


def _trunk(image: int, given: Mapping[str, Any], *, strides: tuple[int, ...]) -> Network:
    net = Network(size=image, channels=3)
    net.convolve(64, 7, stride=2)
    net.pool(3, 2, padding=1)
    for stage, (count, stride) in enumerate(zip(given["blocks"], strides, strict=True)):
        for number in range(count):
            _residual(net, 64 * 2**stage, stride if number == 0 else 1, given)
    return net


def _residual(net: Network, width: int, stride: int, given: Mapping[str, Any]) -> None:
    inputs, size = net.channels, net.size
    bottleneck, groups = given.get("bottleneck", True), given.get("groups", 1)
    outputs = 4 * width if bottleneck else width
    if bottleneck:
        inner = width * given.get("group_width", 64) * groups // 64
        net.convolve(inner, 1)
        net.convolve(inner, 3, stride=stride, groups=groups)
        net.convolve(outputs, 1, activation="")
        if "squeeze" in given:
            excite(net, outputs // given["squeeze"], activation="relu")
    else:
        net.convolve(outputs, 3, stride=stride)
        net.convolve(outputs, 3, activation="")
    if inputs != outputs or stride != 1:
        net.channels, net.size = inputs, size
        net.convolve(outputs, 1, stride=stride, activation="")
    net.add()
    net.activate("relu")


def inverted(
    net: Network, expansion: int, outputs: int, kernel: int, stride: int, *, activation: str, squeeze: int = 0
) -> None:
    """A wide depthwise convolution between two narrow ends, whose ends are added up where they are alike."""
    inputs = net.channels
    if expansion != 1:
        net.convolve(inputs * expansion, 1, activation=activation)
    net.convolve(net.channels, kernel, stride=stride, groups=net.channels, activation=activation)
    if squeeze:
        excite(net, inputs // squeeze, activation="silu")
    net.convolve(outputs, 1, activation="")
    if inputs == outputs and stride == 1:
        net.add()


def excite(net: Network, narrow: int, *, activation: str) -> None:
    """Each channel times a number that its mean decides."""
    channels, size = net.channels, net.size
    net.sweep(channels * size * size, 2)
    net.size = 1
    net.convolve(narrow, 1, norm=False, activation=activation, bias=True)
    net.convolve(channels, 1, norm=False, activation="sigmoid", bias=True)
    net.channels, net.size = channels, size
    net.sweep(channels * size * size, 11, kept=channels * size * size, kernels=5)


def _dense_layer(net: Network, growth: int) -> None:
    inputs = net.channels
    net.norm()
    net.activate("relu")
    net.convolve(4 * growth, 1)
    net.convolve(growth, 3, norm=False, activation="")
    net.channels = inputs + growth
    net.sweep(net.channels * net.pixels, 4, kept=net.channels * net.pixels)


def classify(net: Network) -> Network:
    """The mean of each channel, and one matrix."""
    net.sweep(net.channels * net.pixels, 2)
    net.size = 1
    net.multiply(CLASSES)
    return net


def by_eight(channels: float) -> int:
    """The nearest multiple of 8 that is at most a tenth less."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


IMAGE_FAMILIES: dict[str, Callable[[int, Mapping[str, Any]], Network]] = {
    "resnet": resnet, "vgg": vgg, "mobilenet_v2": mobilenet_v2, "efficientnet": efficientnet, "densenet": densenet,
    "ssd": ssd,
}  # fmt: skip
