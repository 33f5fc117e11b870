"""Epochs of foreign logs: how many, their losses and their seconds, also of logs that stand by steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import log_samples as samples
import pytest
from test_logs_formats import noted, only, runs, written

if TYPE_CHECKING:
    from pathlib import Path


def mean_loss(first: int, last: int, every: int = 1) -> float:
    losses = [samples.loss_at(step) for step in range(first, last + 1, every)]
    return sum(losses) / len(losses)


def test_a_trainer_state_by_steps_has_losses_by_epoch(tmp_path: Path) -> None:
    run = only(written(tmp_path, "trainer_state.json", samples.trainer_state()))
    assert run.epochs["epoch"] == (1, 2)
    assert run.epochs["loss"] == pytest.approx((mean_loss(10, 100, 10), mean_loss(110, 200, 10)))
    assert run.epochs["val_loss"] == (samples.loss_at(100) + 0.1, samples.loss_at(200) + 0.1)


def test_an_epoch_that_is_not_over_has_no_figures(tmp_path: Path) -> None:
    rows = "".join(f"{{'loss': {3 / step}, 'epoch': {step / 100:.2f}}}\n" for step in range(10, 241, 10))
    run = only(written(tmp_path, "train.log", rows))
    assert run.epochs["epoch"] == (1, 2)
    assert run.measurement.epochs == 2
    assert noted(run, "no step numbers")


def test_lightning_counts_epochs_from_0(tmp_path: Path) -> None:
    run = only(written(tmp_path, "metrics.csv", samples.lightning_csv(epochs=4)))
    assert run.measurement.epochs == 4
    assert run.epochs["epoch"] == (1, 2, 3, 4)
    assert run.epochs["loss"][0] == pytest.approx(mean_loss(9, 49, 10))
    assert len(run.epochs["val_loss"]) == 4
    assert noted(run, "writes no times")


def test_a_table_by_epochs_from_0(tmp_path: Path) -> None:
    trained = "".join(f"{epoch},{3 / (epoch + 1)},0.5\n" for epoch in range(5))
    assert only(written(tmp_path, "a.csv", "epoch,loss,val_loss\n" + trained)).measurement.epochs == 5
    before = "epoch,loss,val_loss\n0,,0.9\n" + "".join(f"{epoch},{3 / epoch},0.5\n" for epoch in range(1, 6))
    assert only(written(tmp_path, "b.csv", before)).measurement.epochs == 5


def test_steps_that_begin_anew_with_each_epoch_are_one_run(tmp_path: Path) -> None:
    rows = [f"{epoch},{step},{samples.loss_at(50 * epoch + step)},0.5" for epoch in range(3) for step in range(50)]
    run = only(written(tmp_path, "m.csv", "epoch,step,loss,step_time_s\n" + "".join(f"{row}\n" for row in rows)))
    assert (run.measurement.steps, run.measurement.epochs, run.measurement.flags) == (149, 3, ())
    assert noted(run, "begin anew with each epoch")
    many = [f"{epoch},{step},0.5,0.5" for epoch in range(3) for step in range(5000)]
    long = only(written(tmp_path, "n.csv", "epoch,step,loss,step_time_s\n" + "".join(f"{row}\n" for row in many)))
    assert (long.measurement.steps, long.measurement.epochs, long.measurement.flags) == (14_999, 3, ())


def test_a_program_that_began_anew_is_still_two_runs(tmp_path: Path) -> None:
    rows = [f"{step // 50},{step},1.5,0.5" for step in range(150)]
    text = "epoch,step,loss,step_time_s\n" + "".join(f"{row}\n" for row in rows + rows)
    assert [run.measurement.steps for run in runs(written(tmp_path, "m.csv", text))] == [149, 149]


def test_bars_one_behind_the_other_are_epochs(tmp_path: Path) -> None:
    """Also where the title counts them, or has the loss in it."""
    for title in ("", "Epoch {epoch}/40: ", "Epoch {epoch} | loss {loss}: "):
        text = "".join(
            f"\r{title.format(epoch=epoch, loss=samples.loss_at(60 * epoch + step))}{step:3d}%|{samples.BAR}| "
            f"{step}/60 [{samples.clock(step * samples.STEP_S)}<00:10,  2.00it/s]"
            for epoch in range(40)
            for step in range(1, 61)
        )
        run = only(written(tmp_path, "train.log", text))
        assert (run.measurement.steps, run.measurement.epochs) == (2400, 40)
        assert run.measurement.step_s == pytest.approx(samples.STEP_S, rel=0.05)
        assert run.measurement.epoch_s == pytest.approx(60 * samples.STEP_S, abs=1.0)
        assert ("loss" in run.epochs) == ("loss" in title)


def test_a_validation_that_takes_longer_is_no_training(tmp_path: Path) -> None:
    def bar(title: str, steps: int, seconds: float) -> str:
        return "".join(
            f"\r{title} {step:3d}%|{samples.BAR}| {step}/{steps} [{samples.clock(step * seconds)}<00:10,  2.00it/s]"
            for step in range(1, steps + 1)
        )

    run = only(written(tmp_path, "train.log", (bar("Train:", 200, 0.5) + bar("Val:", 50, 5.0)) * 3))
    assert (run.measurement.steps, run.measurement.epochs) == (600, 3)
    assert run.measurement.step_s == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize(
    ("column", "cell", "epoch_s"),
    [
        ("epoch_time_ms", "61000", 61.0),
        ("epoch_time_min", "1.5", 90.0),
        ("epoch_time", "0:01:30", 90.0),
        ("epoch_time", "90 s", 90.0),
        ("train_time", "90", 90.0),
        ("train_time", "61000", None),
    ],
)
def test_seconds_of_an_epoch(tmp_path: Path, column: str, cell: str, epoch_s: float | None) -> None:
    rows = "".join(f"{epoch},{3 / epoch},{cell}\n" for epoch in range(1, 10))
    run = only(written(tmp_path, "m.csv", f"epoch,loss,{column}\n{rows}"))
    assert run.measurement.epoch_s == (pytest.approx(epoch_s) if epoch_s else None)
    assert bool(run.measurement.flags) == (epoch_s is None)


def test_a_time_that_only_grows_is_a_clock(tmp_path: Path) -> None:
    rows = "".join(f"{epoch},{3 / epoch},{60 * epoch}\n" for epoch in range(1, 10))
    run = only(written(tmp_path, "m.csv", f"epoch,loss,train_time\n{rows}"))
    assert run.measurement.epoch_s == 60.0
    assert any("only grows" in flag for flag in run.measurement.flags)
    slower = "".join(f"{epoch},{3 / epoch},{60 + epoch}\n" for epoch in range(1, 10))
    assert only(written(tmp_path, "n.csv", f"epoch,loss,train_time\n{slower}")).measurement.epoch_s == 65.5
