"""Offers -> what the planner needs of each: set-up, waiting, billing, pace. What is not stated is assumed, and said."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data.places import place_facts
from gpuplan.model import Assumption
from gpuplan.place.interruptions import best_interval_s, repeats, useful_share
from gpuplan.place.problem import Rentable
from gpuplan.units import format_bytes, format_duration

if TYPE_CHECKING:
    from gpuplan.model import Offer

__all__ = [
    "ASSUMED_MACHINES",
    "OWN_PLACES",
    "SLURM",
    "Load",
    "Spot",
    "assumptions_of",
    "rentable_of",
    "setup_s",
    "spot_of",
]

SLURM = "slurm"
OWN_PLACES = frozenset({"local", SLURM})
"""Nothing is rented there."""
BOOT_S = 120.0
"""From asking for a machine to a shell without an image; assumed. SkyPilot and market users report 1 to 5 minutes."""
IMAGE_BYTES = 8e9
"""Of a PyTorch image with CUDA, as it is downloaded and unpacked; assumed."""
DOWNLOAD_BYTES_PER_S = 25e6
"""200 Mbit/s; assumed."""
BILLING_S = 3600.0
"""Of a place whose billing unit is not known: whole hours, the most that anybody bills."""
ASSUMED_MACHINES = 8
"""Of an offer that does not say how many there are: a list price."""
DOWN_S = 7200.0
"""From losing a spot machine to having one again: 0.8 to 3.6 h on the public traces (placement.md, section 6)."""
SLOWEST_PACE = 5.0
"""A spot machine on which runs take more than so many times as long is not worth planning with."""
PACE_STEP = 0.005
"""Paces are rounded up to this, so that offers that are alike share their times."""
NODES_ARE_UP = Assumption(
    text="Slurm nodes are up and see the inputs: nothing is counted for boot, image or download",
    change="`--offers FILE.csv` with `place` slurm and `startup_s`",
)


class Load(NamedTuple):
    """What every machine has to have before its first run, and how runs go on after an interruption.

    Attributes:
        input_bytes: data to bring to a machine.
        checkpoint_s: to write the largest checkpoint.
        interval_s: between checkpoints, by GPU, where the spec says it.
        resumes: whether an interrupted run goes on from its checkpoint.
        longest_s: the longest run, by GPU.
        disk_bytes: of the largest run.
    """

    input_bytes: float
    checkpoint_s: float
    interval_s: dict[str, float]
    resumes: bool
    longest_s: dict[str, float]
    disk_bytes: float


class Spot(NamedTuple):
    """What being interrupted does.

    Attributes:
        per_h: how often, in an hour that the machine is there.
        pace: how many times as long everything takes in the mean.
        is_assumed: whether the rate is not the offer's own.
        restart_s: from having a machine again until runs go on.
        interval_s: of work between two checkpoints; infinite where nothing resumes a run.
        undisturbed: how many times as long everything takes if nothing is interrupted: checkpoints are written.
    """

    per_h: float
    pace: float
    is_assumed: bool
    restart_s: float = 0.0
    interval_s: float = math.inf
    undisturbed: float = 1.0


def rentable_of(offer: Offer, load: Load, *, memory_bytes: int) -> Rentable | str:
    """The offer for the planner, or why it cannot be planned with."""
    price = offer.price_usd_per_h
    if price is None and offer.place not in OWN_PLACES:
        return "it is not sold by the hour"
    if offer.disk_bytes is not None and offer.disk_bytes < load.disk_bytes + load.input_bytes:
        needed = format_bytes(load.disk_bytes + load.input_bytes)
        return f"its disk of {format_bytes(offer.disk_bytes)} is too small for one run and its data, {needed}"
    spot = spot_of(offer, load)
    if spot is not None and spot.pace > SLOWEST_PACE:
        return f"taken away so often that runs would take {spot.pace:.3g} times as long"
    own = offer.place in OWN_PLACES
    return Rentable(
        offer=offer.id,
        gpu=offer.gpu,
        gpu_count=offer.gpu_count,
        memory_bytes=memory_bytes,
        price_usd_per_h=price or 0.0,
        available=ASSUMED_MACHINES if offer.available is None else offer.available,
        setup_s=setup_s(offer, load),
        wait_s=offer.wait_s or 0.0,
        longest_s=offer.session_s if offer.session_s is not None else math.inf,
        spot=bool(offer.spot),
        group=offer.exclusive_with,
        billing_s=1 if own else math.ceil(offer.billing_s or BILLING_S),
        minimum_s=math.ceil(offer.minimum_s or 0.0),
        pace=spot.pace if spot else 1.0,
    )


def setup_s(offer: Offer, load: Load) -> float:
    """From the start of the bill to the first run: start-up, image, data at the stated bandwidth.

    Machines of one's own are up and see the data: of a Slurm node only what its offer states is counted.
    """
    if offer.place == "local":
        return 0.0
    if offer.place == SLURM:
        brought_s = load.input_bytes / offer.download_bytes_per_s if offer.download_bytes_per_s else 0.0
        return (offer.startup_s or 0.0) + brought_s
    rate = offer.download_bytes_per_s or DOWNLOAD_BYTES_PER_S
    startup_s = offer.startup_s if offer.startup_s is not None else BOOT_S + IMAGE_BYTES / rate
    return startup_s + load.input_bytes / rate


def spot_of(offer: Offer, load: Load) -> Spot | None:
    """What interruptions do to the load on this offer; None where it is not taken away."""
    if not offer.spot:
        return None
    stated = offer.interruptions_per_h
    per_h = place_facts("aws")["interruptions_per_h"] if stated is None else stated
    if per_h <= 0:
        return Spot(per_h, 1.0, stated is None)
    mean_s, restart_s = 3600 / per_h, setup_s(offer, load)
    if not load.resumes:
        pace = repeats(load.longest_s.get(offer.gpu, 0.0), mean_s=mean_s, restart_s=restart_s)
        return Spot(per_h, _rounded(pace), stated is None, restart_s)
    stated_s = load.interval_s.get(offer.gpu)
    saving_s = 0.0 if stated_s else load.checkpoint_s  # what the spec says is saved is in the duration
    interval_s = stated_s or best_interval_s(checkpoint_s=saving_s, mean_s=mean_s)
    share = useful_share(mean_s=mean_s, checkpoint_s=saving_s, restart_s=restart_s, interval_s=interval_s)
    pace = _rounded(1 / share if share > 0 else math.inf)
    undisturbed = interval_s / (interval_s - saving_s) if interval_s > saving_s else 1.0
    return Spot(per_h, pace, stated is None, restart_s, max(interval_s, 1.0), min(undisturbed, pace))


def _rounded(pace: float) -> float:
    return math.ceil(pace / PACE_STEP - 1e-9) * PACE_STEP if math.isfinite(pace) else pace


def assumptions_of(offer: Offer, load: Load) -> tuple[Assumption, ...]:
    """What was taken for granted of an offer, and what replaces it."""
    if offer.place in OWN_PLACES:
        return (NODES_ARE_UP,) if offer.place == SLURM and offer.startup_s is None else ()
    found = []
    rate = f"{DOWNLOAD_BYTES_PER_S * 8 / 1e6:.0f} Mbit/s"
    if offer.startup_s is None:
        boot = f"{format_duration(BOOT_S)} to boot and an image of {IMAGE_BYTES / 1e9:.0f} GB"
        found.append(f"machines are assumed to take {boot}, where their offer does not say")
    if offer.download_bytes_per_s is None and (load.input_bytes or offer.startup_s is None):
        found.append(f"{rate} of download are assumed where an offer does not say")
    if offer.billing_s is None:
        found.append(f"whole hours are assumed to be billed at {offer.place}, which is the most")
    if offer.available is None:
        found.append(f"at most {ASSUMED_MACHINES} machines of one list price are assumed to be had at once")
    if offer.upload_usd_per_gb is None:
        found.append(f"what {offer.place} charges to bring results home (egress) is not stated, and not counted")
    if offer.spot and offer.interruptions_per_h is None:
        per_h = place_facts("aws")["interruptions_per_h"]
        found.append(f"{per_h:.2f} interruptions an hour are assumed on spot machines: the median public trace")
    if offer.spot:
        found.append(f"a spot machine that is taken away is assumed to be had again after {format_duration(DOWN_S)}")
    return tuple(Assumption(text=text, change="`--offers FILE.csv` with what you know") for text in found)
