from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from priced_cases import QUICK, TODAY, chosen, experiment, market, offer, snapshot, world

from gpuplan.expand import expand, shape_of
from gpuplan.model import Compute, History, Refused
from gpuplan.place.everywhere import everywhere
from gpuplan.place.improve import plan
from gpuplan.place.market import worth_having
from gpuplan.place.on_market import on_market
from gpuplan.place.problem import Goal
from gpuplan.place.smaller import with_parts

if TYPE_CHECKING:
    from gpuplan.model import Finding, Option
    from gpuplan.place.on_market import Chosen
    from gpuplan.place.shown import Draft

A100 = offer("b/1", gpu="A100 SXM 80GB", price_usd_per_h=1.6, upload_usd_per_gb=0.0)
CARD = offer("a/1", upload_usd_per_gb=0.0)
LOCAL = offer("local", place="local", price_usd_per_h=0.0, available=1, as_of="now")
LONG = {"seeds": [1, 2, 3]}


def by_kind(found: Chosen) -> dict[str, Option]:
    return {option.kind: option for option in found.options}


def only(found: Chosen, check: str) -> Finding:
    (finding,) = [one for one in found.findings if one.check == check]
    return finding


# ---------------------------------------------------------------- options


def test_the_cheapest_is_ticked_and_the_others_differ_in_kind() -> None:
    own = LOCAL.model_copy(update={"gpu": "RTX 3090"})
    found = chosen(experiment(**LONG), world(CARD, A100, own, gpu="RTX 3090"))
    assert [option.chosen for option in found.options] == [True] + [False] * (len(found.options) - 1)
    kinds = [option.kind for option in found.options]
    assert len(set(kinds)) == len(kinds)
    assert kinds[0] == "cheapest"
    assert {"fastest", "own_and_rented"} <= set(kinds)
    assert 3 <= len(kinds) <= 6
    assert found.totals.cost_usd == found.options[0].cost_usd
    assert found.totals.makespan_s == found.options[0].makespan_s


def test_the_fastest_costs_at_most_the_budget_or_three_times_the_cheapest_and_says_which() -> None:
    free = by_kind(chosen(experiment(**LONG), world(CARD, A100)))
    assert "within 3 times the cheapest" in free["fastest"].title
    assert free["fastest"].cost_usd.p50 <= 3.01 * free["cheapest"].cost_usd.p50
    assert free["fastest"].makespan_s.p50 < free["cheapest"].makespan_s.p50
    budget = 1.2 * free["cheapest"].cost_usd.p50
    held = by_kind(chosen(experiment(**LONG, limits={"budget": f"{budget} USD"}), world(CARD, A100)))
    assert "within the budget" in held["fastest"].title
    assert held["fastest"].cost_usd.p50 <= budget + 0.01


def test_an_option_that_costs_more_and_takes_as_long_is_not_listed() -> None:
    """Five seconds sooner, of twenty minutes, for twice the price."""
    sooner = offer("a/2", price_usd_per_h=0.8, startup_s=55, available=4, upload_usd_per_gb=0.0)
    found = chosen(experiment(vary={"width": [512]}), world(CARD, sooner))
    assert [option.kind for option in found.options] == ["cheapest"]
    slow = LOCAL.model_copy(update={"gpu": "T4", "price_usd_per_h": 0.9})
    own = chosen(experiment(vary={"width": [512]}), world(CARD, slow, gpu="T4"))
    assert "local" in by_kind(own)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.floats(0.2, 2.0), st.sampled_from(["RTX 4090", "A100 SXM 80GB", "L4"])), max_size=5))
def test_each_option_is_cheaper_or_sooner_than_every_other(prices: list[tuple[float, str]]) -> None:
    offered = [CARD] + [
        offer(f"b/{number}", gpu=gpu, price_usd_per_h=round(price, 3), upload_usd_per_gb=0.0)
        for number, (price, gpu) in enumerate(prices)
    ]
    listed = [one for one in chosen(experiment(**LONG), world(*offered)).options if one.kind != "one_machine"]
    for one in listed[1:]:
        for other in listed:
            if other is not one and other.kind != "scale_down":
                cheaper = one.cost_usd.p50 < other.cost_usd.p50 + 0.01
                assert cheaper or one.makespan_s.p50 < other.makespan_s.p50, (one.title, other.title)


def test_plans_on_the_way_get_better_and_end_with_the_chosen_one() -> None:
    told: list[Draft] = []
    of = experiment(**LONG)
    given_world = world(CARD, A100, offer("c/1", gpu="L4", price_usd_per_h=0.3, upload_usd_per_gb=0.0))
    found = on_market(of, expand(of), world=given_world, search=QUICK, say_better=told.append)
    costs = [draft.cost_usd for draft in told]
    assert told[0].gap is None, "nothing is proven of the list scheduler's plan"
    assert all(draft.gap is not None for draft in told[1:])
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == pytest.approx(found.options[0].cost_usd.p50, abs=0.01)
    assert [machine.offer for machine in told[-1].machines] == [one.offer for one in found.options[0].machines]


