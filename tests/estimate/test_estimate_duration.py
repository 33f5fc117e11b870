"""Whole runs: how long they take and what they leave on disk."""

from __future__ import annotations

from typing import Any

import pytest
from estimate_cases import A100, CPU, GPT2, H100, experiment, fact, first_run, relative_width, with_settings, world

from gpuplan.estimate import estimate
from gpuplan.estimate.case import case_of
from gpuplan.expand import expand
from gpuplan.model import (
    Architecture,
    Checkpoint,
    Control,
    Estimate,
    Evidence,
    Experiment,
    FootprintSource,
    Gpu,
    Limits,
    Roles,
)

LOGS = 10 * 10**6
DISK_BYTES_PER_S = 500e6


def of(*evidence: Evidence, asked: Experiment | None = None, gpu: Gpu = CPU) -> Estimate:
    asked = asked or experiment()
    return estimate(first_run(asked), asked, gpu, world(evidence))


def load_weights_s(asked: Experiment | None = None) -> float:
    """Four bytes a parameter; of the small encoder if not said."""
    asked = asked or experiment()
    known = case_of(first_run(asked), asked, gpu=CPU, world=world()).known
    assert known is not None
    return 4 * known.parameters / DISK_BYTES_PER_S


def saving(**checkpoint: Any) -> Experiment:
    return experiment(checkpoint=Checkpoint(**checkpoint), footprint=FootprintSource(model=GPT2))


# ---------------------------------------------------------------- duration


def test_start_steps_and_the_rest_add_up() -> None:
    probe = fact(measured={"step_s": 0.5, "startup_s": 6.0})
    found = of(probe)
    assert found.steps == 100
    assert found.duration_s.p50 == pytest.approx(6.0 + 100 * 0.5)
    assert found.duration_s.source == "measured"
    assert "100 steps" in found.duration_s.because


def test_without_a_measured_start_it_is_the_rows_and_the_weights() -> None:
    assert of().duration_s.p50 == pytest.approx(2.5 + load_weights_s() + 100 * of().step_s.p50)
    two = experiment(ranks=2)
    assert of(asked=two).duration_s.p50 == pytest.approx(5.0 + load_weights_s() + 100 * of(asked=two).step_s.p50)


def test_large_weights_take_time_to_load_and_that_is_flagged() -> None:
    large = GPT2.model_copy(update={"layers": 48, "d_model": 1600, "heads": 25, "feedforward": 6400})
    asked = experiment(footprint=FootprintSource(model=large))
    assert load_weights_s(asked) > 10
    found = of(asked=asked, gpu=A100)
    assert found.duration_s.p50 == pytest.approx(15 + load_weights_s(asked) + 100 * found.step_s.p50)
    assert any("loaded or drawn at 500 MB/s" in assumption.text for assumption in found.assumptions)
    assert not any("loaded or drawn" in assumption.text for assumption in of().assumptions)


def test_a_start_that_was_measured_elsewhere_counts_before_an_assumed_one() -> None:
    found = of(fact(gpu=H100, measured={"step_s": 0.1, "startup_s": 40.0}), gpu=A100)
    assert found.duration_s.p50 == pytest.approx(40.0 + 100 * found.step_s.p50)


# ---------------------------------------------------------------- compilation


@pytest.mark.parametrize(
    ("settings", "roles", "seconds"),
    [
        ({"compile": True}, {}, 60),
        ({"torch_compile": "max-autotune"}, {}, 60),
        ({"compile": "none"}, {}, 0),
        ({"compile": False}, {}, 0),
        ({"fast": True}, {"compile": "fast"}, 60),
        ({"compile": True, "fast": False}, {"compile": "fast"}, 0),
        ({}, {"compile": True}, 60),
        ({}, {}, 0),
    ],
)
def test_compilation_is_said_by_its_role_or_by_a_usual_name(
    settings: dict[str, Any], roles: dict[str, Any], seconds: float
) -> None:
    asked = with_settings(**settings)
    asked = asked.model_copy(update={"roles": asked.roles.model_copy(update=roles)})
    found = of(asked=asked)
    assert found.duration_s.p50 == pytest.approx(2.5 + load_weights_s() + seconds + 100 * found.step_s.p50)
    assert any("to compile the model" in assumption.text for assumption in found.assumptions) is bool(seconds)


def test_a_measured_start_has_the_compilation_in_it_if_it_compiled() -> None:
    asked = with_settings(compile=True)
    same = fact(settings={"compile": True}, measured={"step_s": 0.1, "startup_s": 50.0})
    assert of(same, asked=asked).duration_s.p50 == pytest.approx(50.0 + 10.0)
    plain = fact(measured={"step_s": 0.1, "startup_s": 5.0})
    found = of(plain, asked=asked)
    assert found.duration_s.p50 == pytest.approx(5.0 + 60.0 + 100 * found.step_s.p50)


# ---------------------------------------------------------------- samples, tokens, epochs


