"""Closed form and trace count the same work: small steps of the networks of benchmarks/agreement_work.py."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch")

from agreement_work import RESULTS, USUAL_ROWS, Case, Compared, Work, compared, main

from gpuplan.data.workloads import workloads
from gpuplan.footprint.sequences import SEQUENCE_FAMILIES

SMALL = [
    Case("ResNet-18", "fp32", 8, (64,)),
    Case("SE-ResNeXt-101 32x4d", "fp16", 4, (64,)),
    Case("MobileNetV2", "fp16", 8, (64,)),
    Case("DenseNet-121", "fp32", 4, (64,)),
    Case("EfficientNet-B0", "fp32", 8, (64,)),
    Case("NCF", "fp16", 65_536, (1,)),
    Case("GNMT", "fp16", 64, (12,)),
    Case("Transformer-XL large", "fp32", 16, (96,)),
    Case("Transformer-XL base, full softmax", "fp16", 8, (96,)),
    Case("Tacotron2", "fp32", 8, (3, 5)),
]


@pytest.fixture(scope="module")
def found() -> list[Compared]:
    return compared(SMALL)


@pytest.mark.parametrize("number", range(len(SMALL)), ids=lambda number: SMALL[number].name)
def test_trace_and_closed_form_count_the_same(found: list[Compared], number: int) -> None:
    assert found[number].misses() == []
    traced, closed = found[number].traced, found[number].closed
    assert found[number].parameters[0] == found[number].parameters[1]
    assert traced.moved_bytes["elementwise"] > 0 < traced.flops
    assert closed.kernels == pytest.approx(traced.kernels, rel=0.6)


def test_depthwise_convolutions_are_a_class_of_their_own_in_both(found: list[Compared]) -> None:
    by_name = {one.name: one for one in found}
    for one in (by_name["MobileNetV2"], by_name["EfficientNet-B0"]):
        assert one.bytes_pct("depthwise") == pytest.approx(0.0, abs=25.0)
    assert by_name["ResNet-18"].bytes_pct("depthwise") is None


def test_what_is_out_of_bounds_is_said() -> None:
    right, wrong = Work(1.0, {"products": 10.0, "elementwise": 90.0}, 5), Work(1.02, {"elementwise": 150.0}, 5)
    assert Compared("A", "fp32", 1, 1, (1000, 1000), right, right, (10.0, 12.0)).misses() == []
    assert Compared("A", "fp32", 1, 1, (1000, 998), right, wrong, (10.0, 5.0)).misses() == [
        "A in fp32: parameters -0.20 %", "A in fp32: FLOPs +2.00 %", "A in fp32: bytes +50.00 %",
        "A in fp32: elementwise bytes +66.67 %", "A in fp32: peak memory -50.00 %",
    ]  # fmt: skip


def test_every_network_of_the_tables_was_compared_and_agrees() -> None:
    result = json.loads(RESULTS.read_text("utf-8"))
    assert {row["name"] for row in result["rows"]} == set(USUAL_ROWS)
    assert result["out_of_bounds"] == 0
    assert {workloads()[name].family for name in USUAL_ROWS} >= set(SEQUENCE_FAMILIES)


def test_an_unknown_network_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["ResNet-51"])
    assert ended.value.code == 2
    assert "ResNet-50" in capsys.readouterr().err
