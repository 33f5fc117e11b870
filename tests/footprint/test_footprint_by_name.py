"""Networks that are no transformers, given by their name in a spec: what is found, at which size, and what is not."""

from __future__ import annotations

import pytest
from test_footprint import experiment, world

from gpuplan.expand import expand
from gpuplan.footprint import Unknown, footprint_of
from gpuplan.model import ConfigFact, Footprint, FootprintSource, Roles


def footprint(name: str, **roles: object) -> Footprint | Unknown:
    asked = experiment(footprint=FootprintSource(model=name), roles=Roles.model_validate(roles))
    asked = asked.model_copy(update={"settings": {"batch": 8, "length": 10, "edge": 32, "half": "fp16"}})
    problem = ConfigFact(path=name, problem=f"there is no file {name} in /w")
    return footprint_of(expand(asked)[0], asked, world(configs={name: problem}))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("resnet50", 25_557_032), ("Tacotron2", 28_193_153), ("ncf", 31_832_577), ("efficientnet-b0", 5_288_548)],
)
def test_a_network_by_its_name(name: str, parameters: int) -> None:
    found = footprint(name)
    assert isinstance(found, Footprint)
    assert found.parameters == parameters
    assert found.precision == "fp32"


def test_a_hubs_name_has_an_owner() -> None:
    assert footprint("microsoft/resnet-50") == footprint("resnet50")


def test_images_of_a_vision_transformer() -> None:
    whole, large = footprint("vit_b_16"), footprint("vit_b_16", image=384)
    assert isinstance(whole, Footprint)
    assert isinstance(large, Footprint)
    assert 2.8 < large.flops(1) / whole.flops(1) < 3.6  # 24 x 24 patches against 14 x 14
    assert footprint("vit_b_16", image=224) == whole
    assert isinstance(footprint("vit_b_16", image=8), Unknown)


def test_a_small_image_is_a_small_step() -> None:
    whole, small = footprint("resnet50"), footprint("resnet50", image="edge")
    assert isinstance(whole, Footprint)
    assert isinstance(small, Footprint)
    assert small.parameters == whole.parameters
    assert 40 < whole.flops(64) / small.flops(64) < 60  # 224 x 224 against 32 x 32
    assert footprint("resnet50", image=32) == small


def test_the_precision_is_a_setting_or_its_own_name() -> None:
    by_setting, by_name = footprint("gnmt", precision="half"), footprint("gnmt", precision="fp16")
    assert by_setting == by_name
    assert isinstance(by_name, Footprint)
    assert by_name.precision == "fp16"


def test_the_length_of_a_row() -> None:
    mean, short = footprint("gnmt"), footprint("gnmt", sequence="length")
    assert isinstance(mean, Footprint)
    assert isinstance(short, Footprint)
    assert short.flops(1) < mean.flops(1)


@pytest.mark.parametrize("name", ["resnet50/config.json", "a/b/resnet50", "./resnet50.json", "nothing like it"])
def test_paths_and_unknown_names_are_no_networks(name: str) -> None:
    found = footprint(name)
    assert isinstance(found, Unknown)
    assert f"there is no file {name}" in found.reason


@pytest.mark.parametrize(("name", "image"), [("alexnet", 32), ("vgg16", 16), ("inception_v3", 64)])
def test_images_that_are_too_small_for_the_network(name: str, image: int) -> None:
    found = footprint(name, image=image)
    assert isinstance(found, Unknown)
    assert f"takes no images of {image} x {image}" in found.reason


def test_matrices_of_vgg_are_the_same_for_all_images() -> None:
    small = footprint("vgg16", image=32)
    assert isinstance(small, Footprint)
    assert small.parameters == 138_357_544


def test_did_you_mean() -> None:
    found = footprint("resnet5O")
    assert isinstance(found, Unknown)
    assert "did you mean ResNet-50" in found.add
