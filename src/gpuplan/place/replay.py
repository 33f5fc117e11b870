"""A plan played with other durations than it was made for: when it ends, what it costs. It never plans anew.

Runs keep their machines and their order; each starts when its GPUs are free. With the planned durations the result
is the plan, to the second and the cent.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.place.bill import billed_seconds, in_cents, machine_usd, total_usd
from gpuplan.place.problem import whole_seconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from gpuplan.place.problem import Assignment, Problem, Rented, Solution

__all__ = ["Replayed", "planned_seconds", "replay"]


class Replayed(NamedTuple):
    """How the plan went: the same machines with the times that came out, the bill to the cent, the last end."""

    machines: tuple[Rented, ...]
    cost_usd: Decimal
    makespan_s: int


def planned_seconds(_machine: Rented, assignment: Assignment) -> float:
    """What the plan reckons with."""
    return assignment.end_s - assignment.start_s


def no_loss(_machine: Rented, _assignment: Assignment, _start_s: int) -> float:
    """Nothing goes wrong."""
    return 0.0


def replay(
    solution: Solution,
    problem: Problem,
    *,
    seconds: Callable[[Rented, Assignment], float] = planned_seconds,
    lost: Callable[[Rented, Assignment, int], float] = no_loss,
) -> Replayed:
    """Play every machine of a plan.

    Args:
        solution: the plan.
        problem: what it was made from.
        seconds: how long the runs of an assignment take together when nothing goes wrong.
        lost: seconds of its GPUs that failed attempts and interruptions cost an assignment that starts then, on the
            clock of the time that the machine is there.
    """
    machines = tuple(_played(machine, seconds, lost) for machine in solution.machines)
    played = replace(solution, machines=machines)
    end_s = max((machine.end_s for machine in machines), default=0)
    return Replayed(machines, in_cents(total_usd(played, problem)), end_s)


def _played(
    machine: Rented,
    seconds: Callable[[Rented, Assignment], float],
    lost: Callable[[Rented, Assignment, int], float],
) -> Rented:
    ready_s = whole_seconds(machine.offer.wait_s) + whole_seconds(machine.offer.setup_s)
    free_s = [ready_s] * machine.offer.gpu_count
    played = []
    for one in sorted(machine.assignments, key=lambda one: (one.start_s, one.gpus)):
        start_s = max(free_s[gpu] for gpu in one.gpus)
        end_s = start_s + whole_seconds(seconds(machine, one) + lost(machine, one, start_s))
        for gpu in one.gpus:
            free_s[gpu] = end_s
        played.append(one._replace(start_s=start_s, end_s=end_s))
    draft = replace(machine, assignments=tuple(played))
    return replace(draft, billed_s=billed_seconds(draft.offer, draft.end_s), cost_usd=float(machine_usd(draft)))
