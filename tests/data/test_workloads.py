"""The rows of workloads.toml: sources, dates, sound dimensions, and the names that tables use for them."""

from __future__ import annotations

import tomllib
from collections import Counter
from importlib import resources

import pytest

from gpuplan.data.workloads import WorkloadFacts, find_workload, naming_words, workloads


@pytest.mark.parametrize("facts", workloads().values(), ids=lambda facts: facts.name)
def test_a_row_is_sound(facts: WorkloadFacts) -> None:
    assert "2026-" in facts.source
    assert facts.checked in {"seen", "recalled"}
    assert bool(facts.image) != bool(facts.sequence)
    assert facts.dimensions
    assert find_workload(facts.name) is facts


def test_a_name_means_one_row() -> None:
    content = tomllib.loads(resources.files("gpuplan.data").joinpath("workloads.toml").read_text("utf-8"))
    meant = {("".join(naming_words(name)), row["name"]) for row in content["workload"]
             for name in (row["name"], *row.get("aliases", ()))}  # fmt: skip
    several = Counter(key for key, _ in meant)
    assert not [key for key, count in several.items() if count > 1 or not key]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("resnet50", "ResNet-50"),
        ("resnet50_v1_5", "ResNet-50"),
        ("ResNet-50 v1.5 (MXNet)", "ResNet-50"),
        ("PyTorch_SSD_AMP", "SSD300-ResNet50"),
        ("ssd_resnet50", "SSD300-ResNet50"),
        ("ncf_FP16", "NCF"),
        ("gnmt", "GNMT"),
        ("transformerxllarge", "Transformer-XL large"),
        ("Transformer-XL Base model", "Transformer-XL base"),
        ("efficientnet-b4", "EfficientNet-B4"),
        ("tf_efficientnet_b3", "EfficientNet-B3"),
        ("vgg16", "VGG-16"),
        ("resnext50_32x4d", "ResNeXt-50 32x4d"),
        ("mobilenet_v3_large", "MobileNetV3 Large"),
        ("mobilenetv3_small_100", "MobileNetV3 Small"),
        ("google/mobilenet_v2_1.0_224", "MobileNetV2"),
        ("shufflenet_v2_x1_0", "ShuffleNetV2 x1.0"),
        ("squeezenet1_1", "SqueezeNet 1.1"),
        ("mnasnet0_5", "MNASNet 0.5"),
        ("regnet_y_1_6gf", "RegNetY-1.6GF"),
        ("regnet_y_16gf", "RegNetY-16GF"),
        ("regnetx_160", "RegNetX-16GF"),
        ("efficientnet_v2_s", "EfficientNetV2-S"),
        ("tf_efficientnetv2_s.in21k_ft_in1k", "EfficientNetV2-S"),
        ("microsoft/resnet-50", "ResNet-50"),
        ("resnet50.a1_in1k", "ResNet-50"),
        ("facebook/convnext-tiny-224", "ConvNeXt Tiny"),
        ("microsoft/swin-tiny-patch4-window7-224", "Swin Tiny"),
        ("torchvision.models.resnet34", "ResNet-34"),
        ("resnet50 training imagenet bs256 8gpus fp16", "ResNet-50"),
    ],
)
def test_usual_names(name: str, meant: str) -> None:
    found = find_workload(name)
    assert found is not None
    assert found.name == meant


@pytest.mark.parametrize(
    "name",
    [
        "wide resnet 50", "se-resnet50", "resnet50d", "resnet50 d", "resnet50_gn", "resnet50_v2", "resnet18 cifar",
        "resnet18_cifar10", "resnet50 448", "unet/resnet50", "vgg16 unet", "vgg16_8x", "ssd mobilenet", "ssd512",
        "densenet 264", "densenet121 fcn", "efficientnetv2", "efficientnet_b0_pruned", "efficientnet-widese-b0",
        "mnasnet_a1", "google/mobilenet_v2_0.35_96", "convnext_base.fb_in22k", "convnext_base.fb_in22k_ft_in1k_384",
        "facebook/convnext-base-384", "swin_base_patch4_window12_384", "swin_v2_t", "inception_v4",
    ],
)  # fmt: skip
def test_a_name_that_goes_on_says_another_network(name: str) -> None:
    assert find_workload(name) is None


def test_unknown_names() -> None:
    for name in ("", "training fp16", "224", "no such net", "\0" * 1000, "_" * 10_000):
        assert find_workload(name) is None
