"""A Slurm cluster as offers, from what a real Slurm 22.05 printed (three nodes of four L40, one drained)."""

from __future__ import annotations

import shutil
import stat
from typing import TYPE_CHECKING

import pytest
from offer_sources import RECORDED, TODAY, cluster

from gpuplan.model import Compute, Offer
from gpuplan.offers import Offered, offers
from gpuplan.offers.base import UnavailableError
from gpuplan.offers.slurm import Cluster, Slurm, look

if TYPE_CHECKING:
    from pathlib import Path

NODE = "NodeName=n1 Gres={gres} CPUTot=8 RealMemory=16000 State={state} Partitions=main"
PARTITION = "PartitionName=main State=UP MaxTime={limit} PreemptMode=OFF PriorityTier=1 {more}"


def read(found: Cluster, usd_per_unit: float | None = None) -> Offered:
    return offers(Compute(), Slurm(found, TODAY, usd_per_unit), today=TODAY)


def one(*, gres: str = "gpu:l40:4", state: str = "IDLE", limit: str = "UNLIMITED", more: str = "") -> Offer:
    nodes, partitions = NODE.format(gres=gres, state=state), PARTITION.format(limit=limit, more=more)
    [offer] = read(Cluster(nodes, partitions), usd_per_unit=1.0).offers
    return offer


def test_a_partition_of_a_real_cluster() -> None:
    found = {offer.id: offer for offer in read(cluster(), usd_per_unit=0.1).offers}
    main, spot = found["slurm/main/4xl40-8c"], found["slurm/spot/4xl40-8c"]
    assert (main.gpu, main.gpu_count, main.available, main.session_s) == ("L40", 4, 2, 86_400)
    assert (main.spot, spot.spot) == (False, True)
    assert (main.vcpus, main.host_memory_bytes, main.region) == (8, 16000 * 2**20, "main")
    assert "1 of 3 nodes down" in main.notes
    assert "fair-share 0.000000" in main.notes
    assert spot.price_usd_per_h is None


def test_the_internal_price_is_slurms_sum_of_billing_weights() -> None:
    main = next(offer for offer in read(cluster(), usd_per_unit=0.1).offers if offer.region == "main")
    assert main.price_usd_per_h == pytest.approx(0.1 * (0.25 * 8 + 0.1 * 16000 / 1024 + 2.0 * 4))
    assert "11.5625 billing units/h" in main.notes
    assert read(cluster()).offers[0].price_usd_per_h is None


def test_json_says_the_same_of_the_nodes() -> None:
    text = cluster()
    nodes = (RECORDED / "slurm_sinfo.json").read_text("utf-8")
    assert read(Cluster(nodes, text.partitions, text.shares)) == read(text)


def test_partitions_in_json_of_later_versions() -> None:
    partitions = (
        '{"partitions": [{"name": "main", "partition": {"state": ["UP"]}, "priority": {"tier": 1},'
        ' "maximums": {"time": {"set": true, "infinite": false, "number": 90}}, "tres": {"billing_weights": "CPU=1"}}]}'
    )
    [offer] = read(Cluster(NODE.format(gres="gpu:l40:4", state="IDLE"), partitions), usd_per_unit=1.0).offers
    assert (offer.session_s, offer.price_usd_per_h, offer.available) == (5400, 8.0, 1)


@pytest.mark.parametrize(
    ("gres", "gpu", "count"),
    [
        ("gpu:l40:4", "L40", 4),
        ("gpu:a100:8(S:0-1)", "A100 SXM 40GB", 8),
        ("gpu:h100_pcie:2,shard:8", "H100 PCIe 80GB", 2),
        ("craynetwork:4,gpu:v100:4", "V100 SXM2 16GB", 4),
    ],
)
def test_how_clusters_write_their_gpus(gres: str, gpu: str, count: int) -> None:
    offer = one(gres=gres)
    assert (offer.gpu, offer.gpu_count) == (gpu, count)


@pytest.mark.parametrize(
    ("limit", "session_s"), [("UNLIMITED", None), ("1-00:00:00", 86_400), ("12:00:00", 43_200), ("30 min", 1800)]
)
def test_limits(limit: str, session_s: float | None) -> None:
    assert one(limit=limit).session_s == session_s


@pytest.mark.parametrize(
    ("weights", "units"),
    [
        ("GRES/gpu=2", 8),
        ("GRES/gpu=2,GRES/gpu:l40=5", 28),
        ("CPU=1,Mem=1G", 8 + 16000 / 1024),
        ("Node=1,odd", 1),
        ("Licenses=3", 0),
    ],
)
def test_billing_weights(weights: str, units: float) -> None:
    assert one(more=f"TRESBillingWeights={weights}").price_usd_per_h == pytest.approx(units)


@pytest.mark.parametrize("state", ["DOWN", "IDLE+DRAIN", "MIXED+DRAIN", "IDLE*", "DOWN+NOT_RESPONDING", "FUTURE"])
def test_nodes_that_are_down_are_not_to_be_had(state: str) -> None:
    nodes = NODE.format(gres="gpu:l40:4", state=state)
    found = read(Cluster(nodes, PARTITION.format(limit="UNLIMITED", more="")))
    assert not found.offers
    assert "sold out" in found.refused[0].reason


def test_a_gpu_without_a_type_and_a_cluster_without_gpus_are_named() -> None:
    partition = PARTITION.format(limit="UNLIMITED", more="")
    untyped = read(Cluster(NODE.format(gres="gpu:4", state="IDLE"), partition))
    assert "without a type in its gres" in untyped.refused[0].reason
    without = read(Cluster(NODE.format(gres="(null)", state="IDLE"), partition))
    assert "no node of the cluster has a GPU" in without.refused[0].reason


@pytest.mark.parametrize("text", ["", "slurm_load_node error", "{", '{"nodes": 3}', "[1]", "<html>"])
def test_other_output_is_a_refusal(text: str) -> None:
    found = read(Cluster(text, text))
    assert [refusal.kind for refusal in found.refused] == ["source"]


def script(folder: Path, text: str) -> None:
    path = folder / "scontrol"
    path.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)


def test_no_slurm_and_a_slurm_that_fails_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match="no Slurm here"):
        look()
    script(tmp_path, "echo 'Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(UnavailableError, match="Unable to contact"):
        look()


def test_what_the_commands_print_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cat = shutil.which("cat")
    script(tmp_path, f'{cat} "{RECORDED}/slurm_$2s.txt"')
    monkeypatch.setenv("PATH", str(tmp_path))
    found = read(look())
    assert [offer.region for offer in found.offers] == ["main", "spot"]
