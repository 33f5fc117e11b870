"""What goes wrong, in the intervals of cost and time: they hold what other chance and other code come to."""

from __future__ import annotations

import random
import re
import statistics
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from priced_cases import chosen, experiment, market, offer, world

from gpuplan.estimate import estimate
from gpuplan.expand import expand
from gpuplan.model import History, Quantity
from gpuplan.place import place
from gpuplan.place.failures import MOST_FAILED, failures_of
from gpuplan.place.money import Solved, data_usd, priced, usual_end_s
from gpuplan.place.problem import Goal
from gpuplan.place.rentable import DOWN_S
from gpuplan.place.replay import planned_seconds, replay

if TYPE_CHECKING:
    from gpuplan.model import Bill, Offer, World
    from gpuplan.place.market import Found
    from gpuplan.place.on_market import Chosen
    from gpuplan.place.problem import Assignment, Rented

PLAIN: dict[str, Any] = {"upload_usd_per_gb": 0.0}
SPOT: dict[str, Any] = {"spot": True, "interruptions_per_h": 0.3, **PLAIN}


def found(*offers: Offer, goal: Goal | None = None, **changed: object) -> Found:
    plan = market(experiment(**changed), *(offers or (offer(**PLAIN),))).solve(goal or Goal("cheapest"))
    assert plan is not None
    return plan


def sure(solved: Solved) -> Solved:
    """The same plan with durations that nobody doubts."""
    works = {
        name: replace(work, estimates={gpu: one.model_copy(update={"duration_s": exactly(one.duration_s.p50)})
                                       for gpu, one in work.estimates.items()})
        for name, work in solved.needs.works.items()
    }  # fmt: skip
    return solved._replace(needs=replace(solved.needs, works=works))


def sourced(solved: Solved, source: str) -> Solved:
    """The same plan with durations that come from elsewhere."""
    works = {
        name: replace(work, estimates={
            gpu: one.model_copy(update={"duration_s": one.duration_s.model_copy(update={"source": source})})
            for gpu, one in work.estimates.items()
        })
        for name, work in solved.needs.works.items()
    }  # fmt: skip
    return solved._replace(needs=replace(solved.needs, works=works))


def exactly(seconds: float) -> Quantity:
    return Quantity(p10=seconds, p50=seconds, p90=seconds, source="measured", because="here")


def total_of_lines(bill: Bill) -> float:
    return sum(line.cost_usd.p50 for line in bill.lines)


@pytest.mark.parametrize("machines", [1, 6])
@pytest.mark.parametrize("failed", [0.05, 0.1, 0.3])
def test_eight_of_ten_replays_with_failures_end_and_cost_as_foretold(failed: float, machines: int) -> None:
    goal = Goal("fastest") if machines > 1 else Goal("cheapest")
    plan = found(offer(available=machines, **PLAIN), goal=goal, seeds=list(range(6)))
    (stage,) = map(sure, plan.stages)
    assert len(stage.solution.machines) == machines
    told, dice = priced([stage], failed=failed), random.Random(machines)

    def lost(machine: Rented, one: Assignment, _start_s: int) -> float:
        lost_s = 0.0
        while dice.random() < failed:
            lost_s += dice.random() * planned_seconds(machine, one)
        return lost_s

    played = [replay(stage.solution, stage.needs.problem, lost=lost) for _ in range(400)]
    beside_usd = data_usd([stage])
    for what, came in (
        (told.makespan_s, [float(one.makespan_s) for one in played]),
        (told.bill.total_usd, [float(one.cost_usd) + beside_usd for one in played]),
    ):
        assert 0.7 < statistics.fmean(what.p10 - 0.01 <= each <= what.p90 + 0.01 for each in came) < 0.93
        assert statistics.fmean(each < what.p50 - 0.01 for each in came) < 0.67
        assert statistics.fmean(each <= what.p50 + 0.01 for each in came) > 0.33


@settings(max_examples=15, deadline=None)
@given(st.floats(0.01, 0.5), st.integers(1, 5), st.booleans(), st.sampled_from([1, 3600]))
def test_the_lines_add_up_and_failures_are_never_free(failed: float, seeds: int, spot: bool, billing_s: int) -> None:
    plan = found(offer(billing_s=billing_s, **(SPOT if spot else PLAIN)), seeds=list(range(seeds)))
    usual, told = priced(plan.stages), priced(plan.stages, failed=failed)
    assert total_of_lines(told.bill) == pytest.approx(told.bill.total_usd.p50)
    assert told == priced(plan.stages, failed=failed)
    assert told.makespan_s.p90 >= usual.makespan_s.p90
    assert told.makespan_s.p50 >= usual.makespan_s.p50
    assert told.bill.total_usd.p90 >= usual.bill.total_usd.p90 - 1e-9
    assert 0 < told.utilization <= 1


