"""A spec that names a library: measured peaks from declared dimensions, settings by name, sharding among the ranks."""

from __future__ import annotations

from typing import Any

import pytest
from footprint_models import known

from gpuplan.footprint import Unknown, closed_form
from gpuplan.footprint.gang import in_gang
from gpuplan.model import Architecture
from gpuplan.units import GIB


def mistral(**changes: Any) -> Architecture:
    dimensions = {
        "kind": "decoder", "layers": 32, "d_model": 4096, "heads": 32, "kv_heads": 8, "feedforward": 14_336,
        "vocabulary": 32_000, "sequence": 4096, "gated": True, "checkpointing": True, "library": "hf",
        "library_version": "4.48.1", "storage": "bf16",
    }  # fmt: skip
    return Architecture.model_validate(dimensions | changes)


LORA = {"method": "lora", "adapter_targets": ("q", "k", "v", "o")}


@pytest.mark.parametrize(
    ("changes", "ranks", "batch", "measured_gib"),
    [
        ({}, 1, 4, 67.460),
        (LORA, 1, 4, 24.871),
        (LORA | {"storage": "nf4_dq"}, 1, 8, 26.461),
        (LORA | {"sharding": "fsdp"}, 2, 4, 20.452),
        ({"sharding": "fsdp"}, 2, 4, 33.738),
    ],
)
def test_measured_peaks(changes: dict[str, Any], ranks: int, batch: int, measured_gib: float) -> None:
    """Of foundation-model-stack/fms-acceleration scripts/benchmarks/refs, read 2026-11-20."""
    precision = "bf16" if changes.get("storage") == "nf4_dq" else None
    footprint = known(mistral(**changes), precision=precision, ranks=ranks)
    assert in_gang(footprint, ranks=ranks).peak(batch).total_bytes(batch) / GIB == pytest.approx(measured_gib, rel=0.01)


def test_what_is_trained_and_saved() -> None:
    whole, adapters = known(mistral()), known(mistral(**LORA))
    assert whole.parameters == adapters.parameters == 7_241_732_096
    assert whole.gradient_bytes == 2 * 7_241_732_096
    assert adapters.gradient_bytes == 4 * 13_631_488
    assert adapters.checkpoint_bytes == 12 * 13_631_488
    assert "as" not in whole.versions
    assert "hf trains all of them" in whole.because
    assert "adapters" in adapters.because


def test_dimensions_by_the_names_of_settings() -> None:
    footprint = known(mistral(**LORA | {"adapter_rank": "r"}), {"r": 64})
    assert footprint.gradient_bytes == 4 * 4 * 13_631_488
    missing = closed_form(mistral(adapter_rank="r"), {})
    assert isinstance(missing, Unknown)
    assert "its adapter_rank is the setting r" in missing.reason


def test_experts_count_but_only_some_compute() -> None:
    dense, sparse = known(mistral()), known(mistral(experts=8))
    assert sparse.parameters == 46_702_792_704  # Mixtral 8x7B
    assert dense.flops(1) < sparse.flops(1) < 2.2 * dense.flops(1)


def test_sharding_takes_off_and_ddp_puts_on() -> None:
    one = known(mistral())
    shared = known(mistral(sharding="zero3"), ranks=8)
    assert shared.peak(1).total_bytes(1) < one.peak(1).total_bytes(1) / 4
    copied = in_gang(known(mistral(), ranks=8), ranks=8)
    assert copied.peak(1).total_bytes(1) > one.peak(1).total_bytes(1)
    assert in_gang(shared, ranks=8) == shared


def test_32_bits_and_autocast_without_a_storage() -> None:
    full, mixed = (known(mistral(storage=None), precision=precision) for precision in ("fp32", "bf16"))
    assert full.gradient_bytes == mixed.gradient_bytes == 4 * 7_241_732_096
    assert mixed.peak(64).total_bytes(64) < full.peak(64).total_bytes(64)
