from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from market_worlds import GIB, QUICK, every_plan, goals, offers, problems, tiny_problems

from gpuplan.place.bill import cost_of
from gpuplan.place.check import violations
from gpuplan.place.front import front
from gpuplan.place.improve import improve, plan
from gpuplan.place.problem import Goal, Problem, Rentable, Solution, Unmet
from gpuplan.place.replay import replay

slow = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
tiny = settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
EPSILON = 1e-9


@slow
@given(problems(), goals())
def test_no_plan_breaks_a_rule_and_each_is_better_than_the_last(problem: Problem, goal: Goal) -> None:
    answers = list(improve(problem, goal, search=QUICK))
    solutions = [answer for answer in answers if isinstance(answer, Solution)]
    assert answers
    assert [type(answer) for answer in answers[len(solutions) :]] in ([], [Unmet])
    for solution in solutions:
        assert violations(solution, problem, goal) == ()
    values = [one.cost_usd if goal.kind == "cheapest" else float(one.makespan_s) for one in solutions]
    assert values == sorted(values, reverse=True)


@slow
@given(problems(), goals())
def test_the_same_problem_always_gives_the_same_answers(problem: Problem, goal: Goal) -> None:
    assert list(improve(problem, goal, search=QUICK)) == list(improve(problem, goal, search=QUICK))


@tiny
@given(tiny_problems(), st.sampled_from([math.inf, 30_000.0, 10_000.0]))
def test_no_brute_forced_plan_is_below_the_bound_or_cheaper_than_the_exact_one(
    problem: Problem, deadline_s: float
) -> None:
    answer = plan(problem, Goal("cheapest", deadline_s=deadline_s), search=QUICK)
    costs = [cost_usd for cost_usd, end_s in every_plan(problem) if end_s <= deadline_s]
    if isinstance(answer, Unmet):
        assert not answer.proven or not costs
        return
    assume(not answer.refused)
    assert answer.bound_cost_usd <= min(costs) + EPSILON
    assert answer.method.startswith("optimal among")
    groups = [offer.group for offer in problem.offers if offer.group is not None]
    if len(set(groups)) == len(groups):
        assert abs(answer.cost_usd - min(costs)) < EPSILON * max(1.0, answer.cost_usd)


@tiny
@given(tiny_problems(), st.sampled_from([math.inf, 1.0, 3.0, 10.0]))
def test_no_brute_forced_plan_is_over_before_the_bound(problem: Problem, budget_usd: float) -> None:
    answer = plan(problem, Goal("fastest", budget_usd=budget_usd), search=QUICK)
    ends = [end_s for cost_usd, end_s in every_plan(problem) if cost_usd <= budget_usd]
    if isinstance(answer, Unmet):
        assert not answer.proven or not ends
        return
    assume(not answer.refused)
    assert answer.bound_makespan_s <= min(ends)


@tiny
@given(tiny_problems(), st.sampled_from([math.inf, 3.0, 10.0]))
def test_no_brute_forced_plan_is_as_fast_as_the_fastest_for_less(problem: Problem, budget_usd: float) -> None:
    groups = [offer.group for offer in problem.offers if offer.group is not None]
    assume(len(set(groups)) == len(groups))
    answer = plan(problem, Goal("fastest", budget_usd=budget_usd), search=QUICK)
    assume(isinstance(answer, Solution) and not answer.refused)
    assert isinstance(answer, Solution)
    as_fast = min(cost_usd for cost_usd, end_s in every_plan(problem) if end_s <= answer.makespan_s)
    assert abs(answer.cost_usd - as_fast) < EPSILON * max(1.0, answer.cost_usd)


@slow
@given(tiny_problems())
def test_no_brute_forced_plan_of_ones_own_machines_is_over_before_the_bound(problem: Problem) -> None:
    free = tuple(replace(offer, price_usd_per_h=0.0, group=None) for offer in problem.offers)
    problem = replace(problem, offers=free)
    answer = plan(problem, Goal("fastest"), search=QUICK)
    if isinstance(answer, Solution) and not answer.refused:
        assert answer.bound_makespan_s <= min(end_s for _, end_s in every_plan(problem))


