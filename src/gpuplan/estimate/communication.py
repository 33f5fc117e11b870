"""What ranks cost each other: all-reduce over a link, gathers of shards, gloo on CPUs. It never measures one.

The seconds of a step on n ranks are those on one rank, a share more for every doubling (stragglers, the host), and
the ring all-reduce of the gradients, 2 (n-1)/n x bytes over the effective bandwidth of the class of link.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from gpuplan.data.links import link, spread
from gpuplan.estimate.answers import Width, exceeds
from gpuplan.model import Quantity
from gpuplan.units import format_duration, format_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuplan.data.links import Link, Spread
    from gpuplan.model import Gpu

__all__ = [
    "Exchange",
    "Measured",
    "Strategy",
    "Topology",
    "all_reduce_s",
    "brief",
    "calibrated",
    "corrected",
    "data_parallel",
    "exchange",
    "link_of",
    "megabytes",
    "network_of",
    "probability_above",
    "slow_down",
    "width_of",
]

Strategy: TypeAlias = Literal["ddp", "fsdp", "zero1", "zero2", "zero3"]

BUCKET_BYTES = 25 * 2**20
"""Of DistributedDataParallel, by default; the last gradients of a step are all-reduced with nothing left to hide it."""
RANKS_OF_A_NODE = 8
CONSUMER = re.compile(r"(GTX|TITAN)\b.*|RTX \d{4}\b(?! Ada).*")
WORKSTATION = re.compile(r"Quadro\b.*|RTX (A\d|PRO|\d{4} Ada).*")
GLOO_SHARE = 1 / 32
"""Of the rate at which a core copies memory: every byte goes through sockets on both sides (links.toml, `gloo`)."""
PASSES = {"ddp": 2, "zero1": 2, "zero2": 2, "fsdp": 3, "zero3": 3}
"""How often (n-1)/n of the bytes go over the link: an all-reduce is a scatter and a gather; shards of parameters are
gathered for the forward and again for the backward pass, and gradients scattered (PyTorch FSDP, ZeRO: 1.5 times)."""
HIDDEN = 0.5
"""Of a step, as exchange that gathers ahead of the layers hide behind compute: on 8 to 512 GPUs with NVLink and
InfiniBand the rate of each GPU stays within 5 % (time.md, MPT with FSDP). Assumed for other links."""
DATA_PARALLEL_SLOWDOWN = 0.42
"""nn.DataParallel, for the second GPU and for each: at 12 images a GPU, 2, 3 and 4 GPUs reached 0.54, 0.46 and 0.37 of
linear in the median of 16 networks for images (reference time.md, section 3), 1/s at s = 1.84, 2.26 and 2.68 here."""


class Topology(NamedTuple):
    """Ranks, the link within a node and the network between nodes, if there is more than one."""

    ranks: int
    within: Link
    between: Link | None = None
    per_node: int = RANKS_OF_A_NODE

    @property
    def nodes(self) -> int:
        """How many machines the ranks need."""
        return -(-self.ranks // self.per_node) if self.between else 1


class Exchange(NamedTuple):
    """What ranks exchange in one optimizer step."""

    seconds: float
    because: str


class Measured(NamedTuple):
    """One program on one rank and on several of a machine, at the same rows a rank; bytes None: not known."""

    ranks: int
    alone_s: float
    together_s: float
    size_bytes: float | None


# ---------------------------------------------------------------- which link


def link_of(gpu: Gpu, stated: str = "") -> Link:
    """The class of link that joins several of `gpu` in one machine; `stated` says it as people do: "NVLink bridge".

    A card with a connector for a bridge is taken to have none: markets and machines seldom say.
    """
    if gpu.kind == "cpu":
        return _gloo(gpu)
    said = stated.lower()
    if "bridge" in said and "pair" in said:
        return link("pcie-bridge-pairs")
    if "xgmi" in said or gpu.name.startswith("MI"):
        return link("xgmi")
    if _is_nvlink(gpu, said):
        return link(_nvlink(gpu))
    return link(_pcie(gpu))


def network_of(stated: str = "") -> Link:
    """The class of network between machines, by what is said of it; InfiniBand, as in clusters, if nothing is."""
    said = stated.lower().replace(" ", "").replace("-", "")
    if "ethernet" in said or re.search(r"\d+(gbit|gbe|gb/s)", said):
        rate = re.search(r"(\d+)g", said)
        gigabits = int(rate.group(1)) if rate else 10
        return link("ethernet-100g" if gigabits >= 50 else "ethernet-10g" if gigabits >= 5 else "ethernet-1g")
    return link("infiniband")


def _is_nvlink(gpu: Gpu, said: str) -> bool:
    if "not stated" in said or "no nvlink" in said or ("pcie" in said and "nvlink" not in said and "sxm" not in said):
        return False
    return any(word in said for word in ("nvlink", "nvswitch", "sxm")) or "SXM" in gpu.name or gpu.name.startswith("G")


def _nvlink(gpu: Gpu) -> str:
    capability = _capability(gpu)
    return "nvlink2" if capability < 8 else "nvlink3" if capability < 9 else "nvlink4"


def _pcie(gpu: Gpu) -> str:
    capability = _capability(gpu)
    generation = 3 if capability < 8 else 4 if capability < 9 else 5
    if CONSUMER.fullmatch(gpu.name):
        return f"pcie{min(generation, 4)}-consumer"
    if WORKSTATION.fullmatch(gpu.name):
        return f"pcie{min(generation, 4)}-workstation"
    return "pcie3-workstation" if generation == 3 else f"pcie{generation}-datacentre"


def _capability(gpu: Gpu) -> float:
    try:
        return float(gpu.compute_capability or 8.0)
    except ValueError:
        return 8.0


def _gloo(gpu: Gpu) -> Link:
    gloo = link("gloo")
    if not gpu.bandwidth_bytes_per_s:
        return gloo
    return replace(gloo, bandwidth_bytes_per_s=gpu.bandwidth_bytes_per_s * GLOO_SHARE)


# ---------------------------------------------------------------- how long


def all_reduce_s(size_bytes: float, ranks: int, *, over: Link) -> float:
    """Seconds of a ring all-reduce: 2 (n-1)/n x bytes over the bandwidth, and the latency of each bucket."""
    if ranks <= 1 or size_bytes <= 0:
        return 0.0
    buckets = math.ceil(size_bytes / BUCKET_BYTES)
    return 2 * (ranks - 1) / ranks * size_bytes / over.bandwidth_at(ranks) + buckets * over.latency_s


def exchange(size_bytes: float, topology: Topology, *, strategy: Strategy = "ddp", replicas: int = 1) -> Exchange:
    """What the ranks exchange in one optimizer step, in seconds; nothing on one rank.

    `size_bytes` are gradients for DDP and ZeRO 1 and 2, parameters as they are gathered for FSDP and ZeRO 3. With
    `replicas` (hybrid sharding) each group of ranks / replicas shares the parameters, and the groups all-reduce.
    Between nodes each node's ranks first reduce among themselves and send 1 / ranks of the bytes each.
    """
    if topology.ranks <= 1 or size_bytes <= 0:
        return Exchange(0.0, "one rank exchanges nothing")
    sharing = max(1, topology.ranks // max(1, replicas))
    seconds = _ring_s(size_bytes, topology._replace(ranks=sharing)) * PASSES[strategy] / 2
    if sharing < topology.ranks:
        seconds += _ring_s(size_bytes / sharing, topology)
    what = "parameters and gradients" if PASSES[strategy] == 3 else "gradients"
    over = topology.between.words if topology.between and topology.nodes > 1 else topology.within.words
    return Exchange(seconds, f"{megabytes(size_bytes)} of {what} over {over} take {brief(seconds)}")


def _ring_s(size_bytes: float, topology: Topology) -> float:
    if topology.nodes <= 1 or topology.between is None:
        return all_reduce_s(size_bytes, topology.ranks, over=topology.within)
    inside = all_reduce_s(size_bytes, min(topology.ranks, topology.per_node), over=topology.within)
    return inside + all_reduce_s(size_bytes, topology.nodes, over=topology.between)


def slow_down(
    alone_s: float | None,
    topology: Topology,
    *,
    size_bytes: float | None,
    strategy: Strategy = "ddp",
    replicas: int = 1,
) -> float:
    """How many times as long a step takes on the ranks as on one, each with the same rows; never below 1.

    `alone_s` is the optimizer step on one rank: accumulated passes are in it, so that they amortise the exchange.
    Without it or the bytes, the mean slow-down of other programs over that link.
    """
    if topology.ranks <= 1:
        return 1.0
    if not alone_s or not size_bytes:
        return 1 + _of_doublings(topology, "slowdown")
    exchanged = exchange(size_bytes, topology, strategy=strategy, replicas=replicas)
    if PASSES[strategy] == 3:
        return 1 + _of_doublings(topology, "slowdown") + max(0.0, exchanged.seconds / alone_s - HIDDEN)
    return 1 + _of_doublings(topology, "overhead") + exchanged.seconds / alone_s


def _of_doublings(topology: Topology, share: Literal["overhead", "slowdown"]) -> float:
    """Within a node by its link, and by the network for the doublings beyond."""
    inside = min(topology.ranks, topology.per_node) if topology.nodes > 1 else topology.ranks
    beyond = math.log2(topology.ranks / inside)
    between: float = getattr(topology.between, share) if topology.between else 0.0
    within: float = getattr(topology.within, share)
    return within * math.log2(inside) + between * beyond


def data_parallel(gpus: int) -> float:
    """How many times as long a step of nn.DataParallel takes, with the same rows a GPU as on one.

    One process feeds all GPUs, copies the parameters to each in every step and gathers outputs and gradients.
    """
    return 1.0 if gpus <= 1 else 1 + DATA_PARALLEL_SLOWDOWN * gpus


# ---------------------------------------------------------------- how certain


def width_of(slow: float, *, around: Spread | None = None, blind: bool = False) -> Width:
    """Factors of a predicted step time that hold 80 % of measured ones: the wider, the more of it is exchange."""
    known = around or spread(blind=blind)
    extra = min(max(slow - 1, 0.0), known.most)
    return Width(math.exp(-known.low - known.low_slope * extra), math.exp(known.high + known.high_slope * extra))


def probability_above(slow: float, limit: float, *, around: Spread | None = None, blind: bool = False) -> float:
    """The chance, 0 to 1, that the measured slow-down is more than `limit` where `slow` is predicted."""
    width = width_of(slow, around=around, blind=blind)
    quantity = Quantity(p10=slow * width.low, p50=slow, p90=slow * width.high, source="scaled", because="")
    return exceeds(quantity, limit)


# ---------------------------------------------------------------- what other programs on the machine say

STEPS = 81
FARTHEST = math.log(30)
PRIOR, PRIOR_OF_A_COUNT = 1.5, 0.35
NOISE, OUTLIER = 0.1, 15.0
"""How far a machine's links may be from their class, as a standard deviation of the logarithm: in all, and for one
number of ranks beside the others; how far one measured run is off, and from where on it is an outlier. By trial on
the rows of time_scaling.csv, each model left out in turn (docs/decisions/0007)."""


SMALL, OWN_WEIGHT = 0.02, 0.5
"""An extra share of time that is noise between equal hosts (time.md), and the weight of a run of one's own."""


