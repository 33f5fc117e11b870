"""Workloads of public tables: published parameters and multiply-adds, real torch modules, and how they grow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gpuplan.data.models import models
from gpuplan.data.workloads import WorkloadFacts, workloads
from gpuplan.footprint import Unknown
from gpuplan.footprint.network import Network
from gpuplan.footprint.shapes import footprint_of_shape, network_of

if TYPE_CHECKING:
    from gpuplan.model import Footprint

IMAGES = [facts for facts in workloads().values() if facts.image and facts.parameters]
OTHERS = [facts for facts in workloads().values() if not facts.image and facts.parameters]


def known(name: str, **asked: Any) -> Footprint:
    footprint = footprint_of_shape(name, **asked)
    assert not isinstance(footprint, Unknown), footprint
    return footprint


@pytest.mark.parametrize("facts", IMAGES, ids=lambda facts: facts.name)
def test_images_have_the_published_parameters_and_multiply_adds(facts: WorkloadFacts) -> None:
    parts = network_of(facts).parts
    assert sum(part.weights for part in parts) == facts.parameters
    assert sum(part.macs for part in parts) / 1e9 == pytest.approx(facts.gmacs, rel=0.005, abs=0.005)


@pytest.mark.parametrize("facts", OTHERS, ids=lambda facts: facts.name)
def test_the_others_have_about_the_published_parameters(facts: WorkloadFacts) -> None:
    assert sum(part.weights for part in network_of(facts).parts) == pytest.approx(facts.parameters, rel=0.005)


@pytest.mark.parametrize("name", workloads())
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_workload_has_operators_and_a_peak(name: str, precision: str) -> None:
    footprint = known(name, precision=precision)
    assert footprint.flops(64) == pytest.approx(64 * footprint.flops(1))
    assert footprint.moved_bytes(64) > footprint.moved_bytes(1) > 4 * footprint.parameters
    assert footprint.peak(64).total_bytes(64) > footprint.checkpoint_bytes
    assert sum(operators.kernels for operators in footprint.operators) > 20
    assert len({operators.kind for operators in footprint.operators}) == len(footprint.operators)


@pytest.mark.parametrize("name", models())
def test_every_transformer_has_its_published_parameters(name: str) -> None:
    assert known(name, sequence=128, precision="bf16").parameters == models()[name].parameters


def test_16_bits_move_fewer_bytes_and_larger_images_cost_more() -> None:
    assert known("resnet50", precision="fp16").moved_bytes(64) < 0.6 * known("resnet50").moved_bytes(64)
    assert known("resnet50", image=448).flops(1) == pytest.approx(4 * known("resnet50").flops(1), rel=0.01)
    assert known("gnmt", sequence=100).flops(1) > 1.9 * known("gnmt").flops(1)


def test_names_of_benchmark_tables() -> None:
    meant = {
        "PyTorch_SSD_AMP": "SSD300-ResNet50", "transformerxlbase": "Transformer-XL base", "ncf": "NCF",
        "bert_base_squad": "BERT Base", "bert_large_squad": "BERT Large", "NVIDIA waveglow": "WaveGlow",
    }  # fmt: skip
    for name, workload in meant.items():
        assert workload in known(name, sequence=192).because


def test_an_unknown_name_precision_or_length_is_said() -> None:
    for found in (footprint_of_shape("no such net"), footprint_of_shape("resnet50", precision="int3"),
                  footprint_of_shape("Llama-2-7B"), footprint_of_shape("GPT-2", sequence=4096)):  # fmt: skip
        assert isinstance(found, Unknown)
        assert found.reason
        assert found.add


# ---------------------------------------------------------------- against torch


def test_convolutions_against_torch() -> None:
    """A small network of the same layers, built in torch, by torch's own counters."""
    torch = pytest.importorskip("torch")
    from torch import nn
    from torch.utils.flop_counter import FlopCounterMode

    net = Network(size=64, channels=3)
    net.convolve(32, 7, stride=2)
    net.pool(3, 2, padding=1)
    net.convolve(48, 3, stride=2, bias=True)
    net.convolve(20, 1, norm=False, activation="")
    net.multiply(10)
    with torch.device("meta"):
        model = nn.Sequential(
            nn.Conv2d(3, 32, 7, 2, 3, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
            nn.Conv2d(32, 48, 3, 2, 1), nn.BatchNorm2d(48), nn.ReLU(), nn.Conv2d(48, 20, 1, bias=False),
            nn.Flatten(), nn.Linear(20 * 8 * 8, 10),
        )  # fmt: skip
        images = torch.empty(2, 3, 64, 64)
    assert sum(part.weights for part in net.parts) == sum(parameter.numel() for parameter in model.parameters())
    with FlopCounterMode(display=False) as counter:
        outputs = model(images)
    assert counter.get_total_flops() == 2 * 2 * sum(part.macs for part in net.parts)
    with FlopCounterMode(display=False) as counter:
        outputs.sum().backward()
    assert counter.get_total_flops() == 2 * 2 * sum((part.passes - 1) * part.macs for part in net.parts)


def test_a_grouped_convolution_against_torch() -> None:
    torch = pytest.importorskip("torch")
    net = Network(size=16, channels=32)
    net.convolve(48, 3, stride=2, groups=4, norm=False, activation="")
    layer = torch.nn.Conv2d(32, 48, 3, 2, 1, groups=4, bias=False)
    assert net.parts[0].weights == layer.weight.numel()
    assert layer(torch.zeros(1, 32, 16, 16)).shape == (1, net.channels, net.size, net.size)
    assert net.parts[0].macs == layer.weight.numel() * net.size**2


def test_recurrent_layers_against_torch() -> None:
    torch = pytest.importorskip("torch")
    net = Network(size=1, channels=1)
    net.recur(48, 64, times=10)
    layer = torch.nn.LSTM(48, 64)
    assert net.parts[0].weights == sum(parameter.numel() for parameter in layer.parameters())