def test_more_of_the_same_takes_half_the_time() -> None:
    found = by_kind(chosen(experiment(**LONG), world(CARD)))
    more, cheapest = found["more_machines"], found["cheapest"]
    assert more.makespan_s.p50 <= cheapest.makespan_s.p50 / 2
    assert {machine.gpu for machine in more.machines} == {"RTX 4090"}


def test_stages_stand_side_by_side_as_written_scaled_down_and_scaled_up() -> None:
    stages = [
        {"name": "try", "repeats": 3, "gpus": ["RTX 4090"]},
        {"name": "final", "settings": {"batch": 128}, "gpus": ["A100 80GB"]},
    ]
    found = chosen(experiment(stages=stages, vary={"width": [1024]}), world(CARD, A100))
    options = by_kind(found)
    assert options["hybrid"].chosen
    assert [machine.stage for machine in options["hybrid"].machines] == ["try", "final"]
    assert [machine.gpu for machine in options["hybrid"].machines] == ["RTX 4090", "A100 SXM 80GB"]
    assert "micro-batch" in options["scale_down"].catches[0]
    assert {machine.gpu for machine in options["scale_up"].machines} == {"A100 SXM 80GB"}
    starts = {placement.run: placement.start_s.p50 for placement in found.placements}
    ends = {placement.run: placement.end_s.p50 for placement in found.placements}
    assert max(end for run, end in ends.items() if run.startswith("try")) <= starts["final-width1024"]


def test_a_smaller_card_is_advised_where_a_smaller_micro_batch_saves_much() -> None:
    cheap = offer("c/1", gpu="RTX 3070", price_usd_per_h=0.02, upload_usd_per_gb=0.0)
    found = chosen(experiment(vary={"width": [1024]}, settings={"batch": 64, "steps": 20_000}), world(A100, cheap))
    assert by_kind(found)["scale_down"].machines[0].gpu == "RTX 3070"
    (advice,) = [text for text in found.advice if "down to" in text]
    assert "from 80 GiB down to 8 GiB saves" in advice
    assert "needs micro-batch" in advice


def test_parts_of_a_micro_batch_add_up_to_the_same_step() -> None:
    for roles in ({"micro_batch": "batch"}, {"batch": "batch"}, {"micro_batch": 16}):
        of = experiment(roles={**roles, "steps": "steps", "sequence": 256})
        run = expand(of)[0]
        cut = with_parts(run, of, 4)
        assert cut is not None
        before, after = shape_of(run, of), shape_of(cut.run, cut.experiment)
        assert (after.micro_batch, after.accumulation) == (4, 4 * before.accumulation)
        assert after.batch == before.batch
        assert cut.run.settings != run.settings or roles == {"micro_batch": 16}
        assert with_parts(run, of, 3) is None


def test_more_time_and_the_next_best_are_told() -> None:
    dear = offer("a/2", price_usd_per_h=2.0, available=8, upload_usd_per_gb=0.0)
    one = offer("a/1", available=1, upload_usd_per_gb=0.0)
    alone = market(experiment(**LONG), one).solve(Goal("cheapest"))
    assert alone is not None
    deadline = {"deadline": f"{alone.makespan_s * 0.6:.0f} s"}
    found = chosen(experiment(**LONG, limits=deadline), world(one, dear))
    assert any(text.startswith("twice the deadline") for text in found.advice)
    assert any("if a/1 and a/2 are gone, nothing else on offer will do" in text for text in found.advice)


def test_a_cheap_machine_with_dear_egress_is_not_the_cheapest() -> None:
    keeps = {"every": "1000 steps", "resume": "-r {checkpoint}"}
    dear = offer("dear/1", price_usd_per_h=0.3, upload_usd_per_gb=0.12)
    found = chosen(experiment(checkpoint=keeps), world(CARD, dear))
    assert {machine.offer for machine in found.options[0].machines} == {"a/1"}
    assert {machine.offer for machine in chosen(experiment(), world(dear)).options[0].machines} == {"dear/1"}
    cheap = market(experiment(checkpoint=keeps), CARD, dear).solve(Goal("cheapest"))
    assert cheap is not None
    assert found.options[0].cost_usd.p50 > cheap.cost_usd, "by the machines alone the other one is cheaper"


