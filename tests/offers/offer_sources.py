"""Every source of offers with recorded answers, for the suite that all of them pass and for their own tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuplan.model import Device, Machine
from gpuplan.offers import lambda_cloud, runpod, vast
from gpuplan.offers.base import Quote
from gpuplan.offers.colab import Colab
from gpuplan.offers.local import Local
from gpuplan.offers.refresh import MARKETS, Kept
from gpuplan.offers.slurm import Cluster, Slurm
from gpuplan.offers.snapshot import Snapshot
from gpuplan.offers.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gpuplan.offers.base import Item, Source

TODAY = "2026-11-20"
RECORDED = Path(__file__).parent / "recorded"
CARDS = Machine(
    cpu="EPYC",
    cores=32,
    memory_bytes=2**37,
    devices=tuple(Device(index=index, gpu="RTX 4090", memory_bytes=25_757_220_864) for index in range(2)),
)


class Listed:
    """Items in hand as a source."""

    def __init__(self, items: Iterable[Item], name: str = "listed") -> None:
        self._items = items
        self.name = name

    def items(self) -> Iterator[Item]:
        yield from self._items


def quote(gpu: str = "RTX 4090", memory_gib: float | None = 24, **facts: Any) -> Quote:
    """A sound quote of a place that nobody knows, but for `facts`."""
    stated = {"id": "a/1", "place": "a-place", "gpu_count": 1, "price_usd_per_h": 0.4, "as_of": TODAY, "source": "here"}
    return Quote(gpu, memory_gib and memory_gib * 2**30, {**stated, **facts})


def recorded(name: str) -> Any:
    return json.loads((RECORDED / name).read_text("utf-8"))


def cluster() -> Cluster:
    """A real Slurm 22.05 of three nodes with four L40 each, one drained."""
    return Cluster(*((RECORDED / f"slurm_{name}.txt").read_text("utf-8") for name in ("nodes", "partitions", "sshare")))


def all_sources() -> dict[str, Source]:
    return {
        "snapshot": Snapshot(),
        "colab": Colab(),
        "local": Local(CARDS),
        "slurm": Slurm(cluster(), TODAY, usd_per_unit=0.1),
        "table": Table(RECORDED / "offers.csv"),
        "vast": Kept(MARKETS[vast.NAME], recorded("vast.json"), TODAY),
        "runpod": Kept(MARKETS[runpod.NAME], recorded("runpod_catalogue.json"), TODAY),
        "runpod_graphql": Kept(MARKETS[runpod.NAME], recorded("runpod_graphql.json"), TODAY),
        "lambda": Kept(MARKETS[lambda_cloud.NAME], recorded("lambda.json"), TODAY),
    }
