"""What a sweep would cost on each GPU kind alone, wherever that is cheapest. It chooses none."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gpuplan.place.catches import Frame
from gpuplan.place.failures import failures_of
from gpuplan.place.market import market_of, offered_gpus
from gpuplan.place.problem import Goal
from gpuplan.place.shown import Candidate, Shown, option_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuplan.model import Experiment, Option, Run, World
    from gpuplan.place.problem import Rentable
    from gpuplan.place.search import Search

__all__ = ["everywhere"]


def everywhere(
    experiment: Experiment,
    runs: Sequence[Run],
    *,
    world: World,
    search: Search,
    spare: Callable[[], Search],
    cautious: bool = False,
) -> tuple[Option, ...]:
    """The cheapest plan on each GPU kind on offer, the cheapest first; kinds that the runs do not fit on are left out.

    Each is searched for with a `spare` search, while `search` may go on. The tiers of stages are not looked at, nor
    the limits; offers that do not state all that is wished for count too.
    """
    stated = [one.stated for one in world.unstated if one.stated is not None]
    offers = (*world.offers, *stated)
    market = market_of(experiment, runs, offers, world=world, search=search, spare=spare, cautious=cautious)
    frame = Frame(world.today, experiment.limits, {one.offer: one.reason for one in world.unstated})
    shown = Shown(frame, failures_of(world).share)
    options = []
    for gpu in offered_gpus(offers) if runs else ():
        if not search.keep_going():
            break
        found = market.quick.solve(Goal("cheapest"), keep=partial(_is, gpu), tiers=False)
        if found is not None:
            options.append(option_of(Candidate("cheapest", gpu, found, market), shown))
    return tuple(sorted(options, key=lambda option: (option.cost_usd.p50, option.title)))


def _is(gpu: str, offer: Rentable) -> bool:
    return offer.gpu == gpu
