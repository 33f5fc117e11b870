"""Runs of one rank: records, seeds, resuming to the last bit, the control, divergence, leaving when told to."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING

import pytest
import torch
from test_agnews_support import (
    PATIENCE_S,
    records,
    same,
    start,
    table,
    train,
    wait_for_steps,
    weights,
    write_csv,
)

from gpuplan.workloads.agnews.history import HEADER

if TYPE_CHECKING:
    from pathlib import Path

EPOCH_STEPS = 7
"""Of the tiny settings: 53 rows in batches of 8."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(tmp_path_factory.mktemp("data") / "news.csv")


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run, to compare with."""
    output = tmp_path_factory.mktemp("whole")
    assert train(data, output, keep=9) == 0
    return output


def copied(whole: Path, to: Path, *, steps: tuple[int, ...]) -> Path:
    """The folder of a run that was killed later than its checkpoints at `steps`: the file of epochs is further on."""
    for step in steps:
        shutil.copytree(whole / f"checkpoint-{step}", to / f"checkpoint-{step}")
    shutil.copy(whole / "metrics.csv", to)
    return to


def test_metrics_csv_has_the_columns_of_the_original_and_a_row_an_epoch(whole: Path) -> None:
    assert (whole / "metrics.csv").read_text().splitlines()[0] == HEADER
    assert [(row["epoch"], row["samples"]) for row in table(whole)] == [("1", "53"), ("2", "53")]


def test_the_run_protocol_gets_what_gpuplan_needs(whole: Path) -> None:
    begin, final = records(whole, "start")[0], records(whole, "final")[0]
    assert (begin["dataset_rows"], begin["batch_size"], begin["world_size"], begin["step"]) == (53, 8, 1, 0)
    assert (begin["epochs"], begin["steps_per_epoch"], begin["shard"], begin["threads"]) == (2, EPOCH_STEPS, True, 1)
    assert (begin["device"], begin["precision"], begin["seed"]) == ("cpu", "fp32", 0)
    assert begin["parameters"] == sum(value.numel() for value in weights(whole, 14).values())
    steps = records(whole, "steps")
    assert sum(record["steps"] for record in steps) == 2 * EPOCH_STEPS
    assert sum(record["samples"] for record in steps) == 2 * 53
    epochs = records(whole, "epoch")
    assert [(epoch["epoch"], epoch["step"], epoch["samples"]) for epoch in epochs] == [(1, 7, 53), (2, 14, 53)]
    assert all(epoch["seconds"] > 0 for epoch in epochs)
    assert [record["path"] for record in records(whole, "checkpoint")] == [f"checkpoint-{n}" for n in (3, 6, 9, 12, 14)]
    last = table(whole)[-1]
    assert (str(final["accuracy"]), str(final["val_loss"])) == (last["val_acc"], last["val_loss"])
    assert (final["step"], final["epochs"], str(final["train_loss"])) == (14, 2, last["train_loss"])


def test_the_same_seed_gives_the_same_weights_and_another_others(data: Path, whole: Path, tmp_path: Path) -> None:
    assert train(data, tmp_path / "same", epochs=2) == 0
    assert same(weights(tmp_path / "same", 14), weights(whole, 14))
    assert table(tmp_path / "same") == table(whole)
    assert train(data, tmp_path / "other", epochs=2, seed=1) == 0
    other = weights(tmp_path / "other", 14)
    assert not torch.equal(other["embedding.weight"], weights(whole, 14)["embedding.weight"])


def test_the_seed_may_come_from_gpuplan(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert train(data, tmp_path / "option", epochs=1, seed=5) == 0
    monkeypatch.setenv("GPUPLAN_SEED", "5")
    assert train(data, tmp_path / "variable", epochs=1) == 0
    assert same(weights(tmp_path / "option", 7), weights(tmp_path / "variable", 7))


@pytest.mark.parametrize("step", [3, 6, 9, 14])
def test_a_resumed_run_ends_bit_by_bit_like_an_uninterrupted_one(
    data: Path, whole: Path, tmp_path: Path, step: int
) -> None:
    copied(whole, tmp_path, steps=(step,))
    assert train(data, tmp_path, resume=tmp_path / f"checkpoint-{step}") == 0
    assert same(weights(tmp_path, 14), weights(whole, 14))
    assert table(tmp_path) == table(whole)
    assert records(tmp_path, "start")[0]["step"] == step
    assert sum(record["steps"] for record in records(tmp_path, "steps")) == 14 - step


def test_a_checkpoint_at_the_end_of_an_epoch_does_not_lose_the_epoch(data: Path, whole: Path, tmp_path: Path) -> None:
    assert train(data, tmp_path, checkpoint_every=7, max_steps=7) == 0
    assert train(data, tmp_path, checkpoint_every=7, resume=tmp_path / "checkpoint-7") == 0
    assert table(tmp_path) == table(whole)
    assert same(weights(tmp_path, 14), weights(whole, 14))


def test_a_probe_can_be_continued(data: Path, whole: Path, tmp_path: Path) -> None:
    assert train(data, tmp_path, max_steps=5) == 0
    assert table(tmp_path) == []
    final = records(tmp_path, "final")[0]
    assert (final["step"], final["epochs"]) == (5, 0)
    assert final["accuracy"] >= 0
    assert train(data, tmp_path, resume="checkpoint-5") == 0
    assert same(weights(tmp_path, 14), weights(whole, 14))
    assert table(tmp_path) == table(whole)


def damage(checkpoint: Path) -> None:
    content = (checkpoint / "state.pt").read_bytes()
    (checkpoint / "state.pt").write_bytes(content[: len(content) // 2])


def test_a_damaged_checkpoint_that_was_asked_for_is_refused(
    data: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied(whole, tmp_path, steps=(6, 9))
    damage(tmp_path / "checkpoint-9")
    assert train(data, tmp_path, resume=tmp_path / "checkpoint-9") == 2
    assert "checkpoint-9 is not a complete checkpoint: state.pt has" in capsys.readouterr().err


def test_of_gpuplans_damaged_checkpoint_the_next_older_one_is_taken(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copied(whole, tmp_path, steps=(3, 6, 9))
    damage(tmp_path / "checkpoint-9")
    monkeypatch.setenv("GPUPLAN_RESUME", str(tmp_path / "checkpoint-9"))
    assert train(data, tmp_path) == 0
    said = capsys.readouterr().out
    assert "warning: " in said
    assert f"resumed from {tmp_path / 'checkpoint-6'}" in said
    assert records(tmp_path, "start")[0]["step"] == 6
    assert same(weights(tmp_path, 14), weights(whole, 14))


def test_without_any_good_checkpoint_gpuplans_run_starts_afresh(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copied(whole, tmp_path, steps=(3,))
    damage(tmp_path / "checkpoint-3")
    monkeypatch.setenv("GPUPLAN_RESUME", "checkpoint-3")
    assert train(data, tmp_path, resume="checkpoint-3") == 0
    assert "starting afresh" in capsys.readouterr().out
    assert same(weights(tmp_path, 14), weights(whole, 14))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_model": 16}, "made with --d-model 8, this run has 16"),
        ({"batch_size": 4}, "made with --batch-size 8, this run has 4"),
        ({"seed": 3}, "made with --seed 0, this run has 3"),
        ({"train_rows": 50}, "trained on other rows"),
        ({"split_seed": 9}, "trained on other rows"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, int], message: str
) -> None:
    data = write_csv(tmp_path / "news.csv")
    assert train(data, tmp_path, resume=whole / "checkpoint-6", **change) == 2
    assert message in capsys.readouterr().err


def test_more_epochs_go_on_from_the_end(data: Path, whole: Path, tmp_path: Path) -> None:
    assert train(data, tmp_path, epochs=3, resume=whole / "checkpoint-14") == 0
    assert [row["epoch"] for row in table(tmp_path)] == ["1", "2", "3"]
    assert table(tmp_path)[:2] == table(whole)


def test_the_newest_checkpoints_are_kept(data: Path, tmp_path: Path) -> None:
    assert train(data, tmp_path, keep=2) == 0
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-12", "checkpoint-14"]


def test_the_model_learns_and_the_control_does_not(data: Path, tmp_path: Path) -> None:
    settings: dict[str, object] = {"epochs": 20, "learning_rate": 0.01, "eval_rows": 20, "train_rows": 40}
    assert train(data, tmp_path / "plain", **settings) == 0
    assert train(data, tmp_path / "control", control="shuffled-labels", **settings) == 0
    accuracy = {name: records(tmp_path / name, "final")[0]["accuracy"] for name in ("plain", "control")}
    assert accuracy["plain"] > 0.9
    assert accuracy["control"] < 0.6


def test_evaluation_may_be_rare_but_never_misses_the_end(data: Path, tmp_path: Path) -> None:
    assert train(data, tmp_path, epochs=3, eval_every=2) == 0
    assert [bool(row["val_acc"]) for row in table(tmp_path)] == [False, True, True]


def test_bf16_trains(data: Path, tmp_path: Path) -> None:
    assert train(data, tmp_path, precision="bf16", epochs=1) == 0
    assert records(tmp_path, "start")[0]["precision"] == "bf16"
    assert 0 < float(table(tmp_path)[0]["train_loss"]) < 10


def test_without_checkpoints_none_is_written(data: Path, tmp_path: Path) -> None:
    assert train(data, tmp_path, checkpoint_every=0, epochs=1) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.csv", "metrics.jsonl"]


def test_a_lost_loss_ends_the_run_and_says_where(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(data, tmp_path, learning_rate=1e38, warmup_steps=0) == 1
    (diverged,) = records(tmp_path, "diverged")
    assert diverged["loss"] in {"nan", "inf"}
    assert capsys.readouterr().err == f"diverged: loss is {diverged['loss']} at step {diverged['step']}\n"
    assert not records(tmp_path, "final")
    assert table(tmp_path) == []


def test_a_missing_file_ends_the_run_before_it_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "none.csv", tmp_path / "run") == 2
    assert capsys.readouterr().err.splitlines()[0] == f"error: no such file or folder: {tmp_path / 'none.csv'}"


def test_an_output_folder_that_cannot_be_made_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert train(data, tmp_path / "file" / "run") == 2
    assert "cannot be made" in capsys.readouterr().err


def test_told_to_stop_it_leaves_with_75_and_goes_on_as_if_nothing_had_happened(data: Path, tmp_path: Path) -> None:
    process = start(data, tmp_path / "cut", epochs=10**6, checkpoint_every=0)
    wait_for_steps(process, tmp_path / "cut")
    process.send_signal(signal.SIGTERM)
    said, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (75, "")
    (left,) = records(tmp_path / "cut", "leave")
    step = left["step"]
    assert f"left at step {step} with a checkpoint" in said
    assert records(tmp_path / "cut", "checkpoint")[-1]["path"] == f"checkpoint-{step}"
    settings: dict[str, object] = {"epochs": 10**6, "max_steps": step + 5, "checkpoint_every": step + 5}
    assert train(data, tmp_path / "cut", resume=f"checkpoint-{step}", **settings) == 0
    assert train(data, tmp_path / "whole", **settings) == 0
    assert same(weights(tmp_path / "cut", step + 5), weights(tmp_path / "whole", step + 5))
    assert table(tmp_path / "cut") == table(tmp_path / "whole")