def test_a_run_is_said_in_steps_epochs_samples_and_tokens() -> None:
    roles = experiment().roles.model_copy(update={"sequence": 512, "accumulation": 2})
    asked = experiment(roles=roles, settings=experiment().settings | {"epochs": 4, "steps": 1000})
    probe = fact(settings={"epochs": 4, "steps": 1000}, measured={"step_s": 0.6, "startup_s": 0.0})
    because = of(probe, asked=asked).duration_s.because
    assert "1,000 steps" in because
    assert "4 epochs of 2m30s" in because
    assert "32k samples" in because
    assert "16.4M tokens" in because


# ---------------------------------------------------------------- evaluation and checkpoints


def test_an_evaluated_row_takes_a_third_of_a_trained_one() -> None:
    asked = with_settings(epochs=3, train_rows=320, eval_rows=640)
    probe = fact(settings={"eval_rows": 640}, measured={"step_s": 0.6, "startup_s": 0.0})
    found = of(probe, asked=asked)
    assert found.duration_s.p50 == pytest.approx(100 * 0.6 + 3 * 640 * 0.6 / 32 / 3)


def test_ranks_divide_the_rows_to_evaluate() -> None:
    asked = with_settings(eval_rows=640).model_copy(update={"ranks": 2})
    probe = fact(ranks=2, settings={"eval_rows": 640}, measured={"step_s": 0.6, "startup_s": 0.0})
    assert of(probe, asked=asked).duration_s.p50 == pytest.approx(100 * 0.6 + 640 / 32 * 0.6 / 3)


def test_with_frozen_weights_a_forward_pass_is_nearly_half_of_a_step() -> None:
    adapters = GPT2.model_copy(update={"library": "hf", "method": "lora", "learned_positions": False})
    asked = experiment(settings=experiment().settings | {"eval_rows": 640}, footprint=FootprintSource(model=adapters))
    found = of(fact(settings={"eval_rows": 640}, measured={"step_s": 0.6, "startup_s": 0.0}), asked=asked)
    share = (found.duration_s.p50 - 60.0) / (640 * 0.6 / 32)
    assert 0.4 < share < 0.5
    assert any("evaluated in" in assumption.text for assumption in found.assumptions)


def test_evaluated_rows_are_loaded_too() -> None:
    probe = fact(settings={"eval_rows": 320}, measured={"step_s": 0.92, "startup_s": 0.0})
    roles = experiment().roles.model_copy(update={"load_s": 0.01, "workers": 0})
    asked = experiment(roles=roles, settings=experiment().settings | {"eval_rows": 320})
    assert of(probe, asked=asked).duration_s.p50 == pytest.approx(92.0 + 10 * (0.32 + 0.6 / 3))
    ahead = asked.model_copy(update={"roles": roles.model_copy(update={"workers": 1, "load_s": 0.02})})
    starved_s = 32 * 0.02 / (1 / 2)  # a worker and the main process on the one core of a rank
    assert of(probe, asked=ahead).duration_s.p50 == pytest.approx(92.0 + 10 * starved_s)


def test_checkpoints_and_the_final_weights_are_written() -> None:
    found = of(fact(gpu=A100, measured={"step_s": 0.5, "startup_s": 0.0}), asked=saving(every="25 steps"), gpu=A100)
    written_s = (4 * 12 + 4) * 124_439_808 / DISK_BYTES_PER_S
    assert found.duration_s.p50 == pytest.approx(50.0 + written_s)
    assert any("written at 500 MB/s" in assumption.text for assumption in found.assumptions)


def test_what_a_run_spent_outside_of_steps_goes_with_its_epochs() -> None:
    asked = with_settings(epochs=10)
    run = fact(kind="run", settings={"epochs": 2}, measured={"step_s": 0.1, "steps": 20, "epochs": 2, "other_s": 4.0})
    assert of(run, asked=asked).duration_s.p50 == pytest.approx(2.5 + load_weights_s() + 100 * 0.1 + 5 * 4.0)


def test_a_whole_run_of_the_same_length_is_the_duration() -> None:
    whole = {"step_s": 0.1, "steps": 100, "duration_s": 33.0}
    found = of(fact("r", kind="run", measured=whole)).duration_s
    assert (found.p50, found.source) == (33.0, "measured")
    assert relative_width(found) == (0.9, 1.1)
    shorter = fact("r", kind="run", settings={"steps": 50}, measured=whole | {"steps": 50})
    assert of(shorter).duration_s.p50 != 33.0
    assert of(fact("p", kind="probe", measured=whole)).duration_s.p50 != 33.0


def test_an_unknown_length_is_the_limit_or_an_hour_and_flagged() -> None:
    asked = experiment(roles=Roles(batch="batch"))
    found = of(asked=asked)
    assert found.steps is None
    assert (found.duration_s.p50, found.duration_s.source) == (3600.0, "assumed")
    assert any("`roles.steps`" in assumption.change for assumption in found.assumptions)
    limited = of(asked=asked.model_copy(update={"limits": Limits.model_validate({"run": "2 h"})})).duration_s
    assert (limited.p50, limited.p90, limited.source) == (7200.0, 7200.0, "assumed")
    assert "`limits.run`" in limited.because


