"""Doubts about measurements, against the public runs that showed each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gpuplan.data import gpus
from gpuplan.model import Footprint, Line, LoggedRun, Measurement, Moment, Operators
from gpuplan.verify.measured import Context, doubts, groups

if TYPE_CHECKING:
    from gpuplan.model import Finding

AG_NEWS_ROWS, BATCH_ROWS = 120_000, 32
"""codeharris/multi-gpu-ddp at 62a4644, its small model: exp041 and exp042; exp020 and exp021 on IMDB."""


def run(name: str, ranks: int, *, epoch_s: float | None = None, losses: tuple[float, ...] = (), **measured: Any) -> Any:
    measurement = {"epoch_s": epoch_s, "world_size": ranks, **measured}
    return LoggedRun(
        name=name,
        format="csv",
        path=f"logs/{name}/metrics.csv",
        gpu="V100 SXM2 16GB",
        ranks=ranks,
        epochs={"train_loss": losses} if losses else {},
        measurement=Measurement.model_validate(measurement),
    )


def checks(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.check for finding in findings]


def ag_news(dataset_rows: int | None = None) -> list[LoggedRun]:
    one = run("exp041_agnews_1gpu", 1, epoch_s=19.53, losses=(0.570, 0.349), dataset_rows=dataset_rows)
    four = run("exp042_agnews_ddp_4gpu", 4, epoch_s=42.33, losses=(0.41851, 0.31), dataset_rows=dataset_rows)
    return [one, four]


def imdb() -> list[LoggedRun]:
    one = run("exp020_imdb_single_gpu", 1, epoch_s=11.20, losses=(0.610, 0.492), dataset_rows=25_000)
    four = run("exp021_imdb_ddp_single_node", 4, epoch_s=3.21, losses=(0.690, 0.638), dataset_rows=25_000)
    return [one, four]


# ---------------------------------------------------------------- the missing sampler


def test_a_lower_loss_after_one_epoch_on_more_ranks_is_suspected() -> None:
    (finding,) = doubts(ag_news(), Context())
    assert (finding.check, finding.severity) == ("unsharded-suspected", "warning")
    assert "0.419 on 4 ranks and 0.57 on 1" in finding.message
    assert finding.place == "logs/exp042_agnews_ddp_4gpu/metrics.csv"


def test_with_the_sizes_it_is_named_with_the_true_scaling() -> None:
    (finding,) = doubts(ag_news(AG_NEWS_ROWS), Context(batch_rows=BATCH_ROWS))
    assert (finding.check, finding.severity) == ("unsharded", "error")
    assert "every rank trained on all 120,000 rows" in finding.message
    assert "apparent speed-up 0.46" in finding.message
    assert "true throughput scaling 1.85x" in finding.message


def test_a_speed_up_with_a_higher_first_loss_is_left_standing() -> None:
    assert doubts(imdb(), Context(batch_rows=BATCH_ROWS)) == ()


def test_data_sets_are_not_compared_with_each_other() -> None:
    assert checks(doubts([*imdb(), *ag_news()], Context())) == ["unsharded-suspected"]
    assert [len(group.runs) for group in groups([*imdb(), *ag_news()])] == [2, 2]


def test_a_log_that_starts_later_does_not_speak_of_the_first_epoch() -> None:
    one, four = ag_news()
    resumed = four.model_copy(update={"epochs": {**four.epochs, "epoch": (6.0, 7.0)}})
    assert doubts([one, resumed], Context()) == ()


def test_rows_that_the_ranks_counted_name_it_without_a_second_run() -> None:
    log = run("a", 4, samples_per_epoch_by_rank=(6000.0,) * 4, dataset_rows=6000, batch_size=128)
    assert checks(doubts([log], Context())) == ["unsharded"]
    divided = run("a", 4, samples_per_epoch_by_rank=(1500.0,) * 4, dataset_rows=6000, batch_size=128)
    assert doubts([divided], Context()) == ()


def test_as_many_steps_an_epoch_on_more_ranks() -> None:
    one, four = run("a", 1, steps=3750, epochs=1, epoch_s=20.0), run("a", 4, steps=3750, epochs=1, epoch_s=42.0)
    assert checks(doubts([one, four], Context())) == ["steps-do-not-fall"]
    kept = run("a", 1, steps=3750, epochs=1, batch_size=32), run("a", 4, steps=3750, epochs=1, batch_size=32)
    assert doubts(kept, Context()) == ()
    divided = run("a", 4, steps=938, epochs=1)
    assert doubts([one, divided], Context()) == ()


# ---------------------------------------------------------------- idle and busy devices


def test_equal_losses_in_equal_time_on_more_gpus_mean_idle_ones() -> None:
    one = run("qlora-1gpu", 1, epoch_s=1969.2, losses=(0.91, 0.87, 0.85))
    four = run("qlora-4gpu", 4, epoch_s=1969.8, losses=(0.91, 0.87, 0.85))
    (finding,) = doubts([one, four], Context())
    assert finding.check == "idle-ranks"
    faster = four.model_copy(update={"measurement": four.measurement.model_copy(update={"epoch_s": 600.0})})
    assert doubts([one, faster], Context()) == ()


@pytest.mark.parametrize(
    ("busy", "expected"),
    [(0.0, ["trains-on-cpu"]), (0.04, ["trains-on-cpu"]), (0.3, ["data-bound"]), (0.9, []), (None, [])],
)
def test_how_busy_the_gpu_was(busy: float | None, expected: list[str]) -> None:
    assert checks(doubts([run("a", 1, step_s=0.1, device_busy=busy)], Context())) == expected


# ---------------------------------------------------------------- what cannot be


def footprint(flops_a_row: float, parameters: int = 1_000_000) -> Footprint:
    return Footprint(
        source="closed_form",
        because="a test",
        parameters=parameters,
        gradient_bytes=4 * parameters,
        checkpoint_bytes=12 * parameters,
        operators=(Operators(kind="matmul", flops=Line(slope=flops_a_row), moved_bytes=Line(), kernels=1),),
        moments=(Moment(phase="forward", alive_bytes={"parameters": Line(intercept=4 * parameters)}),),
    )


def test_more_flops_than_the_card_can_do() -> None:
    card = gpus()["V100 SXM2 16GB"]
    context = Context(batch_rows=32, gpus={card.name: card}, footprint=footprint(1e12))
    assert checks(doubts([run("a", 1, step_s=0.01)], context)) == ["over-roofline"]
    assert doubts([run("a", 1, step_s=1.0)], context) == ()


def test_a_step_shorter_than_its_exchange() -> None:
    """Transformer-XL of 520 M parameters, trained by a script that never wrapped the model: 0.13 s over PCIe."""
    card = gpus()["RTX 3090"]
    context = Context(gpus={"V100 SXM2 16GB": card})
    unsynchronised = run("a", 8, step_s=0.13, parameters=520_000_000)
    assert checks(doubts([unsynchronised], context)) == ["no-gradient-sync"]
    assert doubts([run("a", 8, step_s=2.0, parameters=520_000_000)], context) == ()
    assert doubts([run("a", 1, step_s=0.01, parameters=520_000_000)], context) == ()


def test_a_peak_that_cannot_hold_the_weights() -> None:
    log = run("llama-1b", 1, step_s=0.5, peak_allocated_bytes=2_350_000_000, parameters=1_235_814_400)
    assert checks(doubts([log], Context())) == ["peak-below-weights"]
    assert doubts([run("a", 1, step_s=0.5, peak_allocated_bytes=18 * 2**30, parameters=1_235_814_400)], Context()) == ()
