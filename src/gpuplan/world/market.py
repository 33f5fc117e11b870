"""What can be had, as the spec wishes: this machine, shipped prices, a table of the user's. It asks no network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuplan.model import Finding, Refused
from gpuplan.offers import offers
from gpuplan.offers.base import UnavailableError
from gpuplan.offers.colab import Colab
from gpuplan.offers.local import Local
from gpuplan.offers.refresh import Kept, kept
from gpuplan.offers.slurm import Slurm, look
from gpuplan.offers.snapshot import Snapshot
from gpuplan.offers.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuplan.model import Experiment, Offer, World
    from gpuplan.offers.base import Source
    from gpuplan.world.asked import Asked

__all__ = ["with_offers"]

OWN = ("local", "slurm")


def with_offers(world: World, experiment: Experiment, asked: Asked) -> World:
    """The world with every offer that the spec wishes for, and those that would do if they stated more.

    Raises UserError for a table that is not there.
    """
    on = set(experiment.compute.on)
    markets = asked.anywhere or bool(on - set(OWN))
    missing: list[Refused] = []
    found: list[Offer] = []
    unstated: list[Refused] = []
    own: list[Source] = []
    if "local" in on and not asked.anywhere:
        own.append(Local(world.machine, disk_bytes=world.disk_free_bytes or None))
    if "slurm" in on:
        own += _slurm(world, missing)
    named: list[Source] = [Table(asked.table)] if asked.table else []
    for sources, places in ((own, ()), (named, ()), (_markets(asked, missing) if markets else [], on - {"local"})):
        gathered = offers(
            experiment.compute,
            *sources,
            today=world.today,
            gpus=_tiers(experiment),
            places=() if asked.anywhere else tuple(places),
            known=world.gpus,
        )
        found += gathered.offers
        unstated += gathered.unstated
        missing += [one for one in gathered.refused if one.kind in {"source", "bad"} and sources is not own]
    oddities = (*world.oddities, *_oddities(missing))
    return world.model_copy(update={"offers": tuple(found), "unstated": tuple(unstated), "oddities": oddities})


def _markets(asked: Asked, missing: list[Refused]) -> list[Source]:
    """Answers that were asked for before, and the shipped prices of all other places."""
    answers = kept(asked.cache)
    fresh = [answer for answer in answers if isinstance(answer, Kept)]
    missing += [answer for answer in answers if isinstance(answer, Refused)]
    return [*fresh, Snapshot(without=[answer.name for answer in fresh]), Colab()]


def _slurm(world: World, missing: list[Refused]) -> list[Source]:
    try:
        return [Slurm(look(), world.today)]
    except UnavailableError as error:
        missing.append(Refused(offer="slurm", place="slurm", reason=error.message, kind="source"))
        return []


def _tiers(experiment: Experiment) -> tuple[str, ...]:
    """The GPUs of the stages, where the spec names GPUs at all."""
    tiers = tuple(name for stage in experiment.stages for name in stage.gpus)
    return tiers if experiment.compute.gpus else ()


def _oddities(missing: Iterable[Refused]) -> list[Finding]:
    """What gave nothing, and how many of the user's own rows cannot be true."""
    missing = list(missing)
    bad = [one for one in missing if one.kind == "bad"]
    found = [_note(f"no offers of {one.offer}: {one.reason}") for one in missing if one.kind == "source"]
    if bad:
        found.append(_note(f"{len(bad):,} offers left out, the first: {bad[0].offer}: {bad[0].reason}"))
    return found


def _note(message: str) -> Finding:
    fix = "`gpuplan offers SPEC --why-not` has them all"
    return Finding(severity="note", check="offers", message=message, place="", because="", fix=fix)