def test_no_failure_is_dearer_than_few_and_few_than_many() -> None:
    plan = found(seeds=[1, 2, 3])
    prices = [priced(plan.stages, failed=failed) for failed in (0.0, 0.1, 0.4)]
    for end in ("p50", "p90"):
        assert sorted(getattr(one.makespan_s, end) for one in prices) == [
            getattr(one.makespan_s, end) for one in prices
        ]
        assert sorted(getattr(one.bill.total_usd, end) for one in prices) == [
            getattr(one.bill.total_usd, end) for one in prices
        ]


def test_a_spot_machine_that_is_away_is_waited_for_and_not_paid() -> None:
    plan = found(offer(**SPOT), settings={"batch": 16, "steps": 300_000})
    (stage,) = map(sure, plan.stages)
    price = priced([stage])
    (machine,) = stage.solution.machines
    hours = machine.billed_s / 3600
    assert price.bill.total_usd.p50 == pytest.approx(machine.cost_usd, rel=0.01)
    assert price.bill.total_usd.p10 < price.bill.total_usd.p50 < price.bill.total_usd.p90
    assert price.makespan_s.p50 == pytest.approx(machine.end_s + 0.3 * hours * DOWN_S, rel=0.1)


def test_errors_of_times_from_logs_even_out_more_than_those_of_a_closed_form() -> None:
    plan = found(vary={"width": [512, 640, 768, 896, 1024]})
    scaled, closed = (priced([sourced(one, source) for one in plan.stages]) for source in ("scaled", "closed_form"))
    assert scaled.bill.total_usd.p50 == closed.bill.total_usd.p50
    assert closed.bill.total_usd.p10 < scaled.bill.total_usd.p10
    assert scaled.bill.total_usd.p90 < closed.bill.total_usd.p90


def test_figures_say_what_was_drawn() -> None:
    plan, spot = found(), found(offer(**SPOT))
    assert "fail" not in priced(plan.stages).makespan_s.because
    told = priced(spot.stages, failed=0.125)
    for said in (told.makespan_s.because, told.bill.total_usd.because):
        assert "100 draws of the durations" in said
        assert "12% of all attempts failing" in said
        assert "spot machines taken away 0.3 times an hour" in said


# ---------------------------------------------------------------- which share is assumed


def applied(*states: str) -> World:
    history = tuple(History(name=f"r{at}", key=f"k{at}", state=state) for at, state in enumerate(states))
    return world(offer()).model_copy(update={"history": history})


def test_the_share_of_failures_is_that_of_the_history() -> None:
    mixed = failures_of(applied("finished", "finished", "crashed", "waiting", "preempted", "finished"))
    assert mixed.share == 0.25
    assert mixed.assumption.text.endswith("1 of 4 runs of this experiment ended badly")
    assert failures_of(applied("waiting")).share == 0
    assert failures_of(applied("finished")).share == 0
    always = failures_of(applied("crashed", "crashed"))
    assert always.share == MOST_FAILED
    assert "the most that is reckoned with: 2 of 2 runs" in always.assumption.text


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ((), "no attempt is assumed to fail"),
        (("finished",), "no attempt is assumed to fail"),
        (("finished", "crashed"), "50% of all attempts are assumed to fail"),
    ],
)
def test_a_plan_says_which_share_its_intervals_have_in_them(states: tuple[str, ...], said: str) -> None:
    answer = chosen(experiment(), applied(*states))
    assert [one for one in answer.assumptions if one.text.startswith(said)]
    expected = "50% of all attempts failing" if "crashed" in states else "draws of the durations"
    assert answer.totals.makespan_s.because.endswith(expected)
    catches = [catch for option in answer.options for catch in option.catches if "counted as failing" in catch]
    assert len(catches) == (len(answer.options) if "crashed" in states else 0)


# ---------------------------------------------------------------- a deadline is kept with it


def planned(of_deadline_s: float, *states: str, **changed: object) -> Chosen:
    return chosen(experiment(limits={"deadline": f"{of_deadline_s:.0f} s"}, **changed), applied(*states))


FLAKY = ("finished", "finished", "finished", "crashed")


