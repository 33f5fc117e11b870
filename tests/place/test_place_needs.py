from __future__ import annotations

from typing import Any

import pytest
from priced_cases import GB, TODAY, chosen, experiment, market, offer, world

from gpuplan.estimate.sharing import sharing
from gpuplan.expand import expand
from gpuplan.model import Evidence, Measurement
from gpuplan.place.interruptions import useful_share
from gpuplan.place.needs import NOTHING_GAINED, needs_of, works_of
from gpuplan.place.problem import Goal
from gpuplan.place.rentable import BILLING_S, Load, assumptions_of, rentable_of, setup_s, spot_of

HOUR = 3600.0
LOAD = Load(
    input_bytes=10e9, checkpoint_s=60, interval_s={}, resumes=True, longest_s={"RTX 4090": HOUR}, disk_bytes=1e9
)


def test_one_class_and_one_estimate_for_runs_of_equal_cost() -> None:
    needs = market(experiment(seeds=[1, 2, 3]), offer(), offer("a/2", gpu="A100 SXM 80GB")).stages[0].needs
    assert [(job.count, set(job.duration_s)) for job in needs.problem.jobs] == [(6, {"RTX 4090", "A100 SXM 80GB"})] * 2
    small, large = needs.problem.jobs
    assert small.duration_s["RTX 4090"] < large.duration_s["RTX 4090"]
    assert small.members[:2] == ("width512-lr0.001-s1", "width512-lr0.001-s2")
    assert set(needs.works) == {small.name, large.name}


def test_a_gpu_that_is_too_small_is_none_that_a_class_has() -> None:
    needs = (
        market(experiment(settings={"batch": 64, "steps": 10}), offer(), offer("a/2", gpu="RTX 3070")).stages[0].needs
    )
    assert all("RTX 3070" not in job.duration_s for job in needs.problem.jobs)


def test_a_run_takes_its_p90_of_a_card_and_all_of_it_where_it_is_tight() -> None:
    needs = market(experiment(vary={"batch": [*range(4, 128, 8)]}, settings={"steps": 9, "width": 1024}), offer())
    whole = int(world().gpus["RTX 4090"].memory_bytes * 0.92)
    verdicts = set()
    for name, work in needs.stages[0].needs.works.items():
        memory = work.estimates["RTX 4090"].memory
        job = next(job for job in needs.stages[0].needs.problem.jobs if job.name == name)
        verdicts.add(memory.fits)
        if memory.fits == "NO FIT":
            assert not job.memory_bytes
        elif memory.fits == "OK":
            assert job.memory_bytes["RTX 4090"] == min(int(memory.device_bytes.p90), whole)
        else:
            assert job.memory_bytes["RTX 4090"] == whole
    assert {"OK", "TIGHT"} <= verdicts


def test_copies_take_their_memory_together() -> None:
    one, two = (
        market(experiment(copies=copies, vary={"width": [256]}, settings={"batch": 1, "steps": 9}), offer())
        .stages[0]
        .needs
        for copies in (1, 2)
    )
    assert two.problem.jobs[0].memory_bytes["RTX 4090"] == pytest.approx(
        2 * one.problem.jobs[0].memory_bytes["RTX 4090"], abs=2
    )


def test_sharing_gains_nothing_where_nobody_knows_how_busy_a_run_keeps_the_gpu() -> None:
    needs = market(experiment(), offer()).stages[0].needs
    (assumption,) = needs.assumptions
    assert "sharing a GPU is taken to gain nothing" in assumption.text
    assert all(job.utilization["RTX 4090"] == NOTHING_GAINED for job in needs.problem.jobs)
    for runs in range(2, 9):
        assert runs < needs.problem.slowdown(runs, NOTHING_GAINED) < 1.03 * runs


def test_a_small_run_that_waits_for_its_kernels_shares_the_card() -> None:
    tiny = experiment(vary={"width": [64]}, seeds=[1, 2, 3, 4], settings={"batch": 1, "steps": 5000})
    needs = market(tiny, offer()).stages[0].needs
    (job,) = needs.problem.jobs
    assert job.utilization["RTX 4090"] < 0.8
    assert any("computed, not measured" in one.text for one in needs.assumptions)
    plan = market(tiny, offer(available=1)).solve(Goal("cheapest"))
    assert plan is not None
    assert max(one.runs for one in plan.stages[0].solution.machines[0].assignments) > 1


def test_measured_utilization_lets_runs_share() -> None:
    of = experiment(vary={"width": [512]})
    run = expand(of)[0]
    fact = Evidence(
        id="1", kind="run", experiment="sweep", run="r", settings=run.settings, command=run.command, gpu="RTX 4090",
        measurement=Measurement(device_busy=0.3, step_s=0.05), taken=TODAY,
    )  # fmt: skip
    seen = world(offer(), evidence=(fact,))
    works = works_of(expand(of), of, gpus=[seen.gpus["RTX 4090"]], world=seen)
    needs = needs_of(works, of, seen.offers, world=seen)
    assert needs.problem.jobs[0].utilization == {"RTX 4090": 0.3}
    assert needs.problem.slowdown(3, 0.3) == sharing([0.3] * 3).times.p50 == 1.0
    assert not needs.assumptions


