"""What goes wrong, in the intervals of cost and time: they hold what other chance and other code come to."""

from __future__ import annotations

import random
import statistics
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from priced_cases import chosen, experiment, market, offer, world

from gpuplan.model import History, Quantity
from gpuplan.place.failures import MOST_FAILED, failures_of
from gpuplan.place.money import Solved, data_usd, priced
from gpuplan.place.problem import Goal
from gpuplan.place.rentable import DOWN_S
from gpuplan.place.replay import planned_seconds, replay

if TYPE_CHECKING:
    from gpuplan.model import Bill, Offer, World
    from gpuplan.place.market import Found
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


def test_a_deadline_that_holds_only_if_nothing_fails_is_said_to_be_missed() -> None:
    alone = chosen(experiment(), applied()).totals.makespan_s.p50
    limits = {"deadline": f"{alone * 1.02:.0f} s"}
    (option, *_) = chosen(experiment(limits=limits), applied("finished", "crashed")).options
    assert any(catch.startswith("likelier than not to miss the deadline") for catch in option.catches)
