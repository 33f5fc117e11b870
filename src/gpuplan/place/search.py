"""What every search of this folder shares: how hard to try, when to stop, and how long anything can take at most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuplan.place.highs import Effort

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuplan.place.tables import Tables

__all__ = ["Search", "always", "horizon_s", "is_large", "say_nothing"]

LARGE_CLASSES = 150
"""With more classes there are so many bundles that their fractions cost little and whole ones much time."""


def always() -> bool:
    """Go on."""
    return True


def say_nothing(_news: object) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Search:
    """How hard to try.

    Attributes:
        keep_going: asked often; when it says no, the best plan so far is the answer. Only a clock outside makes a
            search unrepeatable: without one the same problem always gives the same plan.
        effort: when HiGHS stops.
        rounds: of emptying machines and filling them again; without any, a plan within the effort's gap is enough.
    """

    keep_going: Callable[[], bool] = always
    effort: Effort = Effort()  # noqa: RUF009  a tuple: nobody can change it
    rounds: int = 300

    def is_content(self, gap: float) -> bool:
        """Whether nothing better than that is looked for."""
        return not self.rounds and gap <= self.effort.gap


def horizon_s(tables: Tables) -> int:
    """No sensible plan takes longer than everything in sequence on the machine that is ready last."""
    return tables.work_s + max((lot.head_s for lot in tables.lots), default=0)


def is_large(tables: Tables) -> bool:
    """Whether the mix may cut bundles into fractions: the schedule makes them whole."""
    return len(tables.counts) > LARGE_CLASSES