def test_cautious_plans_with_the_ninetieth_percentile() -> None:
    usual, cautious = (market(experiment(), offer(), cautious=cautious).stages[0].needs for cautious in (False, True))
    for job, slow in zip(usual.problem.jobs, cautious.problem.jobs, strict=True):
        estimate = usual.works[job.name].estimates["RTX 4090"].duration_s
        assert (job.duration_s["RTX 4090"], slow.duration_s["RTX 4090"]) == (estimate.p50, estimate.p90)


# ---------------------------------------------------------------- offers


def test_set_up_is_start_up_and_the_data_at_the_stated_bandwidth() -> None:
    assert setup_s(offer(startup_s=90, download_bytes_per_s=1e8), LOAD) == 90 + 100
    assert setup_s(offer(place="local"), LOAD) == 0
    unstated = setup_s(offer(startup_s=None, download_bytes_per_s=None), LOAD)
    assert unstated == pytest.approx(120 + (8e9 + 10e9) / 25e6)


def test_a_slurm_node_is_up_and_only_what_its_offer_states_is_counted() -> None:
    bare = offer(place="slurm", price_usd_per_h=None, startup_s=None, download_bytes_per_s=None)
    assert setup_s(bare, LOAD) == 0
    assert setup_s(bare.model_copy(update={"startup_s": 300.0, "download_bytes_per_s": 1e8}), LOAD) == 300 + 100
    (said,) = assumptions_of(bare, LOAD)
    assert said.text.startswith("Slurm nodes are up")
    assert assumptions_of(bare.model_copy(update={"startup_s": 300.0}), LOAD) == ()


def test_a_plan_on_slurm_starts_at_once_and_says_that_the_queue_is_not_in_it() -> None:
    bare = offer(place="slurm", price_usd_per_h=None, startup_s=None, download_bytes_per_s=None, gpu_count=4)
    found = chosen(experiment(), world(bare))
    assert min(placement.start_s.p50 for placement in found.placements) == 0
    longest_s = max(one.duration_s.p50 for one in found.estimates)
    assert found.totals.makespan_s.p50 == pytest.approx(longest_s, abs=1)
    queue = "the wait in the queue is not known, and not in the time"
    assert queue in found.options[0].catches
    waits = chosen(experiment(), world(bare.model_copy(update={"wait_s": 600.0})))
    assert min(placement.start_s.p50 for placement in waits.placements) == 600
    assert queue not in waits.options[0].catches


def test_what_is_not_stated_is_assumed_and_said() -> None:
    bare = offer(available=None, billing_s=None, startup_s=None, download_bytes_per_s=None, spot=True)
    found = rentable_of(bare, LOAD, memory_bytes=24 * GB)
    assert not isinstance(found, str)
    assert (found.available, found.billing_s) == (8, BILLING_S)
    said = " ".join(each.text for each in assumptions_of(bare, LOAD))
    assert all(
        word in said for word in ("to boot", "200 Mbit/s", "whole hours", "at most 8", "egress", "0.24 interrupt")
    )
    stated = offer(upload_usd_per_gb=0.0)
    assert assumptions_of(stated, LOAD) == ()


def test_a_spot_machine_is_slower_by_what_interruptions_cost() -> None:
    spot = spot_of(offer(spot=True, interruptions_per_h=1 / 3, startup_s=180, download_bytes_per_s=1e12), LOAD)
    assert spot is not None
    share = useful_share(mean_s=3 * HOUR, checkpoint_s=60, restart_s=180.01)
    assert spot.pace == pytest.approx(1 / share, abs=0.005)
    assert spot_of(offer(spot=False), LOAD) is None
    without = spot_of(offer(spot=True, interruptions_per_h=1 / 3), LOAD._replace(resumes=False))
    assert without is not None
    assert without.pace > 1.15


def test_a_rate_that_is_not_stated_is_the_median_of_the_public_traces() -> None:
    spot = spot_of(offer(spot=True), LOAD)
    assert spot is not None
    assert (spot.per_h, spot.is_assumed) == (0.2449, True)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"price_usd_per_h": None}, "not sold by the hour"),
        ({"disk_bytes": 5 * GB}, "too small"),
        ({"spot": True, "interruptions_per_h": 30}, "taken away so often"),
    ],
)
def test_offers_that_cannot_be_planned_with_say_why(changed: dict[str, Any], reason: str) -> None:
    found = rentable_of(offer(**changed), LOAD, memory_bytes=24 * GB)
    assert isinstance(found, str)
    assert reason in found


def test_the_spec_says_how_often_is_saved() -> None:
    spot = offer(spot=True, interruptions_per_h=0.2)
    often, seldom = (
        market(experiment(checkpoint={"every": every, "resume": "-r {checkpoint}"}), spot).stages[0].needs
        for every in ("100 steps", "20000 steps")
    )
    assert often.problem.offers[0].pace < seldom.problem.offers[0].pace
