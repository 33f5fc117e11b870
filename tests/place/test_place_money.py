from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from priced_cases import experiment, market, offer

from gpuplan.model import Quantity
from gpuplan.place.bill import cost_of
from gpuplan.place.draws import Spread, factors_of, played, spread_of, strands_of
from gpuplan.place.money import priced
from gpuplan.place.problem import Goal

if TYPE_CHECKING:
    from gpuplan.model import Bill, Offer
    from gpuplan.place.market import Found

PLAIN: dict[str, Any] = {"upload_usd_per_gb": 0.0}


def found(*offers: Offer, goal: Goal | None = None, **changed: object) -> Found:
    plan = market(experiment(**changed), *(offers or (offer(**PLAIN),))).solve(goal or Goal("cheapest"))
    assert plan is not None
    return plan


def lines(bill: Bill) -> dict[str, float]:
    return {line.what: line.cost_usd.p50 for line in bill.lines}


def quantity(p10: float, p50: float, p90: float) -> Quantity:
    return Quantity(p10=p10, p50=p50, p90=p90, source="measured", because="here")


def test_rent_set_up_and_rounding_add_up_to_the_bill_to_the_cent() -> None:
    plan = found(offer(billing_s=3600, startup_s=600, **PLAIN))
    price = priced(plan.stages)
    (stage,) = plan.stages
    assert round(price.bill.total_usd.p50, 2) == float(cost_of(stage.solution, stage.needs.problem))
    assert sum(lines(price.bill).values()) == pytest.approx(price.bill.total_usd.p50)
    assert set(lines(price.bill)) == {"rent", "setup", "rounding"}
    assert price.bill.hours.p50 == pytest.approx(sum(one.billed_s for one in stage.solution.machines) / 3600)
    assert price.makespan_s.p50 == plan.makespan_s


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 7),
    st.sampled_from([1, 60, 3600]),
    st.sampled_from([1, 2, 4]),
    st.integers(0, 900),
    st.floats(1.5, 9),
)
def test_the_bill_of_any_plan_is_exact_and_its_interval_in_order(
    seeds: int, billing_s: int, gpus: int, startup_s: int, tightness: float
) -> None:
    one = offer(gpu_count=gpus, price_usd_per_h=0.37 * gpus, billing_s=billing_s, startup_s=startup_s, **PLAIN)
    of = market(
        experiment(seeds=list(range(seeds))), one, offer("b", gpu="A100 SXM 80GB", price_usd_per_h=1.11, **PLAIN)
    )
    fastest = of.solve(Goal("fastest"))
    assert fastest is not None
    plan = of.solve(Goal("cheapest", deadline_s=tightness * fastest.makespan_s)) or fastest
    price, (stage,) = priced(plan.stages), plan.stages
    total = price.bill.total_usd
    assert abs(total.p50 - float(cost_of(stage.solution, stage.needs.problem))) <= 0.005 + 1e-9
    assert total.p10 <= total.p50 <= total.p90
    assert price.makespan_s.p50 == plan.makespan_s
    assert 0 < price.utilization <= 1


def test_a_card_that_waits_for_another_is_billed_as_idle() -> None:
    plan = found(
        offer(gpu_count=4, price_usd_per_h=1.6, available=1, startup_s=0, **PLAIN),
        vary={"width": [512]},
        seeds=[1, 2, 3],
    )
    price = priced(plan.stages)
    assert lines(price.bill)["idle"] == pytest.approx(lines(price.bill)["rent"] / 3)
    assert price.utilization == pytest.approx(0.75, abs=0.02)


