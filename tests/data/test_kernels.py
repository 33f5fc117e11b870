"""The shipped kernels, contexts and image networks: complete, with sources, and internally consistent."""

from __future__ import annotations

import re

import pytest

from gpuplan.data.contexts import context_for
from gpuplan.data.images import find_image_network
from gpuplan.data.kernels import Kernel, kernel, kernels

EVIDENCE = re.compile(r"[a-z-]+-\d{4}")


@pytest.mark.parametrize("entry", kernels().values(), ids=lambda entry: f"{entry.kind}.{entry.name}")
def test_an_entry_says_what_shows_it(entry: Kernel) -> None:
    assert entry.about
    assert "20" in entry.source
    assert all(EVIDENCE.fullmatch(row) for row in entry.evidence)
    assert (entry.status == "measured") == bool(entry.evidence)


@pytest.mark.parametrize("entry", kernels().values(), ids=lambda entry: f"{entry.kind}.{entry.name}")
def test_a_stand_in_exists_and_ends(entry: Kernel) -> None:
    for _ in range(5):
        if not entry.fallback:
            return
        entry = kernels()[entry.kind, entry.fallback]
    pytest.fail("its stand-ins go in a circle")


def test_versions_of_a_loss_leave_no_gap() -> None:
    older, middle, newer = (kernel("loss", f"hf_{name}") for name in ("upcast_in_model", "shift_copy", "shift_labels"))
    assert (older.until, middle.until) == (middle.since, newer.since)
    assert not newer.until


def test_a_context_by_generation_and_software() -> None:
    assert context_for("7.0").middle > context_for("8.0", torch="2.4").middle
    assert context_for("8.0").middle > context_for("8.0", torch="2.4").middle
    assert context_for("7.5", torch="2.4").middle < 0.2 * 2**30
    assert context_for("", torch="nightly") == context_for("8.0")
    found = context_for("9.0", torch="2.6")
    assert found.low <= found.middle <= found.high


@pytest.mark.parametrize(
    ("name", "meant", "detector"),
    [
        ("timm/resnet50", "resnet50", False),
        ("wide_resnet50_2", "wide_resnet50", False),
        ("timm/swin_tiny_patch4_window7_224", "swin_tiny", False),
        ("Faster R-CNN R50-FPN 3x", "resnet50", True),
        ("Mask R-CNN X101-FPN", "resnext101", True),
    ],
)
def test_image_networks_by_their_names(name: str, meant: str, *, detector: bool) -> None:
    found = find_image_network(name)
    assert found is not None
    assert (found.name, found.detector) == (meant, detector)


def test_what_is_no_image_network() -> None:
    assert find_image_network("Mistral-7B") is None
    assert find_image_network("") is None
