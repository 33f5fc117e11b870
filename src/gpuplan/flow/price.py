"""The question "what would it cost anywhere": a plan over every place of the snapshot, and each GPU kind alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.expand import expand
from gpuplan.flow.priced import priced, searches
from gpuplan.place.everywhere import everywhere
from gpuplan.place.search import say_nothing
from gpuplan.world import capture
from gpuplan.world.market import with_offers

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuplan.flow.state import State
    from gpuplan.model import Option, Plan
    from gpuplan.place.shown import Draft
    from gpuplan.spec import Spec
    from gpuplan.world.asked import Asked

__all__ = ["Prices", "price"]


class Prices(NamedTuple):
    """The plan on everything that can be rented, with its options; and the cheapest on each GPU kind alone."""

    plan: Plan
    by_gpu: tuple[Option, ...]


def price(spec: Spec, state: State, asked: Asked, *, say_better: Callable[[Draft], None] = say_nothing) -> Prices:
    """Price the runs that are not finished at every place, or where `asked` says, whatever `compute.on` does.

    Changes nothing.
    `say_better` as of `priced`.
    """
    runs = expand(spec.experiment)
    with state.reading() as store:
        seen = capture(spec, runs, state=state.folder, store=store, asked=asked)
    world = with_offers(seen, spec.experiment, asked)
    finished = {past.key for past in world.history if past.state == "finished"}
    todo = [run for run in runs if run.key not in finished]
    plan = priced(spec, runs, world, asked=asked, say_better=say_better)
    search, spare = searches()
    by_gpu = everywhere(spec.experiment, todo, world=world, search=search, spare=spare, cautious=asked.cautious)
    return Prices(plan, by_gpu)
