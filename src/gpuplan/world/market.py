"""What can be had, as the spec wishes: this machine, shipped prices, a table of the user's. It asks no network."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.errors import UserError
from gpuplan.model import Finding, Refused
from gpuplan.offers import Offered, offers
from gpuplan.offers.base import UnavailableError
from gpuplan.offers.colab import Colab
from gpuplan.offers.local import own_machine
from gpuplan.offers.refresh import Kept, kept
from gpuplan.offers.slurm import Slurm, look
from gpuplan.offers.snapshot import Snapshot
from gpuplan.offers.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gpuplan.model import Compute, Experiment, World
    from gpuplan.offers.base import Source
    from gpuplan.world.asked import Asked

__all__ = ["NOWHERE", "Sources", "markets", "slurm_here", "this_machine", "with_offers"]

OWN = ("local", "slurm")


class Sources(NamedTuple):
    """Where offers are gathered from, and who has none, with the reason."""

    asked: tuple[Source, ...]
    missing: tuple[Refused, ...] = ()


NOWHERE = Sources(())


class _Part(NamedTuple):
    """What was gathered of some sources, and what one should be told that they did not give; `table`: of that file."""

    offered: Offered
    left_out: tuple[Refused, ...] = ()
    table: Path | None = None


def with_offers(world: World, experiment: Experiment, asked: Asked) -> World:
    """The world with every offer that the spec wishes for, and those that would do if they stated more.

    Raises UserError for a table that is not there.
    """
    parts = list(_parts(world, experiment, asked))
    return world.model_copy(
        update={
            "offers": tuple(offer for part in parts for offer in part.offered.offers),
            "unstated": tuple(one for part in parts for one in part.offered.unstated),
            "oddities": (*world.oddities, *(note for part in parts for note in _oddities(part))),
        }
    )


def this_machine(world: World, compute: Compute | None = None) -> Source:
    """The devices that we are on, with the disk of the current folder where the world does not say."""
    free_bytes = world.disk_free_bytes or shutil.disk_usage(Path.cwd()).free
    return own_machine(world.machine, compute, disk_bytes=free_bytes)


def slurm_here(today: str) -> Sources:
    """The Slurm of this machine."""
    try:
        return Sources((Slurm(look(), today),))
    except UnavailableError as error:
        return Sources((), (Refused(offer="slurm", place="slurm", reason=error.message, kind="source"),))


def markets(compute: Compute, *, cache: Path | None = None) -> Sources:
    """Answers that were asked for before and hold all that `compute` wishes, and the shipped prices of the others."""
    answers = kept(cache)
    fresh = [answer for answer in answers if isinstance(answer, Kept) and answer.covers(compute)]
    missing = [answer if isinstance(answer, Refused) else _other(answer) for answer in answers if answer not in fresh]
    return Sources((*fresh, Snapshot(without=[answer.name for answer in fresh]), Colab()), tuple(missing))


def _parts(world: World, experiment: Experiment, asked: Asked) -> Iterator[_Part]:
    """One's own machines, the user's table, the markets: each with the places that it may be at."""
    on = set(experiment.compute.on)
    if "local" in on and not asked.anywhere:
        yield _Part(_gathered(world, experiment, (this_machine(world, experiment.compute),)))
    if "slurm" in on:
        slurm = slurm_here(world.today)
        yield _Part(_gathered(world, experiment, slurm.asked), slurm.missing)
    if asked.table is not None:
        own = _of_table(world, experiment, asked.table)
        yield _Part(own, _untold(own), asked.table)
    if asked.anywhere or on - set(OWN):
        found = markets(experiment.compute, cache=asked.cache)
        places = () if asked.anywhere else tuple(sorted(on - {"local"}))
        rented = _gathered(world, experiment, found.asked, places=places)
        yield _Part(rented, (*found.missing, *_untold(rented)))


def _gathered(
    world: World, experiment: Experiment, sources: Iterable[Source], *, places: tuple[str, ...] = ()
) -> Offered:
    return offers(
        experiment.compute, *sources, today=world.today, gpus=_tiers(experiment), places=places, known=world.gpus
    )


def _of_table(world: World, experiment: Experiment, path: Path) -> Offered:
    """The user's own offers; a file that is no such table is named, and the plan comes without it."""
    try:
        return _gathered(world, experiment, (Table(path),))
    except UserError as error:
        if not path.is_file():
            raise
        return Offered((), (Refused(offer=path.name, place=path.stem, reason=error.message, kind="source"),))


def _other(answer: Kept) -> Refused:
    reason = (
        f"its answer of {answer.as_of} was for other wishes and is not used; --refresh {answer.name} asks for these"
    )
    return Refused(offer=answer.name, place=answer.name, reason=reason, kind="source")


def _tiers(experiment: Experiment) -> tuple[str, ...]:
    """The GPUs of the stages, where the spec names GPUs at all."""
    tiers = tuple(name for stage in experiment.stages for name in stage.gpus)
    return tiers if experiment.compute.gpus else ()


def _untold(offered: Offered) -> tuple[Refused, ...]:
    """What was left out for another reason than the wishes of the spec."""
    return tuple(one for one in offered.refused if one.kind in {"source", "bad"})


def _oddities(part: _Part) -> Iterator[Finding]:
    """What gave nothing, and how many rows cannot be true."""
    bad = [one for one in part.left_out if one.kind == "bad"]
    messages = [f"{one.offer}: {one.reason}" for one in part.left_out if one.kind == "source"]
    if bad:
        count = f"{len(bad):,} offer{'s' * (len(bad) != 1)}"
        messages.append(f"{count} left out, the first: {bad[0].offer}: {bad[0].reason}")
    words = f"gpuplan offers SPEC --from {part.table} --why-not" if part.table else "gpuplan offers SPEC --why-not"
    for message in messages:
        yield Finding(
            severity="warning" if part.table else "note",
            check="offers",
            message=message,
            place="",
            because="",
            fix=f"`{words}` has them all",
        )
