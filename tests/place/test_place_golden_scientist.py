"""System A on the dated snapshot: stages with repeats, scaled down, scaled up and hybrid, costed side by side."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from priced_cases import chosen, example, snapshot

from gpuplan.expand import expand

if TYPE_CHECKING:
    from gpuplan.model import Option
    from gpuplan.place.on_market import Chosen

SMALL, LARGE = "RTX 3060 12GB", "L40S"


@pytest.fixture(scope="module")
def found() -> Chosen:
    of = example("scientist")
    return chosen(of, snapshot(of.compute, places=of.compute.on))


def option(found: Chosen, kind: str) -> Option:
    (one,) = [each for each in found.options if each.kind == kind]
    return one


def test_every_repeat_of_every_stage_is_a_run(found: Chosen) -> None:
    stages = [run.stage for run in expand(example("scientist"))]
    assert {stage: stages.count(stage) for stage in dict.fromkeys(stages)} == {
        "initial": 20, "tuning": 12, "research": 12, "ablation": 18,
    }  # fmt: skip
    assert len(found.placements) == 62


def test_hybrid_scaled_down_and_scaled_up_stand_side_by_side(found: Chosen) -> None:
    gpus = {
        one.kind: {machine.stage: machine.gpu for machine in one.machines}
        for one in found.options
        if one.kind in {"hybrid", "scale_down", "scale_up"}
    }
    stages = ("initial", "tuning", "research", "ablation")
    assert gpus["hybrid"] == dict(zip(stages, [SMALL, SMALL, SMALL, LARGE], strict=True))
    assert gpus["scale_down"] == dict.fromkeys(stages, SMALL)
    assert gpus["scale_up"] == dict.fromkeys(stages, LARGE)
    assert found.options[0].kind == "hybrid"
    assert found.options[0].chosen


def test_scaled_down_takes_longest_and_says_which_micro_batch_it_needs(found: Chosen) -> None:
    down, up = option(found, "scale_down"), option(found, "scale_up")
    assert "needs micro-batch" in down.catches[0]
    assert down.makespan_s.p50 > option(found, "hybrid").makespan_s.p50 > up.makespan_s.p50


def test_all_of_them_cost_far_less_than_the_document_reckons(found: Chosen) -> None:
    """It pays 3.60 USD an hour for six L40 over 5 to 15 h, 18 to 54 USD, for one GPU's work."""
    for one in found.options:
        assert one.cost_usd.p90 < 18
        assert one.bill.lines
        assert one.utilization > 0.4


def test_a_stage_begins_when_the_one_before_has_ended(found: Chosen) -> None:
    starts: dict[str, float] = {}
    ends: dict[str, float] = {}
    for placement in found.placements:
        stage = placement.run.split("-")[0]
        starts[stage] = min(starts.get(stage, placement.start_s.p50), placement.start_s.p50)
        ends[stage] = max(ends.get(stage, 0.0), placement.end_s.p50)
    order = ["initial", "tuning", "research", "ablation"]
    assert all(ends[before] <= starts[after] for before, after in pairwise(order))
