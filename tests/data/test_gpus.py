"""The facts in gpus.toml hold together, and every usual name finds its row."""

from __future__ import annotations

import datetime as dt
import tomllib
from collections import Counter
from importlib import resources
from typing import Any

import pytest

from gpuplan.data import _key, find_gpu, gpu_readings, gpus, near_gpus
from gpuplan.units import GIB

CONTENT = tomllib.loads(resources.files("gpuplan.data").joinpath("gpus.toml").read_text(encoding="utf-8"))
ROWS: list[dict[str, Any]] = CONTENT["gpu"]
BY_NAME = {row["name"]: row for row in ROWS}

NO_TENSOR_CORES = {"Kepler", "Pascal"}
NO_BF16 = {"Kepler", "Pascal", "Volta", "Turing"}
DENSE_BF16_TFLOPS = {
    "A100 SXM 80GB": 312,
    "A100 PCIe 40GB": 312,
    "H100 SXM 80GB": 989,
    "H100 PCIe 80GB": 756,
    "H200 SXM 141GB": 989,
    "B200 SXM": 2250,
    "L40S": 362,
    "L4": 121,
    "A10G": 70,
    "RTX 3090": 71.2,
    "RTX 4090": 165.2,
    "RTX 5090": 209.5,
    "RTX A6000": 154.8,
    "MI300X": 1307,
}


