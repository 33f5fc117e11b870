"""Sweeps on the shipped prices, without a look at this machine: the same world wherever the tests run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuplan.data import gpus
from gpuplan.expand import expand
from gpuplan.model import Compute, Device, Experiment, Machine, Offer, World
from gpuplan.offers import offers
from gpuplan.offers.colab import Colab
from gpuplan.offers.snapshot import Snapshot
from gpuplan.place.market import market_of
from gpuplan.place.on_market import on_market
from gpuplan.place.search import Search
from gpuplan.spec import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuplan.place.market import Market
    from gpuplan.place.on_market import Chosen

TODAY = "2026-11-20"
EXAMPLES = Path(__file__).parents[2] / "examples"
GB = 10**9
QUICK = Search(rounds=0)
SWEEP: dict[str, Any] = {
    "name": "sweep",
    "command": "python train.py --lr {lr} --width {width} --batch {batch} --out {run_dir}",
    "settings": {"batch": 16, "steps": 20_000},
    "vary": {"width": [512, 1024], "lr": [0.001, 0.0005]},
    "roles": {"micro_batch": "batch", "steps": "steps", "sequence": 256, "learning_rate": "lr"},
    "footprint": {
        "model": {
            "kind": "decoder", "layers": 12, "d_model": "width", "heads": 8, "feedforward": 2048, "vocabulary": 32_000,
        }
    },
    "checkpoint": {"every": "1000 steps", "keep": 1, "resume": "--resume {checkpoint}"},
    "compute": {"on": ["vast"]},
}  # fmt: skip


def experiment(**changed: Any) -> Experiment:
    """The sweep with some of its keys changed; None takes one away."""
    keys = SWEEP | changed
    return Experiment.model_validate({key: value for key, value in keys.items() if value is not None})


def example(name: str, *overrides: str) -> Experiment:
    return load(str(EXAMPLES / f"{name}.yaml"), overrides).experiment


def offer(name: str = "a/1", **changed: Any) -> Offer:
    """One RTX 4090 for 0.40 USD an hour, billed by the second, of which there are four."""
    stated: dict[str, Any] = {
        "id": name, "place": "a-place", "gpu": "RTX 4090", "gpu_count": 1, "price_usd_per_h": 0.4, "available": 4,
        "billing_s": 1, "startup_s": 60, "download_bytes_per_s": 1e9, "spot": False, "as_of": TODAY, "source": "here",
    }  # fmt: skip
    return Offer.model_validate(stated | changed)


def world(*offered: Offer, gpu: str = "AMD EPYC", **changed: Any) -> World:
    machine = Machine(
        cpu="AMD EPYC", cores=2, memory_bytes=24 * GB, devices=(Device(index=0, gpu=gpu, memory_bytes=24 * GB),)
    )
    known = gpus()
    here = {gpu: known["RTX 4090"].model_copy(update={"name": gpu})} if gpu not in known else {}
    return World(today=TODAY, machine=machine, gpus=known | here, offers=offered, **changed)


def snapshot(compute: Compute, *, places: Sequence[str] = (), gpus: Sequence[str] = ()) -> World:
    """The shipped prices as `compute` wishes them."""
    found = offers(compute, Snapshot(), Colab(), today=TODAY, places=places, gpus=gpus)
    return world(*found.offers).model_copy(update={"unstated": found.unstated})


def market(of: Experiment, *offered: Offer, cautious: bool = False) -> Market:
    return market_of(of, expand(of), offered, world=world(*offered), search=QUICK, cautious=cautious)


def chosen(of: Experiment, given: World, *, cautious: bool = False) -> Chosen:
    return on_market(of, expand(of), world=given, search=QUICK, cautious=cautious)
