"""Real runs of two ranks under torchrun, with gloo on CPUs: the same training as one rank, and the original's bug."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
import torch
from test_agnews_support import (
    PATIENCE_S,
    finish,
    largest_difference,
    records,
    start,
    table,
    train,
    wait_for_steps,
    weights,
    write_csv,
)

if TYPE_CHECKING:
    from pathlib import Path

EXACT: dict[str, object] = {"dropout": 0, "learning_rate": 1e-3, "train_rows": 49}
"""No dropout, whose numbers are each rank's own; 49 rows in batches of 8 leave one row to the last step of an epoch."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "news.csv")


def test_two_ranks_train_as_one(data: Path, tmp_path: Path) -> None:
    two = start(data, tmp_path / "two", ranks=2, **EXACT)
    assert train(data, tmp_path / "one", **EXACT) == 0
    finish(two)
    one, other = (that_count(weights(tmp_path / name, 14), d_model=8) for name in ("one", "two"))
    assert largest_difference(one, other) < 1e-5
    for alone, together in zip(table(tmp_path / "one"), table(tmp_path / "two"), strict=True):
        assert together["samples"] == alone["samples"] == "49"
        assert float(together["train_loss"]) == pytest.approx(float(alone["train_loss"]), abs=1e-6)
        assert float(together["val_loss"]) == pytest.approx(float(alone["val_loss"]), abs=1e-6)
    for rank, samples in enumerate((25, 24)):
        begin = records(tmp_path / "two", "start", rank=rank)[0]
        assert (begin["rank"], begin["world_size"], begin["batch_size"], begin["dataset_rows"]) == (rank, 2, 8, 49)
        assert [epoch["samples"] for epoch in records(tmp_path / "two", "epoch", rank=rank)] == [samples] * 2
        assert sum(steps["steps"] for steps in records(tmp_path / "two", "steps", rank=rank)) == 14
        assert records(tmp_path / "two", "final", rank=rank)[0]["accuracy"] >= 0


def that_count(model: dict[str, torch.Tensor], *, d_model: int) -> dict[str, torch.Tensor]:
    """The weights without attention's key bias.

    It shifts all scores of a query alike and so changes nothing; its true gradient is zero, and Adam makes full steps
    of the rounding errors in its place.
    """
    bias = "encoder.layers.0.self_attn.in_proj_bias"
    return model | {bias: torch.cat([model[bias][:d_model], model[bias][2 * d_model :]])}


def test_without_sampler_every_rank_trains_on_all_rows(data: Path, tmp_path: Path) -> None:
    finish(start(data, tmp_path / "bug", ranks=2, shard="false", epochs=1))
    assert table(tmp_path / "bug")[0]["samples"] == "106"
    for rank in range(2):
        assert records(tmp_path / "bug", "start", rank=rank)[0]["shard"] is False
        (epoch,) = records(tmp_path / "bug", "epoch", rank=rank)
        assert (epoch["samples"], epoch["step"]) == (53, 7)


def test_told_to_stop_all_ranks_leave_at_the_same_step_and_any_number_goes_on(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    process = start(data, output, ranks=2, epochs=10**6, checkpoint_every=0)
    wait_for_steps(process, output, rank=1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode != 0
    (step,) = {record["step"] for rank in range(2) for record in records(output, "leave", rank=rank)}
    assert [len(records(output, "leave", rank=rank)) for rank in range(2)] == [1, 1]
    resumed = {"epochs": 10**6, "max_steps": step + 9, "resume": f"checkpoint-{step}"}
    assert train(data, output, **resumed) == 0
    assert records(output, "start")[-1]["step"] == step
    finished = [int(row["epoch"]) for row in table(output)]
    assert finished == list(range(1, (step + 9) // 7 + 1))
    assert {row["samples"] for row in table(output)} == {"53"}
