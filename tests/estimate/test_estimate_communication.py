"""What ranks cost each other: properties of the formulas, and what they have to say of known cases."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuplan.data import gpus
from gpuplan.data.links import Link, link, links
from gpuplan.estimate.communication import (
    Measured,
    Topology,
    all_reduce_s,
    brief,
    calibrated,
    corrected,
    data_parallel,
    exchange,
    link_of,
    megabytes,
    network_of,
    probability_above,
    slow_down,
    width_of,
)
from gpuplan.model import Gpu

CONSUMER = link("pcie4-consumer")
NVLINK = link("nvlink4")
LINKS = st.sampled_from(sorted(links().values(), key=lambda each: each.name))
SIZES = st.floats(1e3, 1e12)
SECONDS = st.floats(1e-4, 1e3)
RANKS = st.integers(2, 512)


@given(SIZES, RANKS, LINKS)
def test_more_ranks_never_make_an_all_reduce_cheaper(size: float, ranks: int, over: Link) -> None:
    assert all_reduce_s(size, ranks, over=over) <= all_reduce_s(size, ranks + 1, over=over) * (1 + 1e-9)


@given(SECONDS, SIZES, RANKS, LINKS)
def test_more_ranks_never_make_a_step_shorter(alone: float, size: float, ranks: int, over: Link) -> None:
    fewer = slow_down(alone, Topology(ranks, over), size_bytes=size)
    assert 1 <= fewer <= slow_down(alone, Topology(2 * ranks, over), size_bytes=size) * (1 + 1e-9)


@given(SECONDS, SIZES, LINKS)
def test_one_rank_is_free(alone: float, size: float, over: Link) -> None:
    assert slow_down(alone, Topology(1, over), size_bytes=size) == 1
    assert exchange(size, Topology(1, over)).seconds == 0
    assert all_reduce_s(size, 1, over=over) == 0


@given(SECONDS, SIZES, RANKS, LINKS, st.integers(2, 64))
def test_accumulated_passes_amortise_the_exchange(
    alone: float, size: float, ranks: int, over: Link, passes: int
) -> None:
    topology = Topology(ranks, over)
    assert slow_down(passes * alone, topology, size_bytes=size) <= slow_down(alone, topology, size_bytes=size)


def test_a_ring_moves_each_byte_twice_less_a_share() -> None:
    plain = Link(
        name="a", words="a wire", bandwidth_bytes_per_s=10e9, falls=0, overhead=0, slowdown=0.1, latency_s=0, rows=0,
        models=0, status="nominal", source="a test", date="2026-11-20",
    )  # fmt: skip
    assert all_reduce_s(1e9, 4, over=plain) == pytest.approx(0.15)
    assert exchange(1e9, Topology(4, plain), strategy="fsdp").seconds == pytest.approx(0.225)
    assert exchange(1e9, Topology(4, plain), strategy="zero2").seconds == pytest.approx(0.15)
    assert slow_down(0.3, Topology(4, plain), size_bytes=1e9) == pytest.approx(1.5)
    assert slow_down(None, Topology(4, plain), size_bytes=1e9) == pytest.approx(1.2)


def test_a_slow_network_between_nodes_is_what_counts() -> None:
    near = exchange(1e9, Topology(8, NVLINK, network_of()))
    far = exchange(1e9, Topology(16, NVLINK, network_of()))
    slower = exchange(1e9, Topology(16, NVLINK, network_of("10 GbE")))
    assert near.seconds < far.seconds < slower.seconds
    assert "10 Gbit/s Ethernet" in slower.because
    assert "NVLink" in near.because
    assert Topology(16, NVLINK, network_of()).nodes == 2
    assert Topology(16, NVLINK).nodes == 1


def test_shards_within_a_node_spare_the_network() -> None:
    wide = Topology(64, NVLINK, network_of())
    assert exchange(14e9, wide, strategy="fsdp", replicas=8).seconds < exchange(14e9, wide, strategy="fsdp").seconds


def test_gathers_hide_behind_compute_up_to_a_share() -> None:
    topology = Topology(8, NVLINK)
    seconds = exchange(14e9, topology, strategy="fsdp").seconds
    hidden = slow_down(10 * seconds, topology, size_bytes=14e9, strategy="fsdp")
    assert hidden == slow_down(None, topology, size_bytes=14e9, strategy="fsdp")
    assert slow_down(seconds, topology, size_bytes=14e9, strategy="fsdp") > hidden


def test_gradients_too_large_for_the_link() -> None:
    """BERT-large in fp32 at 8 rows on RTX 3090s, PCIe: 17.4 rows/s on one, 16.3 on four (reference time.md)."""
    four = slow_down(8 / 17.4, Topology(4, link_of(gpus()["RTX 3090"])), size_bytes=4 * 335e6)
    assert 1 / four < 0.75
    eight = slow_down(8 / 17.4, Topology(8, link_of(gpus()["H100 SXM 80GB"])), size_bytes=4 * 335e6)
    assert 1 / eight > 0.9


def test_gloo_goes_through_the_memory_of_the_machine() -> None:
    slow = Gpu(name="a CPU", kind="cpu", memory_bytes=1, bandwidth_bytes_per_s=16e9, source="a test", checked="assumed")
    fast = slow.model_copy(update={"bandwidth_bytes_per_s": 64e9})
    unknown = slow.model_copy(update={"bandwidth_bytes_per_s": None})
    assert all_reduce_s(33e6, 2, over=link_of(slow)) > 2 * all_reduce_s(33e6, 2, over=link_of(fast))
    assert link_of(unknown) == link("gloo")


def test_data_parallel_is_as_slow_as_measured() -> None:
    assert data_parallel(1) == 1
    for gpus_, efficiency in ((2, 0.54), (3, 0.46), (4, 0.37)):
        assert 1 / data_parallel(gpus_) == pytest.approx(efficiency, abs=0.025)


@given(st.floats(1, 50), st.booleans())
def test_widths_hold_the_figure_and_grow(slow: float, blind: bool) -> None:
    width, wider = width_of(slow, blind=blind), width_of(2 * slow, blind=blind)
    assert 0 < wider.low <= width.low < 1 < width.high <= wider.high


def test_a_probability_rises_with_the_figure() -> None:
    found = [probability_above(slow, 4 / 3) for slow in (1.0, 1.2, 1.33, 1.5, 2.0)]
    assert found == sorted(found)
    assert 0 <= found[0] < 0.1
    assert found[2] == pytest.approx(0.5, abs=0.05)
    assert found[-1] > 0.85


# ---------------------------------------------------------------- what was measured


def runs(over: Link, *, faster: float, ranks: int = 4) -> list[Measured]:
    """Three programs on a machine whose links are `faster` than their class."""
    found = []
    for seconds in (0.05, 0.1, 0.2):
        alike = slow_down(seconds, Topology(ranks, over), size_bytes=400e6)
        overhead = over.overhead * math.log2(ranks)
        found.append(Measured(ranks, seconds, seconds * (1 + overhead + (alike - 1 - overhead) / faster), 400e6))
    return found


@pytest.mark.parametrize("faster", [0.1, 0.5, 1.0, 3.0])
def test_other_programs_show_how_fast_the_links_are(faster: float) -> None:
    found = calibrated(CONSUMER, runs(CONSUMER, faster=faster), ranks=4)
    assert found.bandwidth_bytes_per_s / CONSUMER.bandwidth_bytes_per_s == pytest.approx(faster, rel=0.25)
    assert calibrated(CONSUMER, [], ranks=4) == CONSUMER


def test_one_program_without_bytes_counts_too() -> None:
    slow = calibrated(CONSUMER, [Measured(4, 1.0, 3.0, None)], ranks=4)
    assert slow.slowdown > CONSUMER.slowdown


def test_half_of_a_surprise_is_kept() -> None:
    assert corrected(1.5, predicted=1.2, measured=1.2) == pytest.approx(1.5)
    assert 1.5 < corrected(1.5, predicted=1.2, measured=1.4) < 2.0
    assert 1.0 < corrected(1.5, predicted=1.2, measured=0.9) < 1.5


def test_words() -> None:
    assert megabytes(33e6) == "33 MB"
    assert megabytes(14e9) == "14 GB"
    assert brief(0.004) == "4 ms"
    assert brief(90) == "1m30s"
