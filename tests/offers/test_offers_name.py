"""Which accelerator a market means by a name and a memory."""

from __future__ import annotations

import pytest

from gpuplan.offers.name import Named, Unknown, identify
from gpuplan.units import GIB, MIB


@pytest.mark.parametrize(
    ("name", "memory_bytes", "gpu"),
    [
        ("RTX 4090", 24564 * MIB, "RTX 4090"),
        ("RTX4090", None, "RTX 4090"),
        ("NVIDIA H100 80GB HBM3", 80 * GIB, "H100 SXM 80GB"),
        ("H100_80GB SXM5", None, "H100 SXM 80GB"),
        ("A100", 40 * GIB, "A100 SXM 40GB"),
        ("A100", 80 * GIB, "A100 SXM 80GB"),
        ("A100 PCIe NVLink 80GB", 81920 * MIB, "A100 PCIe 80GB"),
        ("A10 PCIe", 24 * GIB, "A10"),
        ("T4", 16 * GIB, "T4"),
        ("l40", None, "L40"),
        ("H200", 141 * GIB, "H200 SXM 141GB"),
    ],
)
def test_names_of_markets(name: str, memory_bytes: float | None, gpu: str) -> None:
    found = identify(name, memory_bytes)
    assert isinstance(found, Named)
    assert found.gpu.name == gpu


def test_a_form_that_is_not_said_is_said_to_be_taken_for_granted() -> None:
    found = identify("A100", 80 * GIB)
    assert isinstance(found, Named)
    assert "does not say which form" in found.note


@pytest.mark.parametrize(
    ("memory_bytes", "count", "note"),
    [(80 * MIB, 1, "stated as MiB"), (81920 * GIB, 1, "stated as GiB"), (320 * GIB, 4, "all GPUs together")],
)
def test_memory_in_another_unit_is_mended_and_said(memory_bytes: float, count: int, note: str) -> None:
    found = identify("A100 PCIe", memory_bytes, count=count)
    assert isinstance(found, Named)
    assert found.gpu.name == "A100 PCIe 80GB"
    assert note in found.note


@pytest.mark.parametrize(
    ("name", "memory_bytes", "reason"),
    [
        ("RTX 4090", 49140 * MIB, "RTX 4090 has 24 GiB, the source says 48 GiB"),
        ("RTX 4090 48GB", None, "RTX 4090 has 24 GiB"),
        ("RTX 4091", None, "unknown GPU 'RTX 4091'; alike: RTX 4090"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", 10 * GIB, "unknown GPU"),
        ("a100_1g.5gb", None, "unknown GPU"),
        ("", None, "unknown GPU ''"),
        ("x" * 100_000, None, "unknown GPU"),
    ],
)
def test_what_is_not_known_is_refused(name: str, memory_bytes: float | None, reason: str) -> None:
    found = identify(name, memory_bytes)
    assert isinstance(found, Unknown)
    assert reason in found.reason
