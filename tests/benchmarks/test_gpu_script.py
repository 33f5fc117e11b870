"""The script that measures on a GPU, run here on the CPU: what it predicts, measures and writes is real."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from gpu import main, summary


def test_one_case_is_predicted_measured_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "gpu.json"
    assert main(["--device", "cpu", "--limit", "1", "--json", str(output)]) == 0
    (case,) = json.loads(output.read_text("utf-8"))["cases"]
    assert case["problem"] == ""
    assert case["measured"]["step_s"] > 0
    assert case["predicted"]["step_s"]["p50"] > 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["alone_step_s"]["cases"] == 1


def test_nothing_measured_has_no_scores() -> None:
    assert summary([]) == {"measured": 0, "problems": []}
