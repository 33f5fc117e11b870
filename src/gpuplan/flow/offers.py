"""The question "what can one have, and for how much": sources chosen, asked, filtered. Fresh prices only on request."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data import gpu_readings, near_gpus
from gpuplan.errors import UserError
from gpuplan.model import Compute
from gpuplan.offers import Offered, offers
from gpuplan.offers.gpuhunt import Hunt
from gpuplan.offers.refresh import MARKETS, refresh
from gpuplan.offers.table import Table
from gpuplan.offers.torch_build import built_for
from gpuplan.units import parse_usd
from gpuplan.world import look_at_machine
from gpuplan.world.market import NOWHERE, Sources, markets, slurm_here, this_machine

if TYPE_CHECKING:
    from pathlib import Path

    from gpuplan.flow.state import State
    from gpuplan.model import Experiment, World

__all__ = ["Asked", "Wanted", "offers_in", "offers_now", "wished"]

GPUHUNT = "gpuhunt"


class Wanted(NamedTuple):
    """What the command line says beside the spec."""

    gpus: str | None = None
    spot: bool | None = None
    max_price: str | None = None
    refresh: str | None = None
    table: Path | None = None
    python: str | None = None
    cache: Path | None = None


class Asked(NamedTuple):
    """The answer, what it was asked for, and the day of it."""

    offered: Offered
    compute: Compute
    today: str


def offers_now(experiment: Experiment | None, state: State, wanted: Wanted) -> Asked:
    """Every offer as `experiment` and `wanted` wish it, of this machine, its Slurm, the table and the markets.

    Raises UserError for what `wanted` names and is not there.
    """
    with state.reading() as store:
        world = look_at_machine(experiment, (), store=store)
    return offers_in(world, experiment, wanted)


def offers_in(world: World, experiment: Experiment | None, wanted: Wanted) -> Asked:
    """As `offers_now`, on a machine that is captured already."""
    compute = wished(experiment, wanted)
    named = _named(wanted.refresh)
    asked = [name for name in named if name != GPUHUNT]
    failed = refresh(asked, compute, today=world.today, folder=wanted.cache) if asked else ()
    hunts = [Hunt(world.today)] if GPUHUNT in named else []
    near = _sources(world, compute, wanted)
    places = compute.on if set(compute.on) != {"local"} else []
    gpus = [name for stage in (experiment.stages if experiment else []) for name in stage.gpus]
    offered = offers(
        compute,
        *near.asked,
        *hunts,
        today=world.today,
        gpus=gpus if compute.gpus else (),
        places=places,
        known=world.gpus,
        architectures=built_for(wanted.python) if wanted.python else (),
    )
    return Asked(Offered(offered.offers, (*failed, *near.missing, *offered.refused)), compute, world.today)


def wished(experiment: Experiment | None, wanted: Wanted) -> Compute:
    """The spec's wishes with those of the command line in their place. Raises UserError."""
    compute = experiment.compute if experiment else Compute()
    names = wanted.gpus.split(",") if wanted.gpus else compute.gpus
    changes: dict[str, object] = {"gpus": [_known(name.strip()) for name in names]}
    if wanted.spot is not None:
        changes["spot"] = wanted.spot
    if wanted.max_price is not None:
        changes["max_price"] = _usd(wanted.max_price)
    return compute.model_copy(update=changes)


def _sources(world: World, compute: Compute, wanted: Wanted) -> Sources:
    """What is near first; a market's kept answer in place of its shipped rows."""
    own = (Table(wanted.table),) if wanted.table is not None else ()
    slurm = slurm_here(world.today) if shutil.which("scontrol") or "slurm" in compute.on else NOWHERE
    rented = markets(compute, cache=wanted.cache)
    asked = (this_machine(world), *own, *slurm.asked, *rented.asked)
    return Sources(asked, (*slurm.missing, *rented.missing))


def _named(refresh: str | None) -> list[str]:
    names = [name.strip() for name in (refresh or "").split(",") if name.strip()]
    unknown = next((name for name in names if name not in (*MARKETS, GPUHUNT)), None)
    if unknown is not None:
        raise UserError(f"--refresh {unknown}: nobody to ask", hint=f"--refresh {','.join((*MARKETS, GPUHUNT))}")
    return names


def _known(name: str) -> str:
    if not gpu_readings(name):
        near = ", ".join(near_gpus(name))
        raise UserError(
            f"no accelerator {name!r} in gpuplan's data", hint=f"near: {near}" if near else "gpuplan gpus --known"
        )
    return name


def _usd(text: str) -> float:
    try:
        price = parse_usd(text if any(mark in text.lower() for mark in ("$", "usd")) else f"{text} USD")
    except ValueError as error:
        raise UserError(f"--max-price: {error}", hint="--max-price 1.50") from None
    if price <= 0:
        raise UserError(f"--max-price {text}: nothing is for rent at that", hint="--max-price 1.50")
    return price