def test_storage_counts_in_what_is_ticked() -> None:
    stored = offer("store/1", available=8, storage_usd_per_gb_month=200.0, upload_usd_per_gb=0.0)
    found = chosen(experiment(**LONG, checkpoint={"every": "1000 steps", "resume": "-r {checkpoint}"}), world(stored))
    least = min(option.cost_usd.p50 for option in found.options)
    assert found.options[0].kind == "cheapest"
    assert found.options[0].cost_usd.p50 == pytest.approx(least, abs=0.011)
    assert found.options[0].gpus > 1, "several machines for a shorter time keep less on disk"


# ---------------------------------------------------------------- catches


@pytest.mark.parametrize(
    ("changed", "catch"),
    [
        ({"as_of": "2026-01-01"}, "price at a-place 323 days old"),
        ({"as_of": ""}, "price at a-place undated"),
        ({"available": 1}, "only one is available"),
        ({"session_s": 1e6}, "a session ends after"),
        ({"spot": True, "interruptions_per_h": 0.5}, "spot: expect"),
        ({"spot": True}, "at the median rate of public traces"),
        ({"place": "colab", "notes": "1 unit; which GPU one gets is not promised"}, "not promised"),
    ],
)
def test_each_option_says_what_is_against_it(changed: dict[str, Any], catch: str) -> None:
    found = chosen(experiment(), world(offer(**changed)))
    assert any(catch in text for text in found.options[0].catches), found.options[0].catches


def test_a_program_that_cannot_resume_is_named_on_spot() -> None:
    spot = offer(spot=True, interruptions_per_h=0.05)
    found = chosen(experiment(checkpoint={}), world(spot))
    assert any("nothing resumes a run" in text for text in found.options[0].catches)


def test_a_catch_of_several_stages_is_said_once_and_one_of_some_stages_names_them() -> None:
    spot = offer("spot/1", spot=True, interruptions_per_h=0.5, upload_usd_per_gb=0.0)
    old = A100.model_copy(update={"as_of": ""})
    stages = [
        {"name": "try", "repeats": 3, "gpus": ["RTX 4090"]},
        {"name": "tune", "repeats": 2, "gpus": ["RTX 4090"]},
        {"name": "final", "settings": {"batch": 128}, "gpus": ["A100 80GB"]},
    ]
    found = chosen(experiment(stages=stages, vary={"width": [1024]}), world(spot, old))
    (option,) = [one for one in found.options if one.chosen]
    (said,) = [catch for catch in option.catches if catch.startswith("spot: ")]
    assert said.endswith(" (in try, tune)")
    hours = sum(machine.hours.p50 for machine in option.machines if machine.spot)
    assert f"expect {0.5 * hours:.2g} interruptions" in said
    assert "price at a-place undated (in final)" in option.catches
    assert len({catch.partition(" (in ")[0] for catch in option.catches}) == len(option.catches)


def test_limits_that_hold_at_the_median_only_are_a_catch() -> None:
    free = chosen(experiment(), world(CARD)).options[0]
    limits = {"budget": f"{1.05 * free.cost_usd.p50} USD", "deadline": f"{1.05 * free.makespan_s.p50:.0f} s"}
    catches = chosen(experiment(limits=limits), world(CARD)).options[0].catches
    assert any(text.startswith("may exceed the budget") for text in catches)
    assert any(text.startswith("misses the deadline with a probability of") for text in catches)


def test_what_is_not_stated_never_passes_silently() -> None:
    wished = Compute(gpus=["RTX 4090"], reliability=0.95)
    given = snapshot(wished)
    assert not given.offers
    found = chosen(experiment(), given)
    assert found.options[0].chosen
    assert all(any("not stated whether reliability" in text for text in option.catches) for option in found.options)
    assert only(found, "unstated").severity == "warning"


def test_an_offer_that_states_all_is_ticked_before_a_cheaper_one_that_does_not() -> None:
    stated = offer("sure/1", reliability=0.99, price_usd_per_h=0.9, upload_usd_per_gb=0.0)
    bare = offer("bare/1", price_usd_per_h=0.2)
    unstated = Refused(
        offer="bare/1", place="a-place", reason="would pass if x: not stated", kind="unstated", stated=bare
    )
    found = chosen(experiment(), world(stated).model_copy(update={"unstated": (unstated,)}))
    assert {machine.offer for machine in found.options[0].machines} == {"sure/1"}
    option = by_kind(found)["unstated"]
    assert "not stated whether x" in option.catches
    assert any("does not state all that is wished saves" in text for text in found.advice)


# ---------------------------------------------------------------- refusals


def test_a_budget_that_is_too_small_names_the_least_possible_and_what_it_buys() -> None:
    free = chosen(experiment(**LONG), world(CARD)).options[0]
    found = chosen(experiment(**LONG, limits={"budget": f"{free.cost_usd.p50 / 2} USD"}), world(CARD))
    finding = only(found, "budget")
    assert finding.severity == "error"
    assert "none costs less than $" in finding.because
    assert "buys about 6 of the 12 runs" in finding.fix
    assert not any(option.chosen for option in found.options)
    assert any("over the budget" in text for text in found.options[0].catches)
    assert found.placements == ()


