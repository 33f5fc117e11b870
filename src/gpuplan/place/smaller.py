"""The same runs with smaller micro-batches and as many samples a step, so that smaller cards will do. It picks none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.estimate import estimate
from gpuplan.expand import shape_of
from gpuplan.place.needs import needs_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuplan.model import Estimate, Experiment, Run, World
    from gpuplan.place.market import Market, Stage
    from gpuplan.place.needs import Work

__all__ = ["Smaller", "smaller", "with_parts"]

MOST_PARTS = 64
ACCUMULATION = "gradient_accumulation"
"""The setting of a program that has none for it."""


class Smaller(NamedTuple):
    """A market in which runs are cut so that they fit on more GPUs; the micro-batch of each GPU's most cut class."""

    market: Market
    micro_batches: dict[str, int]


class Cut(NamedTuple):
    """A run with its micro-batch in parts, in the experiment whose roles say so."""

    run: Run
    experiment: Experiment
    micro_batch: int


def with_parts(run: Run, experiment: Experiment, parts: int) -> Cut | None:
    """The run with a micro-batch of so many parts of its own, and as many more accumulated; None if it does not divide.

    A step has the same samples. The accumulation is a setting, so that no measurement of the whole run is taken for it.
    """
    shape, roles = shape_of(run, experiment), experiment.roles
    if not shape.micro_batch or shape.micro_batch % parts:
        return None
    micro_batch = shape.micro_batch // parts
    accumulation = roles.accumulation if isinstance(roles.accumulation, str) else ACCUMULATION
    settings = run.settings | {accumulation: shape.accumulation * parts}
    changes: dict[str, object] = {"accumulation": accumulation}
    if isinstance(roles.micro_batch, str):
        settings[roles.micro_batch] = micro_batch
    elif roles.micro_batch is not None:
        changes["micro_batch"] = micro_batch
    changed = experiment.model_copy(update={"roles": roles.model_copy(update=changes)})
    return Cut(run.model_copy(update={"settings": settings}), changed, micro_batch)


def smaller(market: Market, gpus: Iterable[str]) -> Smaller | None:
    """The market on these GPUs alone, each class cut as little as makes it fit; None where that makes none fit."""
    wanted = tuple(gpus)
    micro_batches: dict[str, int] = {}
    stages = []
    for stage in market.stages:
        works = []
        for work in stage.needs.works.values():
            cuts = {gpu: found for gpu in wanted if (found := _least_cut(work, gpu, market))}
            for gpu, (size, _) in cuts.items():
                if size is not None:
                    micro_batches[gpu] = min(size, micro_batches.get(gpu, size))
            works.append(replace(work, estimates={gpu: found for gpu, (_, found) in cuts.items()}))
        stages.append(_with_works(stage, works, market))
    if not micro_batches:
        return None
    return Smaller(replace(market, stages=tuple(stages)), micro_batches)


def _least_cut(work: Work, gpu: str, market: Market) -> tuple[int | None, Estimate] | None:
    """The estimate on this GPU with the least cut that fits safely; None as the size where none is needed."""
    now = work.estimates.get(gpu)
    if now is None or market.search.keep_going() is False:
        return None
    if now.memory.fits in {"OK", "UNKNOWN"}:
        return None, now
    parts = 2
    while parts <= MOST_PARTS:
        cut = with_parts(work.first, market.experiment, parts)
        if cut is None:
            return None
        found = _estimated(cut, gpu, market.world)
        if found.memory.fits == "OK":
            return cut.micro_batch, found
        parts *= 2
    return None


def _estimated(cut: Cut, gpu: str, world: World) -> Estimate:
    return estimate(cut.run, cut.experiment, world.gpus[gpu], world)


def _with_works(stage: Stage, works: list[Work], market: Market) -> Stage:
    needs = stage.needs
    again = needs_of(works, market.experiment, needs.offers.values(), world=market.world, cautious=needs.cautious)
    return stage._replace(needs=again)
