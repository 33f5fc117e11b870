"""The packaged constants of step times: that each is sane, says what it rests on, and fits the GPUs that we know."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path

import pytest

from gpuplan.data import find_gpu, gpus
from gpuplan.data.derates import REGIMES, shipped_tables

MEASURED = Path(__file__).parents[3] / "shared" / "data" / "measured" / "time_single.csv"
OF = {"", "half", "full", "fp32", "tf32", *REGIMES}


def packaged(name: str) -> str:
    return resources.files("gpuplan.data").joinpath(name).read_text(encoding="utf-8")


def test_the_file_names_sources_and_date_and_each_row_its_evidence() -> None:
    content = tomllib.loads(packaged("derates.toml"))
    assert content["date"] >= "2026-11"
    assert len(content["sources"]) >= 2
    assert all("step times" in source for source in content["sources"])
    for row in [*content["slope"], *content["derate"], content["longer"]]:
        assert row["rows"] >= row["models"] >= 1
    assert packaged("ratios.csv").splitlines()[1].startswith("# source: ")


def test_every_constant_is_of_a_gpu_and_a_regime_that_are_known() -> None:
    tables = shipped_tables()
    assert {gpu for gpu, _ in tables.derates} <= set(gpus())
    assert {of for _, of in tables.derates} <= OF
    assert set(tables.slopes) <= OF
    assert {place.gpu for pair in tables.ratios for place in pair} <= set(gpus())


def test_derates_and_slopes_are_moderate() -> None:
    tables = shipped_tables()
    assert tables.longer is not None
    assert 1 < tables.longer.memory < tables.longer.compute < 4
    assert 0.1 < tables.longer.log_width < 0.6
    assert all(0.5 < derate.factor < 2 for derate in tables.derates.values())
    common = tables.slopes[""]
    assert -1 < common.flops < 0
    assert -1 < common.bandwidth < 0
    assert -1.2 < common.flops + common.bandwidth < -0.6


def test_a_ratio_is_the_median_of_several_models_and_stands_both_ways() -> None:
    tables = shipped_tables()
    assert tables.ratios
    for (one, other), rows in tables.ratios.items():
        back = {row.regime: row.log_ratio for row in tables.ratios[other, one]}
        for row in rows:
            assert row.models >= 2
            assert back[row.regime] == pytest.approx(-row.log_ratio)


def test_widths_are_wider_where_nothing_was_measured() -> None:
    tables = shipped_tables()
    assert 0.05 < tables.width("matmul", measured=True) < tables.width("matmul", measured=False) < 0.6
    assert tables.width("no such regime", measured=True) == tables.width("", measured=True)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("A100-80GB", "A100 SXM 80GB"),
        ("V100", "V100 SXM2 16GB"),
        ("K80", "Tesla K80"),
        ("H100 PCIe", "H100 PCIe 80GB"),
        ("2080Ti", "RTX 2080 Ti"),
        ("RTX 6000Ada", "RTX 6000 Ada"),
        ("GH200", "GH200 96GB"),
        ("MI250", "MI250"),
    ],
)
def test_names_of_measured_files_are_found(written: str, name: str) -> None:
    found = find_gpu(written)
    assert found is not None
    assert found.name == name


@pytest.mark.skipif(not MEASURED.exists(), reason="the measured rows are not here")
def test_every_gpu_of_the_measured_file_is_known() -> None:
    header, *lines = MEASURED.read_text("utf-8").splitlines()
    column = header.split(",").index("gpu")
    names = {line.split(",")[column] for line in lines if '"' not in line}
    assert names
    assert [name for name in names if find_gpu(name) is None] == []
