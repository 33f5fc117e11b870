"""The examples, and how their figures come about: recomputed here by hand from the published dimensions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gpuplan.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = Path(__file__).parents[2] / "examples"
EXPECTED_FINDINGS = {
    "program",
    "input-missing",
    "place",
    "not-yet",
    "output-unknown",
    "ranks",
    "scaling",
    "data-missing",
}
"""Of a machine without the programs, data and GPUs of these systems; the fits and disks are named in each test."""


@pytest.fixture
def plan_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    def planned(name: str, *words: str) -> dict[str, Any]:
        with pytest.raises(SystemExit):
            main(["plan", str(EXAMPLES / name), "--state", str(tmp_path), "--json", *words])
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    return planned


def estimate(plan: dict[str, Any], run: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in plan["estimates"] if one["run"] == run)
    return found


def checks(plan: dict[str, Any]) -> set[str]:
    return {one["check"] for one in plan["findings"]}


def test_lora_steps_are_of_packed_rows_and_a_warm_up_as_long_as_the_run_is_found(
    plan_of: Callable[..., dict[str, Any]],
) -> None:
    plan = plan_of("lora.yaml")
    assert checks(plan) <= EXPECTED_FINDINGS
    assert {one["steps"] for one in plan["estimates"] if "rank" in one["run"]} == {2 * 55}, "ceil(218 / 4) an epoch"
    weights = 1_235_814_400 * 2  # Llama-3.2-1B as published, in bf16
    parts = estimate(plan, "1B_rank4-s1")["memory"]["components_bytes"]
    assert parts["parameters"] == pytest.approx(weights, rel=0.02)
    assert "warmup" in checks(plan_of("lora.yaml", "--set", "settings.warmup=100"))


def test_sapo_is_logits(plan_of: Callable[..., dict[str, Any]]) -> None:
    plan = plan_of("sapo.yaml", "--set", "copies=1", "--gpu", "A100 80GB")
    memory = estimate(plan, "own8-shared0")["memory"]
    assert memory["components_bytes"]["logits"] == pytest.approx(4 * 64 * 256 * 50257 * 4, rel=0.01)
    static = memory["components_bytes"]["parameters"] + memory["components_bytes"]["optimizer"]
    assert static == pytest.approx(12 * 124e6, rel=0.01), "weights and two moments; gradients come and go"
    assert memory["fits"] == "OK"
    assert estimate(plan_of("sapo.yaml", "--gpu", "A100 80GB"), "own8-shared0")["memory"]["fits"] == "NO FIT"


def test_pagating_has_351_million_parameters_and_183_gigabytes_of_checkpoints(
    plan_of: Callable[..., dict[str, Any]],
) -> None:
    plan = plan_of("pagating.yaml")
    one = estimate(plan, "learnable-lr0.001")
    assert one["memory"]["components_bytes"]["parameters"] == pytest.approx(4 * 351e6, rel=0.01)
    assert plan["totals"]["disk_bytes"]["p50"] == pytest.approx(10 * (4 * 12 + 4) * 351e6, rel=0.01)
    assert "disk" in checks(plan)
    chosen = plan["options"][0]
    hours = {machine["offer"]: machine["hours"]["p50"] for machine in chosen["machines"]}
    rent = sum(machine["price_usd_per_h"] * hours[machine["offer"]] for machine in chosen["machines"])
    assert chosen["cost_usd"]["p50"] == pytest.approx(rent, rel=0.01)


def test_scientist_counts_its_steps_and_rents_each_tier_for_its_runs(plan_of: Callable[..., dict[str, Any]]) -> None:
    plan = plan_of("scientist.yaml")
    assert estimate(plan, "initial")["steps"] == 3 * 313
    assert estimate(plan, "ablation")["steps"] == 3 * 625
    chosen = plan["options"][0]
    durations = {one["run"].split("-r")[0]: one["duration_s"]["p50"] for one in plan["estimates"]}
    for stage, repeats in (("initial", 20), ("ablation", 18)):
        hours = next(machine["hours"]["p50"] for machine in chosen["machines"] if machine["stage"] == stage)
        set_up_s = 120 + 8e9 / 25e6  # 2 min to boot, an image of 8 GB at 200 Mbit/s
        assert 3600 * hours == pytest.approx(repeats * durations[stage] + set_up_s, rel=0.01)


def test_the_agnews_example_is_sound(plan_of: Callable[..., dict[str, Any]]) -> None:
    plan = plan_of("agnews.yaml")
    assert checks(plan) <= EXPECTED_FINDINGS
    assert {one["steps"] for one in plan["estimates"]} == {3 * 188}, "ceil(6,000 / 32) an epoch"
