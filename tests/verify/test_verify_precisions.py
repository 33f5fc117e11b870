"""Mixed precision that was asked for and did nothing, as in public benchmarks that passed an option nobody read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from verify_world import GB

from gpuplan.data import gpus
from gpuplan.flow.learn import Request, learn
from gpuplan.flow.state import State
from gpuplan.learn import Told
from gpuplan.model import LoggedRun, Measurement
from gpuplan.verify.asked import asked_of
from gpuplan.verify.measured import Context, doubts, groups

if TYPE_CHECKING:
    from pathlib import Path

    from gpuplan.model import Finding, Scalar

WAVEGLOW_MS = {"fp16": 1482.99, "fp32": 1478.37}
"""lambdal/deeplearning-benchmark, pytorch/results/3090_v1 (read 2026-11-20): WaveGlow on an RTX 3090, batch 18."""


def run(name: str, *, gpu: str | None = "RTX 3090", command: str = "", ranks: int = 1, **given: Any) -> LoggedRun:
    """A log with a batch of 18 among its settings; what is given beside `settings` was measured."""
    settings = {"batch_size": 18, **given.pop("settings", {})}
    measurement = Measurement.model_validate({"step_s": 1.48, **given})
    return LoggedRun(
        name=name,
        format="csv",
        path=f"logs/{name}/metrics.csv",
        settings=settings,
        command=command,
        gpu=gpu,
        ranks=ranks,
        measurement=measurement,
    )


def pair(half: dict[str, Any], full: dict[str, Any]) -> tuple[Finding, ...]:
    """What is said of one run with `amp: true` and one with `amp: false`."""
    one = run("run1", **half, settings={"amp": True})
    other = run("run2", **full, settings={"amp": False})
    return precision_findings(one, other)


def precision_findings(*logs: LoggedRun) -> tuple[Finding, ...]:
    found = doubts(logs, Context(gpus=gpus()))
    return tuple(finding for finding in found if finding.check.startswith("precision"))


# ---------------------------------------------------------------- from files, as a user has them


def nanogpt_log(folder: Path, step_ms: float) -> None:
    folder.mkdir(parents=True)
    lines = [f"iter {step}: loss {4 - step / 100:.4f}, time {step_ms:.2f}ms, mfu 30.00%" for step in range(60)]
    (folder / "train.log").write_text("\n".join(lines) + "\n", "utf-8")


def mlflow_run(folder: Path, params: dict[str, str], *, step_ms: int, peak_mb: int) -> None:
    for name in ("metrics/system", "params"):
        (folder / name).mkdir(parents=True)
    (folder / "meta.yaml").write_text("run_name: waveglow\n", "utf-8")
    for name, value in params.items():
        (folder / "params" / name).write_text(value, "utf-8")
    rows = [f"{1_700_000_000_000 + step * step_ms} {4 - step / 100} {step}" for step in range(200)]
    (folder / "metrics" / "loss").write_text("\n".join(rows), "utf-8")
    (folder / "metrics/system/gpu_0_memory_usage_megabytes").write_text(f"1700000001000 {peak_mb} 1", "utf-8")


def learned(folder: Path) -> tuple[Finding, ...]:
    """What `gpuplan learn FOLDER --gpu 'RTX 3090'` says."""
    return learn(Request([folder], Told(gpu="RTX 3090")), State(folder.parent / "state")).findings


def test_equal_steps_of_folders_named_after_the_precision_are_doubted_with_both_readings(tmp_path: Path) -> None:
    for precision, step_ms in WAVEGLOW_MS.items():
        nanogpt_log(tmp_path / "logs" / f"waveglow_{precision}", step_ms)
    nanogpt_log(tmp_path / "logs" / "bert_fp16", 180.0)
    nanogpt_log(tmp_path / "logs" / "bert_fp32", 300.0)
    (finding,) = learned(tmp_path / "logs")
    assert (finding.check, finding.severity) == ("precision-no-effect", "warning")
    assert finding.place == str(tmp_path / "logs" / "waveglow_fp16" / "train.log")
    assert str(tmp_path / "logs" / "waveglow_fp32" / "train.log") in finding.because
    assert "16 bits (by its name) seem to have had no effect: a step takes 1.48s against 1.48s" in finding.message
    assert "(+0.3 %)" in finding.message
    assert "the option did nothing, or data, launches or the host bound the step" in finding.because
    assert "their batches are not in the logs" in finding.because
    assert "parse_known_args" in finding.fix
    assert "torch.get_autocast_dtype" in finding.fix


def test_parameters_of_the_logs_tell_the_precision_and_equal_memory_settles_it(tmp_path: Path) -> None:
    shared = {"batch_size": "18"}
    mlflow_run(tmp_path / "logs" / "1", shared | {"amp": "True", "output_dir": "out/1"}, step_ms=500, peak_mb=10_000)
    mlflow_run(tmp_path / "logs" / "2", shared | {"amp": "False", "output_dir": "out/2"}, step_ms=501, peak_mb=10_010)
    (finding,) = learned(tmp_path / "logs")
    assert finding.place == str(tmp_path / "logs" / "1")
    assert "`amp: True`" in finding.message
    assert "9.31 GiB against 9.32 GiB in 32 bits (-0.1 %)" in finding.message
    assert "most likely did nothing" in finding.because
    assert "batches" not in finding.because


# ---------------------------------------------------------------- how far apart, and what else is known


@pytest.mark.parametrize(("step_s", "count"), [(1.48, 1), (1.505, 1), (1.455, 1), (1.55, 0), (1.40, 0), (0.7, 0)])
def test_only_steps_within_two_percent_are_doubted(step_s: float, count: int) -> None:
    assert len(pair({"step_s": step_s}, {})) == count


def test_epochs_are_compared_where_no_step_is_known() -> None:
    (finding,) = pair({"step_s": None, "epoch_s": 100.0}, {"step_s": None, "epoch_s": 101.0})
    assert "an epoch takes 1m40s against 1m41s" in finding.message
    assert pair({"step_s": None, "epoch_s": 100.0}, {}) == ()


@pytest.mark.parametrize(("busy", "words"), [(0.3, "as a GPU that is busy 30%"), (0.97, "with a GPU busy 97%")])
def test_how_busy_the_gpu_was_speaks_for_one_reading(busy: float, words: str) -> None:
    (finding,) = pair({"device_busy": busy}, {})
    assert words in finding.because


def test_memory_that_fell_shows_that_the_option_works() -> None:
    (finding,) = pair({"peak_allocated_bytes": 7 * GB}, {"peak_allocated_bytes": 10 * GB})
    assert (finding.check, finding.severity) == ("precision-part", "note")
    assert "did not change the time" in finding.message
    assert "something else" in finding.because


def test_faster_steps_with_the_same_memory_are_noted() -> None:
    (finding,) = pair({"step_s": 0.7, "peak_allocated_bytes": 10 * GB}, {"peak_allocated_bytes": 10 * GB})
    assert (finding.check, finding.severity) == ("precision-part", "note")
    assert "did not change the peak memory" in finding.message
    assert pair({"step_s": 0.7, "peak_allocated_bytes": 6 * GB}, {"peak_allocated_bytes": 10 * GB}) == ()


def test_the_same_memory_in_no_less_time_is_doubted_even_without_a_time() -> None:
    for half, full in (({"step_s": None}, {"step_s": None}), ({"step_s": 1.6}, {})):
        peak = {"peak_allocated_bytes": 10 * GB}
        (finding,) = pair(half | peak, full | peak)
        assert finding.check == "precision-no-effect"


def test_peaks_of_different_kinds_are_not_compared() -> None:
    assert pair({"step_s": 0.7, "peak_allocated_bytes": 10 * GB}, {"peak_device_bytes": 10 * GB}) == ()


# ---------------------------------------------------------------- which runs are alike


@pytest.mark.parametrize(
    "changed",
    [
        {"gpu": "RTX 4090"},
        {"ranks": 2},
        {"settings": {"amp": False, "batch_size": 36}},
        {"settings": {"amp": False, "layers": 12}},
        {"batch_size": 36},
        {"samples_per_s": 24.0},
    ],
    ids=["another card", "more ranks", "another batch", "another model", "a batch it counted", "another rate"],
)
def test_runs_that_differ_in_more_are_not_compared(changed: dict[str, Any]) -> None:
    half = run("run1", settings={"amp": True}, batch_size=18, samples_per_s=12.0)
    alike = run("run2", settings={"amp": False}, batch_size=18, samples_per_s=12.0)
    given: dict[str, Any] = {"settings": {"amp": False}, "batch_size": 18, "samples_per_s": 12.0}
    other = run("run2", **given | changed)
    assert len(precision_findings(half, alike)) == 1
    assert precision_findings(half, other) == ()


def test_a_batch_in_the_name_counts() -> None:
    logs = [run(name, settings={}) for name in ("bert_bs18_fp16", "bert_bs36_fp32")]
    assert precision_findings(*logs) == ()
    assert len(precision_findings(*[run(name, settings={}) for name in ("bert_bs18_fp16", "bert_bs18_fp32")])) == 1


def test_seeds_are_one_comparison_by_their_median() -> None:
    halves = [run(f"run{seed}", settings={"amp": True, "seed": seed}, step_s=1.48 + seed / 100) for seed in range(3)]
    fulls = [run(f"run{3 + seed}", settings={"amp": False, "seed": seed}, step_s=1.49) for seed in range(3)]
    outlier = run("run9", settings={"amp": True, "seed": 9}, step_s=9.0)
    (finding,) = precision_findings(*halves, outlier, *fulls)
    assert finding.place == "logs/run1/metrics.csv"


def test_tf32_is_the_one_to_beat_where_both_were_run() -> None:
    fast = run("run1", settings={"precision": "bf16-mixed"}, step_s=0.5)
    tf32 = run("run2", settings={"precision": "tf32"}, step_s=0.9)
    fp32 = run("run3", settings={"precision": "32-true"}, step_s=0.5)
    assert precision_findings(fast, tf32, fp32) == ()
    assert len(precision_findings(fast, fp32)) == 1


@pytest.mark.parametrize(
    ("gpu", "count"),
    [("P100 PCIe 16GB", 1), ("GTX 1080 Ti", 0), ("RTX PRO 6000 Max-Q", 1), ("unheard of", 1), (None, 1)],
)
def test_a_card_that_does_16_bits_no_faster_shows_it_by_memory_alone(gpu: str | None, count: int) -> None:
    assert len(pair({"gpu": gpu}, {"gpu": gpu})) == count
    same = {"gpu": gpu, "peak_allocated_bytes": 10 * GB}
    assert [finding.check for finding in pair(same, same)] == ["precision-no-effect"]


def test_a_run_that_says_no_precision_may_be_in_16_bits_by_default() -> None:
    (finding,) = precision_findings(run("run1", settings={"bf16": True}), run("run2", settings={}))
    assert "may be in 16 bits by default" in finding.because


def test_ranks_are_not_compared_across_precisions() -> None:
    one, four = run("bert-1gpu-fp32", settings={}), run("bert-4gpu-fp16", settings={}, ranks=4)
    assert len(groups([one, four])) == 2
    assert len(groups([one, run("bert-4gpu-fp32", settings={}, ranks=4)])) == 1


def test_bf16_is_not_faster_on_a_card_without_it() -> None:
    for asked, count in (("fp16", 1), ("bf16", 0)):
        logs = [run("run1", gpu="V100 SXM2 16GB", settings={"precision": name}) for name in (asked, "fp32")]
        assert len(precision_findings(*logs)) == count


# ---------------------------------------------------------------- which precision was asked for


@pytest.mark.parametrize(
    ("settings", "precision"),
    [
        ({"fp16": True}, "fp16"),
        ({"fp16": False, "bf16": True}, "bf16"),
        ({"fp16": False, "bf16": False}, "fp32"),
        ({"use_amp": 1}, "fp16"),
        ({"no_amp": True}, "fp32"),
        ({"amp_run": "true"}, "fp16"),
        ({"fp16_enabled": True}, "fp16"),
        ({"precision": "bf16-mixed"}, "bf16"),
        ({"precision": "bf16-true"}, "bf16"),
        ({"precision": 16}, "fp16"),
        ({"trainer_precision": 32}, "fp32"),
        ({"mixed_precision": "no"}, "fp32"),
        ({"mixed_precision": "bf16"}, "bf16"),
        ({"torch_dtype": "torch.float16"}, "fp16"),
        ({"torch_dtype": "float32", "bf16": True}, "bf16"),
        ({"dtype": "bfloat16"}, "bf16"),
        ({"precision": "tf32"}, "tf32"),
        ({"precision": "fp8"}, None),
        ({"fp16_full_eval": True, "half_precision_backend": "auto", "val_precision": 0.9}, "fp32"),
        ({}, "fp32"),
    ],
)
def test_settings_that_say_a_precision(settings: dict[str, Scalar], precision: str | None) -> None:
    assert asked_of(run("run1", settings=settings)).precision == precision


@pytest.mark.parametrize(
    ("command", "precision"),
    [
        ("python train.py --amp --lr 0.1", "fp16"),
        ("python train.py --amp-run", "fp16"),
        ("python train.py --lr 0.1 --no-amp", "fp32"),
        ("python train.py --precision bf16 data", "bf16"),
        ("python train.py trainer.precision=16-mixed", "fp16"),
        ("python train.py --precision {level}", "bf16"),
        ("python train.py --samples 16", "fp32"),
        ("python train.py --name it's", "fp32"),
    ],
)
def test_options_that_say_a_precision(command: str, precision: str) -> None:
    assert asked_of(run("run1", command=command, settings={"level": "bf16"})).precision == precision


def test_a_setting_passed_to_such_an_option_is_no_other_difference() -> None:
    command = "python train.py --precision {level}"
    logs = [run("run1", command=command, settings={"level": level}) for level in ("fp32", "fp16")]
    assert len(precision_findings(*logs)) == 1


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("bert-fp16", "fp16"),
        ("PyTorch_waveglow_FP16", "fp16"),
        ("amp-study-fp32", "fp32"),
        ("resnet_amp", "fp16"),
        ("resnet-no-amp", "fp32"),
        ("t5-bfloat16-s1", "bf16"),
        ("sample-16", "fp32"),
        ("example", "fp32"),
    ],
)
def test_names_that_say_a_precision(name: str, precision: str) -> None:
    assert asked_of(run(name)).precision == precision
