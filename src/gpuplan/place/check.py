"""Does a plan keep its word? Every rule again, from the problem alone, by other code than made the plan."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

from gpuplan.place.bill import billed_seconds, total_usd
from gpuplan.place.problem import whole_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.place.problem import Assignment, Goal, JobClass, Problem, Rented, Solution

__all__ = ["violations"]

CENT = 0.01
ROUNDING = 1e-9


def violations(solution: Solution, problem: Problem, goal: Goal) -> tuple[str, ...]:
    """What a plan does wrong, one sentence each; empty if it is sound."""
    return (
        *_goal_missed(solution, problem, goal),
        *_offers_overdrawn(solution, problem),
        *_runs_missed(solution, problem),
        *(fault for machine in solution.machines for fault in _machine_faults(machine, problem)),
    )


def _goal_missed(solution: Solution, problem: Problem, goal: Goal) -> Iterator[str]:
    cost_usd = float(total_usd(solution, problem))
    end_s = max((machine.end_s for machine in solution.machines), default=0)
    if abs(cost_usd - solution.cost_usd) > ROUNDING * max(1.0, cost_usd):
        yield f"costs {cost_usd:.6f} USD, not {solution.cost_usd:.6f}"
    if end_s != solution.makespan_s:
        yield f"takes {end_s} s, not {solution.makespan_s}"
    if end_s > goal.deadline_s:
        yield f"ends {end_s - goal.deadline_s:.0f} s after the deadline"
    if cost_usd > goal.budget_usd + CENT / 2:
        yield f"costs {cost_usd - goal.budget_usd:.2f} USD more than the budget"
    if solution.bound_cost_usd > cost_usd * (1 + ROUNDING):
        yield f"costs {cost_usd:.6f} USD, less than its bound {solution.bound_cost_usd:.6f}"
    if solution.bound_makespan_s > end_s:
        yield f"takes {end_s} s, less than its bound {solution.bound_makespan_s}"


def _offers_overdrawn(solution: Solution, problem: Problem) -> Iterator[str]:
    offers = {offer.offer: offer for offer in problem.offers}
    rented = Counter(machine.offer.offer for machine in solution.machines)
    groups = Counter(machine.offer.group for machine in solution.machines if machine.offer.group is not None)
    indices = Counter((machine.offer.offer, machine.index) for machine in solution.machines)
    for name, number in rented.items():
        if name not in offers or number > offers[name].available:
            yield f"rents {number} of offer {name}"
    yield from (f"rents {number} machines of group {name}" for name, number in groups.items() if number > 1)
    yield from (f"rents machine {key} twice" for key, number in indices.items() if number > 1)


def _runs_missed(solution: Solution, problem: Problem) -> Iterator[str]:
    refused = {refusal.job for refusal in solution.refused}
    placed: Counter[tuple[str, int]] = Counter()
    for machine in solution.machines:
        for one in machine.assignments:
            placed.update((one.job, number) for number in range(one.first, one.first + one.runs))
    expected = {(job.name, number) for job in problem.jobs if job.name not in refused for number in range(job.count)}
    for key in sorted(expected ^ set(placed)):
        yield f"run {key} is {'missing' if key in expected else 'not asked for'}"
    yield from (f"run {key} is placed {number} times" for key, number in placed.items() if number > 1)


def _machine_faults(machine: Rented, problem: Problem) -> Iterator[str]:
    offer = machine.offer
    jobs = {job.name: job for job in problem.jobs}
    name = f"{offer.offer}[{machine.index}]"
    for one in machine.assignments:
        yield from (f"{name}, {one.job}: {fault}" for fault in _assignment_faults(one, jobs[one.job], machine, problem))
    for gpu in range(offer.gpu_count):
        spans = sorted((one.start_s, one.end_s) for one in machine.assignments if gpu in one.gpus)
        yield from (f"{name}: GPU {gpu} is taken twice" for one, other in pairwise(spans) if other[0] < one[1])
    if machine.billed_s != billed_seconds(offer, machine.end_s):
        yield f"{name}: billed {machine.billed_s} s"
    if machine.end_s - whole_seconds(offer.wait_s) > offer.longest_s:
        yield f"{name}: kept longer than {offer.longest_s:.0f} s"


def _assignment_faults(one: Assignment, job: JobClass, machine: Rented, problem: Problem) -> Iterator[str]:
    offer = machine.offer
    if offer.gpu not in job.duration_s:
        yield f"has no estimate on {offer.gpu}"
        return
    if one.runs * job.memory_bytes[offer.gpu] > offer.memory_bytes * (1 - problem.margin):
        yield f"{one.runs} at once exceed the memory"
    if one.runs > (1 if job.gpus > 1 else problem.most_per_gpu):
        yield f"{one.runs} at once"
    if one.gpus != tuple(range(one.gpus[0], one.gpus[0] + job.gpus)) or one.gpus[-1] >= offer.gpu_count:
        yield f"a gang of {job.gpus} on GPUs {one.gpus}"
    if one.gpus[0] % job.gpus:
        yield f"GPUs {one.gpus} are not an aligned block"
    if one.start_s < whole_seconds(offer.wait_s) + whole_seconds(offer.setup_s):
        yield f"starts at {one.start_s} s, before the machine is ready"
    alone_s = job.duration_s[offer.gpu] * offer.pace
    slowdown = problem.slowdown(one.runs, job.utilization[offer.gpu]) if one.runs > 1 else 1.0
    needed_s = alone_s * slowdown + one.runs * job.transfer_s
    if one.end_s - one.start_s < math.floor(needed_s):
        yield f"has {one.end_s - one.start_s} s for {needed_s:.0f} s of work"
