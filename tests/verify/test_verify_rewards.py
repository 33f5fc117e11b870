"""Rewards without a signal, in logs and in data."""

from __future__ import annotations

from typing import Any

import pytest
from verify_world import experiment, found, only, world

from gpuplan.model import FileFact, LoggedRun, Measurement, SourceFact
from gpuplan.verify.measured import Context, doubts
from gpuplan.verify.rewards import is_reward

DATA = FileFact(path="data/rollouts.jsonl", exists=True, size_bytes=9, rows=9)


def log(best: dict[str, float], *, steps: int = 50) -> LoggedRun:
    """A log that ends at its best."""
    measured: dict[str, Any] = {"steps": steps, "final": best, "best": {k: v for k, v in best.items() if "reward" in k}}
    return LoggedRun(name="a", format="jsonl", path="logs/a.jsonl", measurement=Measurement.model_validate(measured))


def said(one: LoggedRun) -> list[tuple[str, str]]:
    return [(finding.severity, finding.check) for finding in doubts([one], Context())]


def test_equal_rewards_inside_every_group_teach_nothing() -> None:
    (finding,) = doubts([log({"reward": 0.5, "reward_std": 0.0})], Context())
    assert (finding.severity, finding.check) == ("error", "no-reward-signal")
    assert finding.message == "reward_std is 0 in all of 50 steps: every answer of a group gets the same reward"
    assert "(reward 0.5 at the end)" in finding.because
    assert finding.place == "logs/a.jsonl"


def test_rewards_that_never_rise_above_zero_are_doubted() -> None:
    assert said(log({"my_reward": 0.0, "std_reward": 0.0})) == [("warning", "no-reward-signal")]


@pytest.mark.parametrize(
    "best",
    [
        {"reward": 0.2},
        {"reward": 0.0, "reward_std": 0.3},
        {"reward": -0.5},
        {"format_reward": 0.0, "reward": 0.4},
        {"rewards/format_reward": 0.0},
        {"loss": 0.0},
    ],
)
def test_rewards_that_differ_are_fine(best: dict[str, float]) -> None:
    assert said(log(best)) == []


def test_few_steps_say_nothing() -> None:
    assert said(log({"reward": 0.0}, steps=4)) == []


def test_sampled_answers_without_a_reward_are_noted() -> None:
    assert said(log({"completion_length": 256.0, "kl": 0.1})) == [("note", "reward-missing")]
    assert said(log({"kl": 0.1})) == []


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("reward", True), ("Rewards", True), ("train/reward", True), ("mean_reward", True), ("my_reward", True),
        ("critic/rewards/mean", True), ("format_reward", False), ("reward_std", False), ("max_reward", False),
        ("reward_model", False), ("rewarded", False), ("loss", False),
    ],
)  # fmt: skip
def test_names_of_rewards(name: str, is_one: bool) -> None:
    assert is_reward(name) == is_one


def rewards(**counts: int) -> Any:
    table = SourceFact(path=DATA.path, kind="table", content={"reward": counts})
    return world(DATA, sources=[table])


def test_a_column_of_rewards_without_any() -> None:
    spec = experiment(inputs=[{"path": DATA.path}])
    assert only("rewards-empty", spec, given=rewards(rows=9, zero=9)).message == (
        "reward of data/rollouts.jsonl is 0 in all 9 rows"
    )
    empty = only("rewards-empty", spec, given=rewards(rows=9, zero=4, empty=5))
    assert (empty.severity, empty.place) == ("warning", "inputs.0.path")
    assert "empty (5) or 0 (4) in all 9 rows" in empty.message
    assert found("rewards-empty", spec, given=rewards(rows=9, zero=8, other=1)) == []
    assert found("rewards-empty", spec, given=rewards(rows=2, zero=2)) == []
