"""Which logs become facts, by their names and by what they measured, and what a shared fact keeps to itself."""

from __future__ import annotations

from typing import Any

import pytest

from gpuplan.data import find_gpu
from gpuplan.learn import anonymous, evidence_of_log, refusal_of_log
from gpuplan.learn.facts import ranks_in_name
from gpuplan.model import LoggedRun, Measurement

V100 = find_gpu("V100")


def logged(measurement: Measurement, **more: Any) -> LoggedRun:
    return LoggedRun(name="run", format="csv", path="logs/run/metrics.csv", gpu="V100", measurement=measurement, **more)


@pytest.mark.parametrize(
    ("name", "ranks"),
    [
        ("llama_4_gpus_20ep", 4),
        ("ddp-8x-gpu", 8),
        ("16 ranks", 16),
        ("exp3_rank64", None),
        ("exp3_rank_64", None),
        ("lora_r8_rank_16/metrics.csv", None),
        ("run2_gpu0", None),
        ("run2_gpu_0", None),
        ("cluster_8gpu_nodes/exp_2gpu/train.log", 2),
        ("80gb_4gpu", 4),
    ],
)
def test_only_a_count_of_gpus_is_taken_from_a_name(name: str, ranks: int | None) -> None:
    assert ranks_in_name(name) == ranks


def test_reserved_memory_alone_is_a_fact() -> None:
    assert refusal_of_log(logged(Measurement(peak_reserved_bytes=2**30)), gpu=V100) is None


def test_a_log_without_figures_is_refused_with_what_it_says_of_them() -> None:
    flags = ("metrics.csv: train_time has no unit, and 61000 may be milliseconds: left out",)
    reason = refusal_of_log(logged(Measurement(flags=flags), notes=("gpu_mem has no unit and is left out",)), gpu=V100)
    assert reason is not None
    assert "may be milliseconds" in reason
    assert "gpu_mem has no unit" in reason


def test_a_shared_fact_does_not_name_the_file_that_is_doubted() -> None:
    flags = ("secret-sweep.csv: step holds 'my text', which is no number; left out", "diverged: loss is no number")
    fact = evidence_of_log(logged(Measurement(step_s=0.1, flags=flags)), experiment=None, gpu=V100, today="2026-11-20")
    assert fact is not None
    assert anonymous(fact).measurement.flags == (
        "step holds '...', which is no number; left out",
        "diverged: loss is no number",
    )