@pytest.fixture(params=ROWS, ids=lambda row: str(row["name"]))
def row(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.param
    return found


def test_there_is_a_row_for_each_accelerator() -> None:
    assert len(gpus()) == len(ROWS) == 67


def test_every_row_says_where_and_when_it_was_taken(row: dict[str, Any]) -> None:
    assert len(row["source"]) > 5
    assert dt.date.fromisoformat(row["date"]) <= dt.date(2026, 11, 20)
    assert row["checked"] in {"seen", "partly", "recalled", "conflict"}


def test_figures_are_positive_and_of_the_right_size(row: dict[str, Any]) -> None:
    assert 4 * GIB <= row["memory_bytes"] <= 300 * GIB
    assert 1e11 <= row["bandwidth_bytes_per_s"] <= 1e13
    assert 3e12 <= row["peak_flops"]["fp32"] <= 2e14
    assert all(2.0e12 < peak < 2.6e15 for peak in row["peak_flops"].values())
    assert set(row["peak_flops"]) <= {"fp32", "tf32", "fp16", "bf16"}


def test_faster_precisions_are_not_slower(row: dict[str, Any]) -> None:
    peaks = row["peak_flops"]
    assert peaks.get("tf32", 0) <= peaks.get("bf16", float("inf"))
    assert peaks.get("bf16", 0) <= peaks.get("fp16", float("inf"))
    assert peaks["fp32"] <= 1.01 * peaks.get("tf32", float("inf"))


def test_tensor_peaks_are_dense(row: dict[str, Any]) -> None:
    peaks = row["peak_flops"]
    if row["vendor"] == "NVIDIA" and "tf32" in peaks:
        assert peaks["bf16"] / peaks["tf32"] == pytest.approx(2, rel=0.03)
    # A sparse figure is twice the dense one: 32x fp32 on an A100 or H100, where the dense one is 16x.
    assert peaks.get("bf16", 0) <= 16.1 * peaks["fp32"] or row["architecture"] == "Blackwell"


@pytest.mark.parametrize(("name", "tflops"), DENSE_BF16_TFLOPS.items())
def test_known_dense_peaks(name: str, tflops: float) -> None:
    assert gpus()[name].peak_flops["bf16"] == pytest.approx(tflops * 1e12)


def test_old_architectures_claim_no_new_precisions(row: dict[str, Any]) -> None:
    peaks = row["peak_flops"]
    assert "bf16" not in peaks or row["architecture"] not in NO_BF16
    assert "tf32" not in peaks or row["architecture"] not in NO_BF16
    assert row["architecture"] not in NO_TENSOR_CORES or peaks.get("fp16", 0) <= 2 * peaks["fp32"]


def test_links_agree_with_their_kind(row: dict[str, Any]) -> None:
    link = row.get("link")
    assert (link is None) == ("link_bytes_per_s" not in row) == (row["vendor"] == "Apple")
    if link is not None:
        low, high = {"nvlink": (3e11, 2e12), "bridge": (5e10, 9e11), "xgmi": (2e11, 1e12), "pcie": (3e10, 1.3e11)}[link]
        assert low <= row["link_bytes_per_s"] <= high


def test_compute_capability_is_stated(row: dict[str, Any]) -> None:
    capability = row.get("compute_capability", "")
    if row["vendor"] == "NVIDIA":
        assert 3.5 <= float(capability) <= 12.0
    if row["vendor"] == "AMD":
        assert capability.startswith("gfx")


def test_names_and_aliases_mean_one_row_each() -> None:
    keys = Counter(key for row in ROWS for key in {_key(name) for name in (row["name"], *row.get("aliases", ()))})
    assert [key for key, count in keys.items() if count > 1] == []
    assert not {_key(family) for family in CONTENT["families"]} & set(keys)


def test_families_name_rows_and_the_smallest_comes_first() -> None:
    for members in CONTENT["families"].values():
        sizes = [gpus()[member].memory_bytes for member in members]
        assert sizes[0] == min(sizes)
        assert len(set(members)) == len(members) > 1


def test_what_is_not_settled_is_said() -> None:
    assert BY_NAME["A10G"]["checked"] == "conflict"
    assert "125" in gpus()["A10G"].notes
    for name in ("RTX 2080 Ti", "RTX 3090", "RTX 4090", "RTX 5090"):
        assert "half rate" in gpus()[name].notes
    for name in ("MI250", "MI250X", "Tesla K80"):
        assert "ONE of the card's two devices" in gpus()[name].notes
    assert "sparse" in gpus()["RTX 5090"].notes
    assert "271.2 of 312" in gpus()["A100 SXM 80GB"].notes
    ratio = gpus()["A100 SXM 80GB"].bandwidth_bytes_per_s or 0
    assert ratio / (gpus()["A100 SXM 40GB"].bandwidth_bytes_per_s or 1) == pytest.approx(1.31, abs=0.01)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("A100-80GB", "A100 SXM 80GB"),
        ("A100 (80 GB)", "A100 SXM 80GB"),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM 80GB"),
        ("NVIDIA A100 80GB PCIe", "A100 PCIe 80GB"),
        ("A100", "A100 SXM 40GB"),
        ("V100", "V100 SXM2 16GB"),
        ("V100-32GB", "V100 SXM2 32GB"),
        ("Tesla V100-SXM2-32GB", "V100 SXM2 32GB"),
        ("K80", "Tesla K80"),
        ("K80 (12 GB)", "Tesla K80"),
        ("RTX 4090", "RTX 4090"),
        ("RTX_4090", "RTX 4090"),
        ("rtx4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("Tesla T4", "T4"),
        ("T4 (16 GB)", "T4"),
        ("A10 (24 GB)", "A10"),
        ("H200_141GB", "H200 SXM 141GB"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM 80GB"),
        ("NVIDIA GH200 480GB", "GH200 96GB"),
        ("RTX6000Ada", "RTX 6000 Ada"),
        ("RTX PRO 6000 S", "RTX PRO 6000"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX PRO 6000"),
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", "RTX PRO 6000 Max-Q"),
        ("NVIDIA H200 NVL", "H200 NVL"),
        ("NVIDIA B300 SXM6 AC", "B300 SXM"),
        ("RTX4070S Ti", "RTX 4070 Ti Super"),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", "RTX 4070 Ti Super"),
        ("NVIDIA L40S", "L40S"),
    ],
)
def test_usual_names_are_found(written: str, meant: str) -> None:
    found = find_gpu(written)
    assert found is not None
    assert found.name == meant


@pytest.mark.parametrize("name", ["", "foo", "RTX4090 48GB", "RTX A2900", "gb", "999999999999gb", "\x00💥" * 500])
def test_unknown_names_are_unknown(name: str) -> None:
    assert find_gpu(name) is None
    assert gpu_readings(name) == ()


def test_a_row_is_found_by_its_own_name_and_each_alias(row: dict[str, Any]) -> None:
    for name in (row["name"], *row.get("aliases", ())):
        assert find_gpu(name) == gpus()[row["name"]]


def test_an_ambiguous_name_has_all_its_readings() -> None:
    assert [gpu.name for gpu in gpu_readings("V100")][-1] == "V100 PCIe 32GB"
    assert [gpu.name for gpu in gpu_readings("A100 80GB")] == ["A100 SXM 80GB", "A100 PCIe 80GB"]


def test_a_name_with_two_memories_means_the_smaller_unless_it_says_more() -> None:
    assert [gpu.name for gpu in gpu_readings("RTX A2000")] == ["RTX A2000 6GB", "RTX A2000 12GB"]
    assert [gpu.name for gpu in gpu_readings("NVIDIA RTX A2000 12GB")] == ["RTX A2000 12GB"]
    assert [gpu.name for gpu in gpu_readings("RTX4060 Ti")] == ["RTX 4060 Ti 8GB", "RTX 4060 Ti 16GB"]


def test_near_names_are_suggested() -> None:
    assert near_gpus("RTX 409")[0] == "RTX 4090"
    assert near_gpus("A1000")[0].startswith("A100")
    assert near_gpus("zzzzzz") == ()


def test_the_table_cannot_be_changed_from_outside() -> None:
    gpus().clear()
    assert len(gpus()) == 67
