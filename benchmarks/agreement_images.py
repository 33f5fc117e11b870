"""Convolutional networks of public benchmark tables in plain PyTorch, as published; the forward pass ends in a loss.

Runs in the tracer's child: it imports torch alone, and never gpuplan. EfficientNet is without stochastic depth, SSD's
loss without hard negative mining.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["IMAGES"]

DEVICE = "cuda"
CLASSES = 1000
"""Of ImageNet."""
SCALED = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)  # fmt: skip
"""EfficientNet-B0's stages: expansion, kernel, stride, channels, layers (arXiv 1905.11946, table 1)."""
DROPOUT = 0.2


def convolution(inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Without a bias, and with as many pixels as it reads for each stride."""
    return nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)


def normed(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, activation: nn.Module | None = None
) -> nn.Sequential:
    """A convolution, its batch norm, and an activation if any."""
    parts: list[nn.Module] = [convolution(inputs, outputs, kernel, stride=stride, groups=groups)]
    return nn.Sequential(*parts, nn.BatchNorm2d(outputs), *([activation] if activation else []))


def relu() -> nn.Module:
    return nn.ReLU(inplace=True)


class Excitation(nn.Module):
    """Each channel times a number that its mean decides (arXiv 1709.01507)."""

    def __init__(self, channels: int, narrow: int, activation: nn.Module) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(channels, narrow, 1), nn.Conv2d(narrow, channels, 1)
        self.activation = activation

    def forward(self, image: Tensor) -> Tensor:
        means = functional.adaptive_avg_pool2d(image, 1)
        return image * torch.sigmoid(self.excite(self.activation(self.squeeze(means))))


class Residual(nn.Module):
    """Two 3 x 3 convolutions, or a bottleneck of three with `groups`; the stride is the 3 x 3's (ResNet v1.5)."""

    def __init__(self, inputs: int, width: int, stride: int, shape: Mapping[str, Any]) -> None:
        super().__init__()
        groups = shape.get("groups", 1)
        if shape.get("bottleneck", True):
            outputs, inner = 4 * width, width * shape.get("group_width", 64) * groups // 64
            layers: list[nn.Module] = [
                normed(inputs, inner, 1, activation=relu()),
                normed(inner, inner, 3, stride=stride, groups=groups, activation=relu()),
                normed(inner, outputs, 1),
            ]
        else:
            outputs = width
            layers = [normed(inputs, width, 3, stride=stride, activation=relu()), normed(width, width, 3)]
        if "squeeze" in shape:
            layers.append(Excitation(outputs, outputs // shape["squeeze"], relu()))
        self.layers = nn.Sequential(*layers)
        changes = stride != 1 or inputs != outputs
        self.shortcut = normed(inputs, outputs, 1, stride=stride) if changes else nn.Identity()
        self.outputs = outputs

    def forward(self, image: Tensor) -> Tensor:
        return functional.relu(self.layers(image).add_(self.shortcut(image)), inplace=True)


def trunk(shape: Mapping[str, Any], strides: tuple[int, ...]) -> nn.Sequential:
    """A ResNet without its classifier, `strides` of its stages."""
    layers: list[nn.Module] = [normed(3, 64, 7, stride=2, activation=relu()), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for stage, (count, stride) in enumerate(zip(shape["blocks"], strides, strict=True)):
        for number in range(count):
            block = Residual(channels, 64 * 2**stage, stride if number == 0 else 1, shape)
            channels = block.outputs
            layers.append(block)
    return nn.Sequential(*layers)


class Classifier(nn.Module):
    """Features, their mean over all pixels, and a matrix; trained with cross-entropy on images and their classes."""

    def __init__(self, features: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.features, self.head = features, head

    def batch(self, rows: int, size: int) -> tuple[Tensor, ...]:
        return torch.randn(rows, 3, size, size, device=DEVICE), torch.randint(CLASSES, (rows,), device=DEVICE)

    def pool(self, features: Tensor) -> Tensor:
        return functional.adaptive_avg_pool2d(features, 1).flatten(1)

    def forward(self, images: Tensor, classes: Tensor) -> Tensor:
        return functional.cross_entropy(self.head(self.pool(self.features(images))), classes)


def resnet(shape: Mapping[str, Any]) -> Classifier:
    """ResNet, ResNeXt and SE-ResNeXt (arXiv 1512.03385, 1611.05431)."""
    features = trunk(shape, (1, 2, 2, 2))
    return Classifier(features, nn.Linear(cast("Residual", features[-1]).outputs, CLASSES))


class Vgg(Classifier):
    """VGG without batch norm (arXiv 1409.1556): its classifier reads all pixels of the last features."""

    def __init__(self, shape: Mapping[str, Any]) -> None:
        layers: list[nn.Module] = []
        channels, hidden, size = 3, shape["hidden"], shape["size"]
        for outputs, count in shape["stages"]:
            for _ in range(count):
                layers += [nn.Conv2d(channels, outputs, 3, 1, 1), relu()]
                channels = outputs
            layers.append(nn.MaxPool2d(2, 2))
            size //= 2
        head = nn.Sequential(
            nn.Linear(channels * size**2, hidden), relu(), nn.Dropout(), nn.Linear(hidden, hidden), relu(),
            nn.Dropout(), nn.Linear(hidden, CLASSES),
        )  # fmt: skip
        super().__init__(nn.Sequential(*layers), head)

    def pool(self, features: Tensor) -> Tensor:
        return features.flatten(1)


class Inverted(nn.Module):
    """Widened, a depthwise convolution, excited if `squeeze` is not 0, and narrowed (arXiv 1801.04381)."""

    def __init__(self, inputs: int, outputs: int, *, expansion: int, kernel: int, stride: int, squeeze: int,
                 activation: Callable[[], nn.Module]) -> None:  # fmt: skip
        super().__init__()
        inner = inputs * expansion
        layers: list[nn.Module] = [normed(inputs, inner, 1, activation=activation())] if expansion > 1 else []
        layers.append(normed(inner, inner, kernel, stride=stride, groups=inner, activation=activation()))
        if squeeze:
            layers.append(Excitation(inner, inputs // squeeze, activation()))
        self.layers = nn.Sequential(*layers, normed(inner, outputs, 1))
        self.residual = inputs == outputs and stride == 1

    def forward(self, image: Tensor) -> Tensor:
        narrowed = cast("Tensor", self.layers(image))
        return narrowed + image if self.residual else narrowed


def mobilenet_v2(shape: Mapping[str, Any]) -> Classifier:
    """MobileNetV2."""
    layers: list[nn.Module] = [normed(3, 32, 3, stride=2, activation=nn.ReLU6(inplace=True))]
    channels = 32
    for expansion, outputs, count, stride in shape["stages"]:
        for number in range(count):
            layers.append(
                Inverted(channels, outputs, expansion=expansion, kernel=3, stride=1 if number else stride, squeeze=0,
                         activation=lambda: nn.ReLU6(inplace=True))
            )  # fmt: skip
            channels = outputs
    layers.append(normed(channels, 1280, 1, activation=nn.ReLU6(inplace=True)))
    return Classifier(nn.Sequential(*layers), nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(1280, CLASSES)))


def efficientnet(shape: Mapping[str, Any]) -> Classifier:
    """EfficientNet, `width` and `depth` times B0. SiLU keeps its input, so that in place it would only copy it."""
    channels = multiple_of_8(32 * shape["width"])
    layers: list[nn.Module] = [normed(3, channels, 3, stride=2, activation=nn.SiLU())]
    for expansion, kernel, stride, width, count in SCALED:
        outputs = multiple_of_8(width * shape["width"])
        for number in range(math.ceil(count * shape["depth"])):
            layers.append(
                Inverted(channels, outputs, expansion=expansion, kernel=kernel, stride=1 if number else stride,
                         squeeze=4, activation=nn.SiLU)
            )  # fmt: skip
            channels = outputs
    layers.append(normed(channels, 4 * channels, 1, activation=nn.SiLU()))
    return Classifier(nn.Sequential(*layers), nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(4 * channels, CLASSES)))


def multiple_of_8(channels: float) -> int:
    """The nearest, unless it is more than a tenth below."""
    nearest = max(8, math.floor(channels / 8 + 0.5) * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


class DenseLayer(nn.Module):
    """`growth` channels from all that came before it in its block (arXiv 1608.06993)."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(inputs), relu(), normed(inputs, 4 * growth, 1, activation=relu()),
            convolution(4 * growth, growth, 3),
        )  # fmt: skip

    def forward(self, before: list[Tensor]) -> Tensor:
        return cast("Tensor", self.layers(torch.cat(before, 1)))


class DenseBlock(nn.Module):
    """All layers' channels beside each other."""

    def __init__(self, inputs: int, count: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DenseLayer(inputs + number * growth, growth) for number in range(count))

    def forward(self, image: Tensor) -> Tensor:
        made = [image]
        for layer in self.layers:
            made.append(layer(made))
        return torch.cat(made, 1)


def densenet(shape: Mapping[str, Any]) -> Classifier:
    """DenseNet: between two blocks half of the channels, and of the edge."""
    growth = shape["growth"]
    channels = 2 * growth
    layers: list[nn.Module] = [normed(3, channels, 7, stride=2, activation=relu()), nn.MaxPool2d(3, 2, 1)]
    for number, count in enumerate(shape["blocks"]):
        if number:
            halved = convolution(channels, channels // 2, 1)
            layers += [nn.BatchNorm2d(channels), relu(), halved, nn.AvgPool2d(2, 2)]
            channels //= 2
        layers.append(DenseBlock(channels, count, growth))
        channels += count * growth
    layers += [nn.BatchNorm2d(channels), relu()]
    return Classifier(nn.Sequential(*layers), nn.Linear(channels, CLASSES))


class Ssd(nn.Module):
    """Boxes and labels at six scales (arXiv 1512.02325), from a ResNet whose third stage keeps its size."""

    def __init__(self, shape: Mapping[str, Any]) -> None:
        super().__init__()
        self.trunk, self.labels, channels = trunk(shape, (1, 2, 1)), shape["labels"], shape["channels"]
        self.scales = nn.ModuleList(
            self.smaller(before, narrow, after, padded=number < 3)
            for number, (before, narrow, after) in enumerate(
                zip(channels[:-1], shape["narrow"], channels[1:], strict=True)
            )
        )
        sizes = list(zip(channels, shape["boxes"], strict=True))
        self.places = nn.ModuleList(nn.Conv2d(width, 4 * boxes, 3, 1, 1) for width, boxes in sizes)
        self.classes = nn.ModuleList(nn.Conv2d(width, self.labels * boxes, 3, 1, 1) for width, boxes in sizes)

    @staticmethod
    def smaller(before: int, narrow: int, after: int, *, padded: bool) -> nn.Module:
        shrinking = nn.Conv2d(narrow, after, 3, 2 if padded else 1, 1 if padded else 0, bias=False)
        narrowing = normed(before, narrow, 1, activation=relu())
        return nn.Sequential(narrowing, shrinking, nn.BatchNorm2d(after), relu())

    def batch(self, rows: int, size: int) -> tuple[Tensor, ...]:
        return (torch.randn(rows, 3, size, size, device=DEVICE),)

    def forward(self, images: Tensor) -> Tensor:
        features = [self.trunk(images)]
        for scale in self.scales:
            features.append(scale(features[-1]))
        places = torch.cat([self.of_boxes(head(at), 4) for head, at in zip(self.places, features, strict=True)], 2)
        classes = torch.cat(
            [self.of_boxes(head(at), self.labels) for head, at in zip(self.classes, features, strict=True)], 2
        )
        right = torch.zeros(classes.shape[0], classes.shape[2], dtype=torch.long, device=DEVICE)
        loss = functional.smooth_l1_loss(places, torch.zeros_like(places))
        return loss + functional.cross_entropy(classes, right)

    @staticmethod
    def of_boxes(made: Tensor, outputs: int) -> Tensor:
        return made.reshape(made.shape[0], outputs, -1)


IMAGES: dict[str, Callable[[Mapping[str, Any]], Classifier | Ssd]] = {
    "resnet": resnet, "vgg": Vgg, "mobilenet_v2": mobilenet_v2, "efficientnet": efficientnet, "densenet": densenet,
    "ssd": Ssd,
}  # fmt: skip
