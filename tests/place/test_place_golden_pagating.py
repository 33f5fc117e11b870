"""System B on the dated snapshot: a sweep for one rented RTX 4090, and what its document has wrong.

That its trainer would run on the CPU (it passes use_cpu=True wherever there is no MPS) cannot be seen from a spec:
`gpuplan trace --device gpu` runs the code and sees it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from priced_cases import chosen, example, snapshot

from gpuplan.estimate.case import case_of
from gpuplan.expand import expand
from gpuplan.model import Compute
from gpuplan.verify import verify

if TYPE_CHECKING:
    from gpuplan.model import Experiment, World
    from gpuplan.place.on_market import Chosen

HOUR = 3600


@pytest.fixture(scope="module")
def of() -> Experiment:
    return example("pagating")


@pytest.fixture(scope="module")
def given(of: Experiment) -> World:
    return snapshot(of.compute, places=of.compute.on)


@pytest.fixture(scope="module")
def found(of: Experiment, given: World) -> Chosen:
    return chosen(of, given)


def test_the_filter_and_the_sweep_give_an_offer(found: Chosen) -> None:
    option = found.options[0]
    assert option.chosen
    assert {machine.gpu for machine in option.machines} == {"RTX 4090"}
    assert {machine.place for machine in option.machines} == {"vast"}
    assert all(0.2 <= machine.price_usd_per_h / machine.gpu_count <= 0.6 for machine in option.machines)
    assert len(found.placements) == 10


def test_hours_and_bill_come_with_an_interval_around_what_the_document_says(found: Chosen) -> None:
    option = found.options[0]
    total = option.bill.total_usd
    assert total.p10 < total.p50 < total.p90
    assert total.p50 == pytest.approx(sum(line.cost_usd.p50 for line in option.bill.lines))
    run_h = found.estimates[0].duration_s.times(1 / HOUR)
    assert run_h.p10 < 1.4 < run_h.p90, "its table: 1.4 h a run"
    assert run_h.p90 < 2.5, "its text: 2 to 3 h a run, which contradicts the table"
    sweep_h = 10 * run_h.p50
    assert 5 < sweep_h < 20, "its table: 14 h for the sweep; its text: 25 to 30 h"
    assert total.p90 < 12, "its text: 10 to 12 USD"


def test_what_vast_does_not_state_is_unknown_and_never_passes_silently(found: Chosen, given: World) -> None:
    assert given.offers == ()
    assert given.unstated
    for option in found.options:
        (doubt,) = [catch for catch in option.catches if catch.startswith("not stated whether")]
        assert "reliability is at least 0.95" in doubt
        assert "download is at least 100Mbit/s" in doubt
        assert "disk is at least" in doubt
    assert [one.severity for one in found.findings if one.check == "unstated"] == ["warning"]


def test_183_gb_of_checkpoints_do_not_fit_on_the_50_gb_disk(of: Experiment, given: World, found: Chosen) -> None:
    (finding,) = [one for one in verify(of, expand(of), world=given, estimates=found.estimates) if one.check == "disk"]
    assert finding.severity == "error"
    total = re.search(r"10 runs x [\d.]+ GiB = (\d+) GiB", finding.message)
    assert total is not None
    assert 165 <= int(total[1]) * 1.0737 <= 195
    assert "of 46.6 GiB in `compute.disk`" in finding.message


def test_it_is_a_model_of_351_million_parameters_not_124(of: Experiment, given: World) -> None:
    footprint = case_of(expand(of)[0], of, gpu=given.gpus["RTX 4090"], world=given).known
    assert footprint is not None
    assert footprint.parameters == pytest.approx(351.0e6, rel=0.01)
    assert footprint.checkpoint_bytes == pytest.approx(12 * 351e6, rel=0.01)


def test_one_price_for_all_places_is_within_the_budget(of: Experiment) -> None:
    anywhere = snapshot(Compute(gpus=["RTX 4090"]))
    found = chosen(of.model_copy(update={"compute": Compute(gpus=["RTX 4090"])}), anywhere)
    assert {offer.place for offer in anywhere.offers} >= {"vast", "runpod"}
    option = found.options[0]
    assert option.chosen
    assert option.cost_usd.p90 < 50
    assert option.gap is not None
    assert option.gap < 0.05
    assert not any("not stated whether" in catch for catch in option.catches)


def test_the_fastest_costs_what_its_end_costs_as_a_deadline(of: Experiment) -> None:
    anywhere = snapshot(of.compute, places=["vast", "runpod"])
    (fastest,) = [one for one in chosen(of, anywhere).options if one.kind == "fastest"]
    limits = of.limits.model_copy(update={"deadline": fastest.makespan_s.p50})
    held = chosen(of.model_copy(update={"limits": limits}), anywhere).options[0]
    assert held.makespan_s.p50 == fastest.makespan_s.p50
    assert held.cost_usd.p50 == fastest.cost_usd.p50
    assert held.cost_usd.p50 < 4, "5.24 USD for the first plan that was as fast"
