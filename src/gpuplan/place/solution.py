"""A fleet written out as a plan: which runs start when on which GPUs of which machine. It changes nothing about it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from gpuplan.place.bill import billed_seconds, machine_usd, runs_usd
from gpuplan.place.check import violations
from gpuplan.place.problem import Assignment, Rented, Solution

if TYPE_CHECKING:
    from gpuplan.place.fleet import Fleet, Machine
    from gpuplan.place.problem import Goal

__all__ = ["bounded", "solution_of"]


def solution_of(fleet: Fleet, goal: Goal, *, method: str) -> Solution:
    """The plan of a fleet, checked; machines in the order of the offers, then as they are filled."""
    tables = fleet.tables
    numbered: Counter[int] = Counter()
    rented: Counter[int] = Counter()
    machines = []
    for machine in sorted((one for one in fleet.machines if one.bundles), key=_order):
        machines.append(_rented(machine, fleet, index=rented[machine.lot.number], numbered=numbered))
        rented[machine.lot.number] += 1
    solution = Solution(
        machines=tuple(machines),
        cost_usd=0.0,
        makespan_s=max((machine.end_s for machine in machines), default=0),
        method=method,
        refused=tables.refused,
    )
    cost = sum((machine_usd(one) for one in machines), Fraction(0)) + runs_usd(solution, tables.problem)
    solution = replace(solution, cost_usd=float(cost))
    found = violations(solution, tables.problem, goal)
    if found:
        raise AssertionError(f"a plan of {method} breaks its rules: {found[0]}")
    return solution


def bounded(solution: Solution, goal: Goal, *, cost_usd: float = 0.0, makespan_s: float = 0.0) -> Solution:
    """The plan with what is proven; a bound that was known stays if it is better. The gap follows the goal."""
    bound_usd = max(solution.bound_cost_usd, cost_usd)
    bound_s = max(solution.bound_makespan_s, makespan_s)
    value, bound = (solution.cost_usd, bound_usd) if goal.kind == "cheapest" else (float(solution.makespan_s), bound_s)
    gap = (value - bound) / bound if bound > 0 else (math.inf if value > 0 else 0.0)
    return replace(solution, bound_cost_usd=bound_usd, bound_makespan_s=bound_s, gap=gap)


def _order(machine: Machine) -> tuple[int, int, tuple[object, ...]]:
    return (machine.lot.number, -machine.span_s, machine.bundles)


def _rented(machine: Machine, fleet: Fleet, *, index: int, numbered: Counter[int]) -> Rented:
    names, offers = fleet.tables.names, fleet.tables.problem.offers
    assignments = []
    for bundle, spot in zip(machine.bundles, machine.spots, strict=True):
        end_s = machine.lot.head_s + spot.end_s
        gpus = tuple(range(spot.gpu, spot.gpu + bundle.gpus))
        first = numbered[bundle.job]
        numbered[bundle.job] += bundle.runs
        start_s = end_s - bundle.seconds
        assignments.append(Assignment(names[bundle.job], first, bundle.runs, gpus, start_s, end_s))
    offer = offers[machine.lot.number]
    draft = Rented(offer, index, tuple(assignments), 0, 0.0)
    return replace(draft, billed_s=billed_seconds(offer, draft.end_s), cost_usd=float(machine_usd(draft)))