def test_a_deadline_that_is_impossible_names_the_least_possible_time() -> None:
    found = chosen(experiment(limits={"deadline": "60 s"}), world(CARD))
    finding = only(found, "deadline")
    assert "cannot be kept" in finding.message
    assert "nothing on offer takes less than" in finding.because
    minutes = int(finding.fix.split("deadline: ")[1].split(" min")[0])
    again = chosen(experiment(limits={"deadline": f"{minutes} min"}), world(CARD))
    assert again.options[0].chosen


def test_runs_that_fit_nowhere_are_named_and_so_are_gangs_that_no_machine_holds() -> None:
    large = chosen(experiment(settings={"batch": 4096, "steps": 9}), world(CARD))
    assert "fits on none of the 1 GPUs on offer" in only(large, "offers").message
    wide = chosen(experiment(ranks=4), world(CARD))
    assert "needs 4 GPUs in one machine; the largest offer has 1" in only(wide, "offers").message
    assert {one.run for one in wide.estimates} == {run.name for run in expand(experiment())}


def test_nothing_on_offer_is_said() -> None:
    assert only(chosen(experiment(), world()), "offers").message == "nothing on offer is as wished"


def test_what_is_finished_is_not_planned_again() -> None:
    runs = expand(experiment())
    past = tuple(History(name=run.name, key=run.key, state="finished") for run in runs)
    some, all_ = (chosen(experiment(), world(CARD, history=of)) for of in (past[:1], past))
    assert (some.totals.finished, len(some.placements)) == (1, 3)
    assert (all_.totals.finished, all_.options, all_.placements) == (4, (), ())
    assert len(some.estimates) == len(all_.estimates) == 4
    assert not [one for one in all_.findings if one.severity == "error"]


# ---------------------------------------------------------------- properties


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0.2, 2.0), min_size=2, max_size=6), st.integers(1, 3), st.floats(1.3, 6))
def test_leaving_dominated_offers_out_changes_no_cost(prices: list[float], available: int, tightness: float) -> None:
    offers = [
        offer(f"a/{number}", price_usd_per_h=round(price, 3), available=available, startup_s=60 * (number % 2))
        for number, price in enumerate(prices)
    ]
    of = market(experiment(), *offers)
    fastest = of.solve(Goal("fastest"))
    assert fastest is not None
    goal = Goal("cheapest", deadline_s=tightness * fastest.makespan_s)
    problem = of.stages[0].needs.problem
    kept = worth_having(problem.offers, runs=of.runs)
    full = plan(problem, goal, search=QUICK)
    pruned = of.solve(goal)
    assert pruned is not None
    assert {one.offer for one in kept} <= {one.offer for one in problem.offers}
    assert pruned.cost_usd == pytest.approx(getattr(full, "cost_usd", math.nan), rel=1e-6)


@settings(max_examples=10, deadline=None)
@given(st.floats(1.05, 3), st.floats(1.05, 3))
def test_no_chosen_plan_exceeds_its_limits_or_lies_below_its_bound(more_usd: float, more_s: float) -> None:
    free = market(experiment(**LONG), CARD, A100).solve(Goal("cheapest"))
    assert free is not None
    limits = {"budget": f"{free.cost_usd * more_usd} USD", "deadline": f"{free.makespan_s * more_s:.0f} s"}
    found = chosen(experiment(**LONG, limits=limits), world(CARD, A100))
    option = found.options[0]
    assert option.chosen
    assert option.bound_usd <= option.cost_usd.p50 * (1 + 1e-9) <= free.cost_usd * more_usd + 0.01
    assert option.makespan_s.p50 <= free.makespan_s * more_s + 1
    assert len(found.placements) == 12


def test_the_same_world_gives_the_same_options() -> None:
    given_world = snapshot(Compute(gpus=["RTX 4090", "A100 80GB"]))
    first, second = (chosen(experiment(**LONG), given_world) for _ in range(2))
    assert first == second


def test_everywhere_is_one_row_a_gpu_that_the_runs_fit_on() -> None:
    of = experiment(vary={"width": [1024]}, settings={"batch": 32, "steps": 20_000})
    given_world = snapshot(Compute())
    rows = everywhere(of, expand(of), world=given_world, search=QUICK, spare=lambda: QUICK)
    costs = [row.cost_usd.p50 for row in rows]
    assert costs == sorted(costs)
    assert {"RTX 4090", "H100 SXM 80GB"} <= {row.title for row in rows}
    assert "RTX 3060 Ti" not in {row.title for row in rows}
    assert all({machine.gpu for machine in row.machines} == {row.title} for row in rows)
    assert given_world.today == TODAY
