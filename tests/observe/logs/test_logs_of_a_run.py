"""What a run measured whose program writes no records for gpuplan: its trainer's logs, where they can be believed."""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING

import log_samples as samples
import pytest
from test_logs_formats import written

from gpuplan.observe import metrics
from gpuplan.observe.metrics import DIVERGED, measure

if TYPE_CHECKING:
    from pathlib import Path

    from gpuplan.model import Measurement

WEIGHTS = (100).to_bytes(8, "little") + b'{"a": 1}'


def of_a_run(folder: Path, *, duration_s: float | None = 1000.0) -> Measurement:
    return measure(folder, launched_at=1.0, ended_at=None if duration_s is None else 1.0 + duration_s)


@pytest.mark.parametrize(
    ("name", "log"),
    [
        ("log.txt", samples.torchtune_bar),
        ("log.txt", samples.hugging_face_output),
        ("log.txt", samples.nanogpt),
        ("out/history.csv", lambda: "step,loss,step_time_ms\n" + "".join(f"{n},1.5,500\n" for n in range(50))),
    ],
)
def test_a_trainers_log_has_the_times(tmp_path: Path, name: str, log: object) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    written(tmp_path, name, log())  # type: ignore[operator]
    found = of_a_run(tmp_path)
    assert found.step_s == pytest.approx(samples.STEP_S, rel=0.03)
    assert found.duration_s == 1000.0
    assert found.flags == ()


def test_records_for_gpuplan_come_first(tmp_path: Path) -> None:
    written(tmp_path, "log.txt", samples.torchtune_bar())
    written(tmp_path, "metrics.csv", "step,loss,step_time_s\n" + "".join(f"{n},1.5,2.0\n" for n in range(50)))
    assert of_a_run(tmp_path).step_s == 2.0
    written(tmp_path, "metrics.csv", "step,accuracy\n" + "".join(f"{n},0.7\n" for n in range(50)))
    found = of_a_run(tmp_path)
    assert found.step_s == pytest.approx(samples.STEP_S, rel=0.03)
    assert found.final == {"accuracy": 0.7}
    records = ({"event": "start", "world_size": 1, "time_s": 1.0}, {"event": "final", "accuracy": 0.8})
    written(tmp_path, "metrics.jsonl", "".join(json.dumps(one) + "\n" for one in records))
    assert of_a_run(tmp_path).step_s is None


def test_checkpoints_cost_nothing_and_the_newest_state_counts(tmp_path: Path) -> None:
    written(tmp_path, "log.txt", samples.hugging_face_output())
    for steps in (100, 200):
        folder = tmp_path / f"checkpoint-{steps}"
        folder.mkdir()
        written(folder, "trainer_state.json", samples.trainer_state(steps=steps))
        written(folder, "model.safetensors", WEIGHTS)
        os.truncate(folder / "model.safetensors", 2 * metrics.MOST_LOG_BYTES)
    found = of_a_run(tmp_path)
    assert found.step_s == pytest.approx(samples.STEP_S, rel=0.03)
    assert found.steps == 200


def test_beside_more_than_can_be_read_the_log_alone_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = written(tmp_path, "log.txt", samples.torchtune_bar())
    written(tmp_path, "data.txt", "words\n" * 1000)
    monkeypatch.setattr(metrics, "MOST_LOG_BYTES", log.stat().st_size + 100)
    assert of_a_run(tmp_path).step_s is not None
    monkeypatch.setattr(metrics, "MOST_LOG_BYTES", log.stat().st_size - 1)
    assert of_a_run(tmp_path).step_s is None


def test_less_is_read_of_a_run_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "log.txt", samples.torchtune_bar())
    assert of_a_run(tmp_path, duration_s=None).step_s is not None
    monkeypatch.setattr(metrics, "MOST_LOG_BYTES_OF_A_LIVE_RUN", 1000)
    assert of_a_run(tmp_path, duration_s=None).step_s is None
    assert of_a_run(tmp_path).step_s is not None


def test_a_log_that_is_doubted_gives_nothing(tmp_path: Path) -> None:
    text = samples.torchtune_bar()
    written(tmp_path, "log.txt", f"{text}Traceback (most recent call last):\n")
    found = of_a_run(tmp_path)
    assert (found.step_s, found.flags) == (None, ())


def test_a_training_that_diverged_is_said_to_have(tmp_path: Path) -> None:
    rows = "".join(f"{n},{math.nan if n > 40 else 1.5},500\n" for n in range(50))
    written(tmp_path, "history.csv", f"step,loss,step_time_ms\n{rows}")
    found = of_a_run(tmp_path)
    assert found.step_s == samples.STEP_S
    assert [flag.startswith(DIVERGED) for flag in found.flags] == [True]


def test_logs_of_two_trainings_give_nothing(tmp_path: Path) -> None:
    for name, step_ms in (("first.csv", 500), ("second.csv", 700)):
        written(tmp_path, name, "step,loss,step_time_ms\n" + "".join(f"{n},1.5,{step_ms}\n" for n in range(50)))
    assert of_a_run(tmp_path).step_s is None


def test_a_log_of_more_than_the_run_took_came_from_elsewhere(tmp_path: Path) -> None:
    """As the state of a model that was trained before, and that the program copies into its folder."""
    written(tmp_path, "old.log", samples.torchtune_bar())
    assert of_a_run(tmp_path, duration_s=30.0).step_s is None


def test_samples_of_the_devices_alone_are_no_training(tmp_path: Path) -> None:
    written(tmp_path, "gpu.csv", samples.nvidia_smi())
    assert of_a_run(tmp_path).device_busy is None
