"""Image classifiers: other image sizes, against the tables of torchvision, and blocks against real torch modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gpuplan.data.workloads import WorkloadFacts, find_workload, workloads
from gpuplan.footprint import Unknown
from gpuplan.footprint.classifiers import CLASSIFIER_FAMILIES
from gpuplan.footprint.shapes import footprint_of_shape, network_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from gpuplan.footprint.network import Network

ROWS = [facts for facts in workloads().values() if facts.family in CLASSIFIER_FAMILIES]


def macs(net: Network) -> float:
    return sum(part.macs for part in net.parts)


def parameters(net: Network) -> float:
    return sum(part.weights for part in net.parts)


def row(name: str) -> WorkloadFacts:
    found = find_workload(name)
    assert found is not None
    return found


def test_every_family_has_a_row() -> None:
    assert {facts.family for facts in ROWS} == set(CLASSIFIER_FAMILIES)


@pytest.mark.parametrize("facts", ROWS, ids=lambda facts: facts.name)
def test_a_larger_image_costs_more_and_leaves_the_parameters(facts: WorkloadFacts) -> None:
    usual, larger = network_of(facts), network_of(facts, size=2 * facts.image)
    assert parameters(larger) == parameters(usual) == facts.parameters
    assert 3.3 < macs(larger) / macs(usual) < 4.8
    assert 3.3 < sum(part.kept for part in larger.parts) / sum(part.kept for part in usual.parts) < 4.8


@pytest.mark.parametrize(
    ("name", "image", "gmacs"),
    [("efficientnet_v2_s", 384, 8.366), ("efficientnet_v2_m", 480, 24.582), ("efficientnet_v2_l", 480, 56.08),
     ("regnet_y_16gf", 384, 46.735), ("regnet_y_32gf", 384, 94.826)],
)  # fmt: skip
def test_the_table_of_torchvision_at_other_images(name: str, image: int, gmacs: float) -> None:
    assert macs(network_of(row(name), size=image)) / 1e9 == pytest.approx(gmacs, rel=0.005)


@pytest.mark.parametrize(
    ("name", "gmacs"),
    [("vit_b_16", 17.564), ("vit_b_32", 4.409), ("vit_l_16", 61.555), ("vit_l_32", 15.378)],
)
def test_the_table_of_torchvision_for_transformers(name: str, gmacs: float) -> None:
    found = footprint_of_shape(name)
    assert not isinstance(found, Unknown)
    assert found.flops(1) / 6e9 == pytest.approx(gmacs, rel=0.02)


KEPT_MB = {
    "alexnet": 3.745, "squeezenet1_0": 35.771, "shufflenet_v2_x1_0": 20.421, "mnasnet1_0": 44.345,
    "mobilenet_v3_large": 44.167, "GoogLeNet, auxiliary classifiers": 48.337, "inception_v3": 98.373,
    "efficientnet_v2_s": 288.278, "regnet_y_1_6gf": 71.931, "convnext_tiny": 109.16, "swin_t": 106.638,
}  # fmt: skip
"""What autograd saves of one image in fp32, the image with it: torchvision 0.28.0 with torch 2.13 on the meta device,
counted by `saved_tensors_hooks` (2026-11-20)."""


@pytest.mark.parametrize("name", KEPT_MB)
def test_as_much_is_kept_as_in_torchvision(name: str) -> None:
    facts = row(name)
    kept = sum(part.kept for part in network_of(facts).parts) + 3 * facts.image**2
    assert 4 * kept / 1e6 == pytest.approx(KEPT_MB[name], rel=0.025)


def test_auxiliary_classifiers_cost_parameters_and_little_else() -> None:
    for name in ("GoogLeNet", "Inception v3"):
        named = [facts for facts in ROWS if facts.name.startswith(name)]
        plain, aside = sorted(named, key=lambda facts: facts.parameters)
        assert parameters(network_of(aside)) > 1.1 * parameters(network_of(plain))
        assert macs(network_of(plain)) < macs(network_of(aside)) < 1.01 * macs(network_of(plain))


# ---------------------------------------------------------------- against torch


def saved_elements(module: nn.Module, image: Tensor) -> int:
    """Elements of the storages that autograd keeps of the forward pass, beside `image` and the parameters."""
    import torch

    own = {tensor.data_ptr() for tensor in (*module.parameters(), *module.buffers(), image)}
    held: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            held[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = module(image)
    kept = sum(tensor.untyped_storage().nbytes() // 4 for tensor in held.values())
    last = output.untyped_storage()
    return kept + (0 if last.data_ptr() in held else last.nbytes() // 4)


def test_windows_that_reach_over_the_edge_against_torch() -> None:
    torch = pytest.importorskip("torch")
    squeezed = row("squeezenet1_0").dimensions
    for image in (63, 64, 65, 66, 96, 224):
        size = torch.empty(1, 1, image, image, device="meta")
        for layer in (torch.nn.Conv2d(1, 1, 7, 2, device="meta"), *[torch.nn.MaxPool2d(3, 2, ceil_mode=True)] * 3):
            size = layer(size)
        net = CLASSIFIER_FAMILIES["squeezenet"](image, squeezed)
        last = next(part for part in reversed(net.parts) if part.kind == "convolution")
        assert last.macs == 512 * 1000 * size.shape[-1] ** 2


def blocks() -> dict[str, Callable[[], tuple[nn.Module, str, dict[str, Any]]]]:
    return {"regnet": regnet, "shufflenet_v2": shuffled, "convnext": next_}


def regnet() -> tuple[nn.Module, str, dict[str, Any]]:
    """RegNetX of two blocks, the first with a projection."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self, inputs: int, stride: int) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                nn.Conv2d(inputs, 48, 1, bias=False), nn.BatchNorm2d(48), nn.ReLU(inplace=True),
                nn.Conv2d(48, 48, 3, stride, 1, groups=3, bias=False), nn.BatchNorm2d(48), nn.ReLU(inplace=True),
                nn.Conv2d(48, 48, 1, bias=False), nn.BatchNorm2d(48),
            )  # fmt: skip
            self.shortcut = (
                nn.Sequential(nn.Conv2d(inputs, 48, 1, stride, bias=False), nn.BatchNorm2d(48)) if stride > 1 else None
            )

        def forward(self, image: Tensor) -> Tensor:
            before = self.shortcut(image) if self.shortcut else image
            return nn.functional.relu(before + self.layers(image), inplace=True)

    stem = (nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True))
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 1000))
    return nn.Sequential(*stem, Block(32, 2), Block(48, 1), *head), "regnet", {"stages": [[48, 2]], "group_width": 16}