@slow
@given(problems(), st.floats(1.0, 40.0), st.floats(1.0, 4.0))
def test_more_budget_is_never_slower(problem: Problem, budget_usd: float, factor: float) -> None:
    poor = plan(problem, Goal("fastest", budget_usd=budget_usd), search=QUICK)
    assume(isinstance(poor, Solution))
    assert isinstance(poor, Solution)
    rich = plan(problem, Goal("fastest", budget_usd=budget_usd * factor), search=QUICK, known=[poor])
    assert isinstance(rich, Solution)
    assert rich.makespan_s <= poor.makespan_s


@slow
@given(problems(), offers("another"), st.sampled_from([math.inf, 20_000.0]))
def test_one_more_offer_is_never_dearer(problem: Problem, another: Rentable, deadline_s: float) -> None:
    goal = Goal("cheapest", deadline_s=deadline_s)
    before = plan(problem, goal, search=QUICK)
    assume(isinstance(before, Solution) and not before.refused)
    assert isinstance(before, Solution)
    after = plan(replace(problem, offers=(*problem.offers, another)), goal, search=QUICK, known=[before])
    assert isinstance(after, Solution)
    assert after.cost_usd <= before.cost_usd


@settings(slow, max_examples=15)
@given(problems(classes=2, machines=3))
def test_a_later_deadline_never_costs_more_on_the_front(problem: Problem) -> None:
    points = front(problem, points=4, search=QUICK)
    assert [one.makespan_s for one in points] == sorted(one.makespan_s for one in points)
    assert [one.cost_usd for one in points] == sorted((one.cost_usd for one in points), reverse=True)
    assert all(one.bound_cost_usd <= one.cost_usd for one in points)


@slow
@given(problems(), goals())
def test_a_replay_with_the_planned_durations_is_exact_to_the_cent(problem: Problem, goal: Goal) -> None:
    answer = plan(problem, goal, search=QUICK)
    if isinstance(answer, Solution):
        played = replay(answer, problem)
        assert played.cost_usd == cost_of(answer, problem)
        assert abs(float(played.cost_usd) - answer.cost_usd) <= 0.005 + EPSILON
        assert played.makespan_s == answer.makespan_s
        assert played.machines == tuple(
            replace(one, assignments=tuple(sorted(one.assignments, key=lambda each: (each.start_s, each.gpus))))
            for one in answer.machines
        )


@slow
@given(problems())
def test_longer_runs_never_end_a_replay_sooner(problem: Problem) -> None:
    answer = plan(problem, Goal("cheapest"), search=QUICK)
    if isinstance(answer, Solution) and answer.machines:
        played = replay(answer, problem, lost=lambda _machine, one, _start_s: 60.0 if one.first == 0 else 0.0)
        assert played.makespan_s >= answer.makespan_s
        assert float(played.cost_usd) >= answer.cost_usd - 0.005


@slow
@given(problems())
def test_every_class_is_placed_or_refused_with_a_reason_for_each_kind(problem: Problem) -> None:
    huge = replace(problem.jobs[0], name="huge", memory_bytes=dict.fromkeys(problem.jobs[0].duration_s, 900 * GIB))
    answer = plan(replace(problem, jobs=(*problem.jobs, huge)), Goal("cheapest"), search=QUICK)
    refusals = {one.job: one.reasons for one in answer.refused}
    assert set(refusals["huge"]) == {offer.gpu for offer in problem.offers}
    placed = {one.job for machine in getattr(answer, "machines", ()) for one in machine.assignments}
    assert placed | set(refusals) == {one.name for one in problem.jobs} | {"huge"} or isinstance(answer, Unmet)