def test_a_plan_keeps_its_deadline_with_what_usually_goes_wrong() -> None:
    steady = chosen(experiment(), applied())
    deadline_s = steady.totals.makespan_s.p50 * 1.02
    found = planned(deadline_s, *FLAKY)
    assert steady.options[0].gpus == 1
    assert found.options[0].gpus > 1
    assert found.options[0].makespan_s.p50 <= deadline_s
    assert max(placement.end_s.p50 for placement in found.placements) < deadline_s
    assert found.options[0].bound_usd <= steady.options[0].cost_usd.p50
    assert any(text.startswith("planned to be over ") for text in found.advice)
    assert planned(deadline_s, "finished").options[0].gpus == 1


def test_of_plans_in_time_the_cheapest_is_looked_for_and_not_the_fastest() -> None:
    deadline_s = chosen(experiment(), applied()).totals.makespan_s.p50 * 1.02
    found = planned(deadline_s, *FLAKY)
    (fastest,) = [one for one in found.options if one.kind == "fastest"]
    assert fastest.makespan_s.p50 < found.options[0].makespan_s.p50
    assert found.options[0].cost_usd.p50 < fastest.cost_usd.p50


def test_a_spot_machine_that_is_away_too_long_is_left_for_a_dearer_one() -> None:
    sure, spot = offer("sure/1", price_usd_per_h=0.9, **PLAIN), offer("spot/1", **SPOT)
    long = {"settings": {"batch": 16, "steps": 300_000}}
    free = chosen(experiment(**long), world(sure, spot)).options[0]
    assert {machine.spot for machine in free.machines} == {True}
    solved = market(experiment(**long), sure, spot).solve(Goal("cheapest"))
    assert solved is not None
    deadline = {"deadline": f"{solved.makespan_s * 1.01:.0f} s"}
    held = chosen(experiment(**long, limits=deadline), world(sure, spot)).options[0]
    assert free.makespan_s.p50 > solved.makespan_s * 1.01 >= held.makespan_s.p50


def test_where_even_the_fastest_plan_is_late_the_option_says_how_probably_and_what_is_safe() -> None:
    longest_s = max(one.duration_s.p50 for one in chosen(experiment(), applied()).estimates)
    found = planned(longest_s * 1.05 + 60, *FLAKY)
    (option, *_) = found.options
    assert option.chosen
    (late,) = [catch for catch in option.catches if catch.startswith("misses the deadline with a probability of ")]
    odds = re.search(r"of (\d+)%, usually by .*; one of .* is kept nine times of ten", late)
    assert odds is not None
    assert 50 < int(odds[1]) <= 100
    assert any("even the fastest plan found takes" in text for text in found.advice)


def test_an_option_that_keeps_the_deadline_nine_times_of_ten_is_named() -> None:
    deadline_s = chosen(experiment(seeds=[1, 2, 3]), applied()).totals.makespan_s.p50 * 1.02
    found = planned(deadline_s, *FLAKY, seeds=[1, 2, 3])
    sure = [one for one in found.options if one.makespan_s.p90 <= deadline_s]
    assert sure
    assert found.options[0] not in sure
    assert any("keeps the deadline nine times of ten" in text for text in found.advice)


@pytest.mark.parametrize("failed", [0.0, 0.2])
def test_the_usual_end_is_the_median_that_is_shown_and_the_probability_of_a_miss_that_of_the_draws(
    failed: float,
) -> None:
    plan = found(offer(**SPOT), seeds=[1, 2])
    told = priced(plan.stages, failed=failed)
    assert usual_end_s(plan.stages, failed=failed) == told.makespan_s.p50
    assert told.late(max(told.ends_s)) == 0
    assert told.late(min(told.ends_s) - 1) == 1
    assert told.late(told.makespan_s.p90) == pytest.approx(0.1, abs=0.011)


def test_a_plan_says_how_many_repeats_are_to_be_expected_of_which_the_schedule_has_none() -> None:
    failures = failures_of(applied(*FLAKY))
    assert failures.repeats(12) == pytest.approx(4)
    assert any("about 1.3 repeats in 4 runs" in one.text for one in chosen(experiment(), applied(*FLAKY)).assumptions)
    assert not [one for one in chosen(experiment(), applied()).assumptions if "repeats in" in one.text]
    assert chosen(experiment(), applied(*FLAKY)).totals.repeats == pytest.approx(4 / 3)
    of, here = experiment(), applied(*FLAKY)
    estimates = [estimate(run, of, here.gpus["AMD EPYC"], here) for run in expand(of)]
    assert place(of, expand(of), estimates=estimates, world=here).totals.repeats == pytest.approx(4 / 3)