def test_a_run_of_unknown_length_that_was_run_before_takes_as_long_again() -> None:
    asked = experiment(roles=Roles(batch="batch"))
    assert of(fact(kind="run", measured={"steps": 7, "duration_s": 80.0}), asked=asked).duration_s.p50 == 80.0


def test_a_control_that_evaluates_takes_no_steps() -> None:
    asked = with_settings(eval_rows=960).model_copy(update={"controls": [Control(name="untrained", train=False)]})
    trained, untrained = (estimate(run, asked, CPU, world()) for run in expand(asked))
    assert untrained.steps == 0
    assert untrained.duration_s.p50 == pytest.approx(2.5 + load_weights_s() + 960 * trained.step_s.p50 / 32 / 3)
    assert untrained.disk_bytes.p50 == LOGS


# ---------------------------------------------------------------- disk


@pytest.mark.parametrize(
    ("every", "keep", "kept"),
    [
        ("25 steps", None, 4),
        ("25 steps", 2, 2),
        ("1000 steps", None, 0),
        ("1 epoch", None, 3),
        ("0.5 epochs", 5, 5),
        ("25 steps", 9, 4),
        (None, 3, 3),
    ],
)
def test_how_many_checkpoints_stay(every: str | None, keep: int | None, kept: int) -> None:
    asked = saving(every=every, keep=keep)
    asked = asked.model_copy(update={"settings": asked.settings | {"epochs": 3}})
    found = of(asked=asked, gpu=A100).disk_bytes
    assert found.p50 == pytest.approx(kept * 12 * 124_439_808 + 4 * 124_439_808 + LOGS)
    assert found.because.startswith(f"{kept} checkpoint")


def test_checkpoints_by_the_clock() -> None:
    asked = saving(every="10 s")
    probe = fact(settings={}, gpu=A100, measured={"step_s": 0.35})
    assert of(probe, asked=asked, gpu=A100).disk_bytes.because.startswith("3 checkpoints")


def test_a_new_checkpoint_is_written_before_the_oldest_goes() -> None:
    rolling, all_kept = of(asked=saving(every="25 steps", keep=2)), of(asked=saving(every="50 steps"))
    assert rolling.disk_bytes.p50 == all_kept.disk_bytes.p50
    assert rolling.disk_bytes.p90 > all_kept.disk_bytes.p90 + 12 * 124_439_808


def test_measured_checkpoints_count_before_computed_ones() -> None:
    measured = fact(measured={"checkpoint_bytes": 5 * 10**9})
    found = of(measured, asked=saving(every="25 steps", keep=1)).disk_bytes
    assert found.p50 == pytest.approx(5 * 10**9 + 4 * 124_439_808 + LOGS)
    assert found.source == "measured"


def test_nothing_said_about_checkpoints_is_flagged() -> None:
    found = of(asked=experiment(footprint=FootprintSource(model=GPT2)))
    assert found.disk_bytes.p10 == LOGS
    assert found.disk_bytes.p50 == pytest.approx(12 * 124_439_808 + LOGS)
    assert any("`checkpoint.every`" in assumption.change for assumption in found.assumptions)


def test_ten_runs_fill_a_disk_of_fifty_gigabytes() -> None:
    """paGating: 351.0 M parameters, four checkpoints of weights and AdamW states a run, and the final weights.

    Its gates are not among the dimensions: a feed-forward of the same 226.6 M additional parameters stands for them.
    """
    pagating = Architecture(
        kind="decoder", layers=12, d_model=768, heads=12, feedforward=15_364, vocabulary=50_257, sequence=1024,
        tied=True, learned_positions=True,
    )  # fmt: skip
    asked = experiment(
        settings={"batch": 16, "steps": 20_000, "lr": 1e-3},
        vary={"mode": ["a", "b", "c", "d", "e"], "lr": [5e-4, 1e-3]},
        footprint=FootprintSource(model=pagating),
        checkpoint=Checkpoint(every="5000 steps"),
    )
    runs = expand(asked)
    assert len(runs) == 10
    total = sum(estimate(run, asked, A100, world()).disk_bytes.p50 for run in runs)
    assert total / 1e9 == pytest.approx(182.6, rel=0.005)


def test_a_whole_run_that_records_no_steps_is_measured_all_the_same() -> None:
    silent = fact(kind="run", measured={"step_s": None, "steps": 0, "duration_s": 42.0})
    found = of(silent)
    assert found.duration_s.p50 == pytest.approx(42.0)
    assert found.duration_s.source == "measured"
    shorter = fact(kind="run", measured={"step_s": None, "steps": 50, "duration_s": 42.0})
    assert of(shorter).duration_s.p50 != pytest.approx(42.0)
