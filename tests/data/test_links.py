"""The tables of links and of sharing: that rows are sound, sourced, and said of the right cards."""

from __future__ import annotations

import re

import pytest

from gpuplan.data import gpus
from gpuplan.data.links import link, links, spread
from gpuplan.data.sharing import sharing_mode, sharing_modes
from gpuplan.estimate.communication import link_of, network_of

DATE = re.compile(r"20\d\d-\d\d-\d\d")


@pytest.mark.parametrize("name", sorted(links()))
def test_each_link_is_sound_and_has_a_source(name: str) -> None:
    row = link(name)
    assert 0.05e9 < row.bandwidth_bytes_per_s < 2000e9
    assert 0 <= row.falls <= 1
    assert 0 <= row.overhead <= row.slowdown + 0.05 < 1
    assert 0 < row.latency_s < 0.01
    assert row.source
    assert DATE.fullmatch(row.date)
    assert (row.rows > 0) == (row.status == "fitted")


def test_fitted_classes_have_rows_of_several_models() -> None:
    fitted = [row for row in links().values() if row.status == "fitted"]
    assert len(fitted) >= 10
    assert all(row.models >= 3 and row.rows >= 10 for row in fitted)


def test_bandwidth_never_rises_with_ranks() -> None:
    for row in links().values():
        at = [row.bandwidth_at(ranks) for ranks in (1, 2, 4, 8, 64)]
        assert at[0] == at[1] == row.bandwidth_bytes_per_s
        assert at == sorted(at, reverse=True)


def test_faster_wires_are_faster() -> None:
    rows = [link(name).bandwidth_bytes_per_s for name in ("pcie3-consumer", "pcie4-workstation", "nvlink3", "nvlink4")]
    assert rows == sorted(rows)


def test_widths_are_intervals() -> None:
    for blind in (False, True):
        width = spread(blind=blind)
        assert width.low > 0 < width.high
        assert width.low_slope >= 0 <= width.high_slope


@pytest.mark.parametrize(
    ("gpu", "stated", "name"),
    [
        ("RTX 4090", "", "pcie4-consumer"),
        ("RTX 5090", "", "pcie4-consumer"),
        ("GTX 1080 Ti", "PCIe (bridge not stated)", "pcie3-consumer"),
        ("RTX 2080 Ti", "NVLink bridge (pairs) + PCIe3", "pcie-bridge-pairs"),
        ("RTX 2080 Ti", "PCIe3 (no NVLink)", "pcie3-consumer"),
        ("Quadro RTX 8000", "PCIe3 (no NVLink)", "pcie3-workstation"),
        ("RTX 6000 Ada", "", "pcie4-workstation"),
        ("RTX A4000", "", "pcie4-workstation"),
        ("A40", "", "pcie4-datacentre"),
        ("T4", "", "pcie3-workstation"),
        ("H100 PCIe 80GB", "PCIe5 (NVLink bridge not stated)", "pcie5-datacentre"),
        ("V100 SXM2 16GB", "NVLink (DGX-1 cube mesh)", "nvlink2"),
        ("A100 SXM 80GB", "NVSwitch + nodes", "nvlink3"),
        ("A100 SXM 80GB", "", "nvlink3"),
        ("B200 SXM", "NVLink", "nvlink4"),
        ("MI300X", "", "xgmi"),
    ],
)
def test_which_link_a_card_has(gpu: str, stated: str, name: str) -> None:
    assert link_of(gpus()[gpu], stated).name == name


def test_every_card_of_the_table_has_a_link() -> None:
    assert {link_of(gpu).name for gpu in gpus().values()} <= set(links())


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("", "infiniband"),
        ("InfiniBand HDR", "infiniband"),
        ("100 Gbit/s Ethernet", "ethernet-100g"),
        ("10 GbE", "ethernet-10g"),
        ("Ethernet 1 Gb/s", "ethernet-1g"),
        ("ethernet", "ethernet-10g"),
    ],
)
def test_which_network_is_meant(said: str, name: str) -> None:
    assert network_of(said).name == name


def test_ways_of_sharing_are_sound() -> None:
    for row in sharing_modes().values():
        assert 0.5 < row.contention <= 1.2
        assert 0 < row.blind_low <= row.low <= 1 <= row.high <= row.blind_high
        assert row.rows > 0
        assert row.source
        assert DATE.fullmatch(row.date)
    assert sharing_mode("mps").contention < sharing_mode("old").contention