def test_interruptions_repeated_work_and_data_have_lines_of_their_own() -> None:
    spot = offer(
        spot=True, interruptions_per_h=0.3, upload_usd_per_gb=0.09, download_usd_per_gb=0.01,
        storage_usd_per_gb_month=0.1, stopped_usd_per_gb_month=0.2,
    )  # fmt: skip
    plan = found(spot)
    bill = lines(priced(plan.stages).bill)
    pace = plan.stages[0].solution.machines[0].offer.pace
    assert bill["interruptions"] == pytest.approx(bill["rent"] * (pace - 1))
    assert "repeated work" not in bill
    assert lines(priced(plan.stages, failed=0.1).bill)["repeated work"] > 0
    runs = [work.estimates["RTX 4090"].disk_bytes.p50 * len(work.runs) for work in plan.stages[0].needs.works.values()]
    assert bill["upload"] == pytest.approx(sum(runs) / 1e9 * 0.09)
    assert bill["download"] == pytest.approx(8 * 0.01)
    assert bill["storage"] > 0


def test_ones_own_card_costs_its_electricity() -> None:
    plan = found(offer("local", place="local", price_usd_per_h=0.05))
    assert set(lines(priced(plan.stages).bill)) == {"electricity"}
    free = found(offer("local", place="local", price_usd_per_h=0.0))
    assert priced(free.stages).bill.total_usd.p90 == 0


def test_the_bill_is_as_uncertain_as_the_durations() -> None:
    plan = found(vary={"width": [512]}, settings={"batch": 16, "steps": 200_000})
    price = priced(plan.stages)
    (work,) = plan.stages[0].needs.works.values()
    one = work.estimates["RTX 4090"].duration_s
    assert price.bill.total_usd.p10 / price.bill.total_usd.p50 == pytest.approx(one.p10 / one.p50, rel=0.02)
    assert price.bill.total_usd.p90 / price.bill.total_usd.p50 == pytest.approx(one.p90 / one.p50, rel=0.02)


def test_many_classes_even_out_a_little_and_never_all() -> None:
    spreads = {f"c{number:02}": {"X": Spread(0.5, 0.5)} for number in range(40)}
    means = sorted(sum(factors.values()) / 40 for factors in factors_of(spreads))
    alone = sorted(factors["c00", "X"] for factors in factors_of({"c00": spreads["c00"]}))
    assert 1 < means[89] / means[49] < alone[89] / alone[49]
    independent = sorted(sum(factors.values()) / 40 for factors in factors_of(spreads, rho=0.0))
    assert means[89] / means[49] > independent[89] / independent[49]


def test_draws_are_the_same_each_time() -> None:
    spreads = {"a": {"X": Spread(0.2, 0.4)}, "b": {"X": Spread(0.1, 0.1)}}
    assert factors_of(spreads) == factors_of(spreads)


@given(st.floats(0.01, 1), st.floats(1, 1e6), st.floats(1, 100))
def test_a_split_log_normal_goes_through_its_quantiles(low: float, middle: float, high: float) -> None:
    spread = spread_of(quantity(low * middle, middle, high * middle))
    assert middle * spread.factor(-1.2816) == pytest.approx(low * middle)
    assert middle * spread.factor(1.2816) == pytest.approx(high * middle)
    assert spread.factor(0) == 1


def test_played_as_planned_a_machine_ends_as_planned() -> None:
    plan = found(offer(gpu_count=2, price_usd_per_h=0.8, **PLAIN), seeds=[1, 2, 3])
    for machine in plan.stages[0].solution.machines:
        result = played(machine, strands_of(machine), {})
        assert result.end_s == machine.end_s
        assert result.busy_s == sum((one.end_s - one.start_s) * len(one.gpus) for one in machine.assignments)


def test_cautious_plans_still_tell_the_median() -> None:
    usual, cautious = (
        market(experiment(), offer(**PLAIN), cautious=cautious).solve(Goal("cheapest")) for cautious in (False, True)
    )
    assert usual is not None
    assert cautious is not None
    assert cautious.cost_usd > 1.2 * usual.cost_usd
    assert priced(cautious.stages).bill.total_usd.p50 == pytest.approx(
        priced(usual.stages).bill.total_usd.p50, rel=0.01
    )


def test_a_thousand_runs_are_billed_in_a_moment() -> None:
    plan = found(offer(available=100, **PLAIN), seeds=list(range(250)), goal=Goal("cheapest", deadline_s=86_400))
    started = time.process_time()
    priced(plan.stages)
    assert time.process_time() - started < 1.0
