"""Logs of one run are one run; logs of two are never one, however alike they are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import log_samples as samples
import pytest
from test_logs_formats import noted, only, runs, written

from gpuplan.model import LoggedRun
from gpuplan.observe.logs import Refusal, joined, read_logs
from gpuplan.observe.logs.curve import Spot, are_one

if TYPE_CHECKING:
    from pathlib import Path


def lines(*, every: int = 1, steps: int = 400, loss: float = 0.0) -> str:
    """What DiskLogger writes beside the bar of `samples.torchtune_bar`."""
    return "".join(
        f"Step {step} | loss:{samples.loss_at(step) + loss} tokens_per_second_per_gpu:4000 peak_memory_alloc:17.5 \n"
        for step in range(every, steps + 1, every)
    )


def torchtune_run(folder: Path, *, every: int = 1, steps: int = 200) -> Path:
    (folder / "logs").mkdir(parents=True)
    written(folder, "slurm-12.out", samples.torchtune_bar(steps=steps))
    written(folder / "logs", "log_1700000000.txt", lines(every=every, steps=2 * steps))
    return folder


@pytest.mark.parametrize(("every", "steps"), [(1, 200), (10, 200), (10, 3000), (100, 3000)])
def test_the_bar_and_the_lines_of_a_torchtune_run_are_one_fact(tmp_path: Path, every: int, steps: int) -> None:
    run = only(torchtune_run(tmp_path / "run", every=every, steps=steps))
    assert run.measurement.steps == 2 * steps
    assert run.measurement.step_s == pytest.approx(samples.STEP_S, rel=0.03)
    assert run.measurement.peak_allocated_bytes == 17.5 * samples.GIB
    assert run.measurement.tokens_per_s == 4000  # of the one GPU that the recipe's name says
    assert noted(run, "one run with log_1700000000.txt")
    assert not noted(run, "does not say how many there were")


def test_files_that_were_read_one_by_one_can_be_joined(tmp_path: Path) -> None:
    folder = torchtune_run(tmp_path / "run")
    paths = (folder / "slurm-12.out", folder / "logs" / "log_1700000000.txt")
    apart = [found for path in paths for found in read_logs(path)]
    assert len(apart) == 2
    (run,) = joined(apart)
    assert joined([run]) == [run]
    assert isinstance(run, LoggedRun)
    assert "curve" not in run.model_dump(mode="json")


def test_samples_of_devices_belong_to_the_only_run_in_their_folder(tmp_path: Path) -> None:
    folder = torchtune_run(tmp_path / "run")
    written(folder, "gpu_metrics.csv", samples.nvidia_smi())
    written(folder, "seff.txt", samples.seff())
    run = only(folder)
    assert (run.gpu, run.measurement.duration_s) == ("NVIDIA A100-SXM4-80GB", 1170.0)
    assert run.measurement.peak_device_bytes == 18039 * 2**20
    assert run.measurement.cpu_busy == 0.5
    written(folder, "slurm-13.out", samples.torchtune_bar().replace("Loss: ", "Loss: 1"))
    assert sorted(each.format for each in runs(folder)) == ["nvidia-smi", "seff", "torchtune", "torchtune"]


def test_samples_of_other_devices_than_it_ran_on_are_left_apart(tmp_path: Path) -> None:
    folder = torchtune_run(tmp_path / "run")  # of one GPU
    written(folder, "dcgm.txt", samples.dcgm())  # of two
    assert {each.format for each in runs(folder)} == {"torchtune", "dcgm"}


def test_a_trainers_print_and_its_checkpoints_state_are_one_fact(tmp_path: Path) -> None:
    checkpoint = tmp_path / "my-run" / "out" / "checkpoint-200"
    checkpoint.mkdir(parents=True)
    state = json.loads(samples.trainer_state())
    state["log_history"].pop()  # the summary, which comes after the last checkpoint
    written(checkpoint, "trainer_state.json", json.dumps(state, indent=2))
    alone = only(checkpoint)
    assert (alone.measurement.step_s, alone.name) == (None, "my-run")
    assert noted(alone, "has no times")
    written(tmp_path / "my-run", "train.log", samples.hugging_face_output())
    run = only(tmp_path / "my-run")
    assert run.measurement.step_s == pytest.approx(samples.STEP_S, rel=0.03)
    assert run.settings["train_batch_size"] == 16
    assert len(run.epochs["loss"]) == 2
    assert not noted(run, "has no times")


def test_runs_of_a_sweep_in_one_folder_stay_apart(tmp_path: Path) -> None:
    for number in range(3):
        written(tmp_path, f"slurm-{number}.out", samples.torchtune_bar())
    assert len(runs(tmp_path)) == 3  # the same seed three times
    written(tmp_path, "log_1.txt", lines())
    assert len(runs(tmp_path)) == 4  # of which of the three it is, nobody can tell
    written(tmp_path, "log_2.txt", lines(loss=0.001))
    assert len(runs(tmp_path)) == 5


def test_runs_beside_each_other_stay_apart(tmp_path: Path) -> None:
    """The same losses on one GPU and on four are a finding, not one run."""
    for name, text in (("1gpu", samples.torchtune_bar()), ("4gpu", lines())):
        (tmp_path / name).mkdir()
        written(tmp_path / name, "train.log", text)
    assert len(runs(tmp_path)) == 2


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ([2.9412, 2.8846, 2.8302], True),
        ([2.94, 2.88, 2.83], True),
        ([2.94, 2.88, 2.84], False),
        ([2.94118, 2.88462, 2.83019], True),
        ([2.9411, 2.8845, 2.8301], False),
        ([2.9412, 2.8846], False),
    ],
)
def test_losses_are_the_same_at_the_digits_that_were_printed(other: list[float], same: bool) -> None:
    spots = [Spot(step, None, loss) for step, loss in enumerate([2.9411764, 2.8846153, 2.8301886])]
    assert are_one(spots, [Spot(step, None, loss) for step, loss in enumerate(other)]) == same
    assert not are_one(spots, [Spot(step + 10, None, loss) for step, loss in enumerate(other)])


def test_files_that_are_no_logs_are_named_once_for_their_folder(tmp_path: Path) -> None:
    for name, content in (("config.json", b"{}"), ("model.safetensors", bytes(8) + b'{"a'), ("notes.txt", b"hello")):
        written(tmp_path, name, content)
    written(tmp_path, "half.gz", b"\x1f\x8b" + b"x" * 500)
    own, folder = (each for each in read_logs(tmp_path) if isinstance(each, Refusal))
    assert own.path.endswith("half.gz")
    assert (folder.path, folder.reason.partition(": ")[2]) == (
        str(tmp_path),
        "config.json, model.safetensors, notes.txt",
    )