def calibrated(over: Link, known: Sequence[Measured], *, ranks: int) -> Link:
    """The link as other programs found it on this machine: first from all of them, then from those on `ranks` too."""
    found = _nearest(over, known, around=1.0, prior=PRIOR)
    found = _nearest(over, [each for each in known if each.ranks == ranks], around=found, prior=PRIOR_OF_A_COUNT)
    return _faster(over, found)


def _nearest(over: Link, known: Sequence[Measured], *, around: float, prior: float) -> float:
    """The factor of the bandwidth with the least misfit; a large one needs more than one run to say so."""
    if not known:
        return around

    def misfit(position: float) -> float:
        link_then = _faster(over, around * math.exp(position))
        return position**2 / (2 * prior**2) + sum(
            min(abs(math.log(_predicted(each, link_then) * each.alone_s / each.together_s)) / NOISE, OUTLIER)
            for each in known
        )

    steps = [FARTHEST * (2 * index / (STEPS - 1) - 1) for index in range(STEPS)]
    return around * math.exp(min(sorted(steps, key=abs), key=misfit))


def _predicted(each: Measured, over: Link) -> float:
    return slow_down(each.alone_s, Topology(each.ranks, over), size_bytes=each.size_bytes)


def _faster(over: Link, factor: float) -> Link:
    return replace(over, bandwidth_bytes_per_s=over.bandwidth_bytes_per_s * factor, slowdown=over.slowdown / factor)


def corrected(slow: float, *, predicted: float, measured: float) -> float:
    """The predicted slow-down after a measured one of the same program on fewer ranks: half of its surprise is kept.

    Weights of 0, 0.5, 0.7 and 1 left 6.3, 5.6, 5.8 and 6.7 % of error on 603 rows with a run on two GPUs.
    """
    surprise: float = (max(measured - 1, 0.0) + SMALL) / (max(predicted - 1, 0.0) + SMALL)
    kept: float = surprise**OWN_WEIGHT
    return 1 + (slow - 1) * kept


def brief(seconds: float) -> str:
    """A part of a step as people say it: "4 ms"."""
    return f"{format_number(seconds * 1000)} ms" if seconds < 1 else format_duration(seconds)


def megabytes(size_bytes: float) -> str:
    """Gradients as people say them: "33 MB"."""
    size = size_bytes / 1e6
    return f"{format_number(size)} MB" if size < 1000 else f"{format_number(size / 1000)} GB"
