"""The rows of workloads.toml: sources, dates, sound dimensions, and the names that tables use for them."""

from __future__ import annotations

import pytest

from gpuplan.data.workloads import WorkloadFacts, find_workload, workloads


@pytest.mark.parametrize("facts", workloads().values(), ids=lambda facts: facts.name)
def test_a_row_is_sound(facts: WorkloadFacts) -> None:
    assert "2026-" in facts.source
    assert bool(facts.image) != bool(facts.sequence)
    assert facts.dimensions
    assert find_workload(facts.name) is facts


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("resnet50", "ResNet-50"),
        ("PyTorch_SSD_AMP", "SSD300-ResNet50"),
        ("ncf_FP16", "NCF"),
        ("gnmt", "GNMT"),
        ("transformerxllarge", "Transformer-XL large"),
        ("efficientnet-b4", "EfficientNet-B4"),
        ("vgg16", "VGG-16"),
    ],
)
def test_usual_names(name: str, meant: str) -> None:
    found = find_workload(name)
    assert found is not None
    assert found.name == meant


def test_unknown_names() -> None:
    for name in ("", "no such net", "\0" * 1000, "_" * 10_000):
        assert find_workload(name) is None
