"""Layers in 4 and 8 bits and optimizers with 8-bit states, by bitsandbytes itself, where it is installed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from pythons import python_with

from gpuplan.trace import Limits, Traced, trace
from gpuplan.units import MIB

PROGRAMS = Path(__file__).parent / "programs"
WIDTH, LAYERS = 2048, 2
WEIGHTS = LAYERS * WIDTH**2
ADAPTERS = LAYERS * 2 * 8 * WIDTH
BLOCK = 64
ROWS = 4


@cache
def traced(name: str, **settings: bool) -> Traced:
    return trace(
        f"quantised:{name}",
        {"batch_size": ROWS, **settings},
        workdir=PROGRAMS,
        python=python_with("bitsandbytes"),
        micro_batch="batch_size",
        limits=Limits(timeout_s=60),
    )


def most(answer: Traced, phase: str) -> dict[str, float]:
    moments = [moment for moment in answer.footprint.moments if moment.phase == phase]
    largest = max(moments, key=lambda moment: moment.total_bytes(ROWS))
    return {component: line.at(ROWS) for component, line in largest.alive_bytes.items()}


def test_four_bits_a_weight_and_a_scale_a_block() -> None:
    answer = traced("four_bits")
    held = most(answer, "optimizer")
    assert held["parameters"] == WEIGHTS / 2 + 2 * ADAPTERS
    # One fp32 scale for 64 weights, and the 16 numbers of nf4.
    assert held["buffers"] == pytest.approx(4 * WEIGHTS / BLOCK, rel=0.01)
    assert held["optimizer"] == 2 * 2 * ADAPTERS
    assert answer.footprint.gradient_bytes == 2 * ADAPTERS
    # One layer at a time is unpacked to 16 bits.
    for phase in ("forward", "backward"):
        assert most(answer, phase)["temporaries"] == pytest.approx(2 * WIDTH**2, rel=0.05)
    matmul = next(operators for operators in answer.footprint.operators if operators.kind == "matmul")
    forward = 2 * ROWS * (WEIGHTS + ADAPTERS)
    # The first layer needs no gradient of its input, but its adapters do of their weights.
    assert forward * 1.4 < matmul.flops.at(ROWS) < forward * 2.1
    assert any("unpacks them" in assumption for assumption in answer.assumptions)


def test_scales_can_be_quantised_too() -> None:
    saved = (
        most(traced("four_bits"), "optimizer")["buffers"]
        - most(traced("four_bits", double=True), "optimizer")["buffers"]
    )
    assert saved == pytest.approx((4 - 1 - 4 / 256) * WEIGHTS / BLOCK, rel=0.02)


def test_eight_bits_a_weight() -> None:
    held = most(traced("eight_bits"), "optimizer")
    assert held["parameters"] == WEIGHTS + 2 * ADAPTERS
    assert held["buffers"] == 4 * LAYERS * WIDTH


def test_columns_out_of_range_are_taken_as_none_and_it_is_said() -> None:
    answer = traced("eight_bits", outliers=True)
    assert any("out of the range of 8 bits" in assumption for assumption in answer.assumptions)
    assert most(answer, "optimizer")["parameters"] == WEIGHTS + 2 * ADAPTERS


def test_states_of_eight_bits() -> None:
    """Two numbers of one byte a weight, and two scales a block of 256; the two tables are 1 KiB each."""
    held = most(traced("small_states"), "backward")
    assert held["optimizer"] == 2 * WIDTH**2 + 2 * 4 * WIDTH**2 // 256 + 2 * 4 * 256
    assert held["gradients"] == 4 * WIDTH**2 == 16 * MIB