def shuffled() -> tuple[nn.Module, str, dict[str, Any]]:
    """ShuffleNetV2 of one stage."""
    import torch
    from torch import nn

    def normed(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
        groups = inputs if kernel > 1 else 1
        layers = [
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs),
        ]  # fmt: skip
        return layers if kernel > 1 else [*layers, nn.ReLU(inplace=True)]

    class Unit(nn.Module):
        def __init__(self, inputs: int, stride: int) -> None:
            super().__init__()
            first = nn.Sequential(*normed(inputs, inputs, 3, stride), *normed(inputs, 20, 1))
            self.first = first if stride > 1 else None
            narrow = inputs if stride > 1 else 20
            self.second = nn.Sequential(*normed(narrow, 20, 1), *normed(20, 20, 3, stride), *normed(20, 20, 1))

        def forward(self, image: Tensor) -> Tensor:
            half, other = (self.first(image), image) if self.first else image.chunk(2, dim=1)
            joined = torch.cat((half, self.second(other)), 1)
            rows, channels, *size = joined.shape
            return joined.view(rows, 2, channels // 2, *size).transpose(1, 2).contiguous().view(joined.shape)

    stem = (nn.Conv2d(3, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1))
    last = (nn.Conv2d(40, 64, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True))
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1000))
    module = nn.Sequential(*stem, Unit(24, 2), Unit(40, 1), Unit(40, 1), *last, *head)
    return module, "shufflenet_v2", {"stages": [[40, 3]], "last": 64}


def next_() -> tuple[nn.Module, str, dict[str, Any]]:
    """ConvNeXt of one stage; a branch that is left out costs a factor for each image."""
    import torch
    from torch import nn

    class Norm(nn.LayerNorm):
        def forward(self, image: Tensor) -> Tensor:
            return super().forward(image.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Conv2d(24, 24, 7, 1, 3, groups=24)
            self.layers = nn.Sequential(nn.LayerNorm(24), nn.Linear(24, 96), nn.GELU(), nn.Linear(96, 24))
            self.scale = nn.Parameter(torch.ones(24, 1, 1))

        def forward(self, image: Tensor) -> Any:
            branch = self.scale * self.layers(self.mix(image).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            return branch * torch.ones(len(image), 1, 1, 1) + image

    head = (nn.AdaptiveAvgPool2d(1), Norm(24), nn.Flatten(), nn.Linear(24, 1000))
    return nn.Sequential(nn.Conv2d(3, 24, 4, 4), Norm(24), Block(), Block(), *head), "convnext", {"stages": [[24, 2]]}


@pytest.mark.parametrize("name", blocks())
def test_blocks_against_torch(name: str) -> None:
    """Parameters and multiply-adds to the last one, and what autograd keeps within 3 %."""
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    module, family, given = blocks()[name]()
    image = torch.ones(2, 3, 64, 64)
    net = CLASSIFIER_FAMILIES[family](64, given)
    assert parameters(net) == sum(parameter.numel() for parameter in module.parameters())
    with FlopCounterMode(display=False) as counter:
        module(image)
    assert counter.get_total_flops() == 2 * 2 * macs(net)
    assert 2 * sum(part.kept for part in net.parts) == pytest.approx(saved_elements(module, image), rel=0.03)
