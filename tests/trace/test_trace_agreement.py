"""Ten real training steps on this CPU against their trace: tensor bytes by the profiler's memory events."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpuplan.trace import trace

PROGRAMS = Path(__file__).parent / "programs"
AGNEWS = "gpuplan.workloads.agnews.step:make_step"
SMALL = {"vocabulary": 2000, "d_model": 64, "feedforward": 128, "sequence": 48}
TRACED_AT, RUN_AT = (8, 16), 20


def measured_bytes(target: str, settings: dict[str, Any]) -> int:
    done = subprocess.run(
        [sys.executable, str(PROGRAMS.parent / "measure.py"), target, json.dumps(settings)],
        cwd=PROGRAMS,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("target", "settings"),
    [
        (AGNEWS, SMALL),
        (AGNEWS, {**SMALL, "precision": "bf16"}),
        ("decoder:make_step", {"dropout": 0.1}),
        ("decoder:make_step", {"checkpointing": True, "fused": True, "precision": "bf16"}),
        ("decoder:make_step", {"lora": True}),
        ("convolutions:make_step", {}),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else value.partition(":")[0].split(".")[-1],
)
def test_the_trace_agrees_with_ten_real_steps(target: str, settings: dict[str, Any]) -> None:
    """At a batch that was not traced: the answer comes from the lines through two others."""
    traced = trace(
        target,
        {**settings, "batch_size": TRACED_AT[0]},
        workdir=PROGRAMS,
        micro_batch="batch_size",
        batches=TRACED_AT,
        device="cpu",
    )
    assert traced.is_linear, traced.difference
    real = measured_bytes(target, {**settings, "batch_size": RUN_AT})
    assert traced.footprint.peak(RUN_AT).total_bytes(RUN_AT) == pytest.approx(real, rel=0.02)
