"""What is taken from a log of each format, from the layout that its writers give it."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import log_samples as samples
import pytest

from gpuplan.model import LoggedRun
from gpuplan.observe.logs import Refusal, read_logs

if TYPE_CHECKING:
    from collections.abc import Callable

REAL = Path(__file__).parent / "samples"


def runs(path: Path) -> list[LoggedRun]:
    return [found for found in read_logs(path) if isinstance(found, LoggedRun)]


def only(path: Path) -> LoggedRun:
    found = list(read_logs(path))
    assert len(found) == 1, found
    assert isinstance(found[0], LoggedRun), found
    return found[0]


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def noted(run: LoggedRun, text: str) -> bool:
    return any(text in note for note in run.notes)


@pytest.mark.parametrize(
    ("name", "log_format"),
    [
        ("slurm-4711.out", "torchtune"),
        ("hf.log", "hf_trainer"),
        ("trainer_state.json", "hf_trainer"),
        ("lightning.log", "lightning"),
        ("accelerate.log", "progress_bar"),
        ("nanogpt.log", "nanogpt"),
        ("llmc.log", "llm.c"),
        ("steps.csv", "csv"),
        ("steps.jsonl", "jsonl"),
        ("events.out.tfevents.1.host.1.0", "tensorboard"),
        ("run-abc123.wandb", "wandb"),
    ],
)
@pytest.mark.parametrize("shown", [True, False])
def test_seconds_of_a_step(tmp_path: Path, name: str, log_format: str, *, shown: bool) -> None:
    """By the content: the name says nothing where it is another."""
    run = only(written(tmp_path, name if shown else "something", samples.all_samples()[name]))
    assert run.format == log_format
    assert run.measurement.step_s == pytest.approx(samples.STEP_S, rel=0.03)
    assert run.measurement.flags == ()


def test_torchtune_bar(tmp_path: Path) -> None:
    run = only(written(tmp_path, "slurm-1.out", samples.torchtune_bar()))
    measured = run.measurement
    assert (measured.steps, measured.epochs, run.ranks) == (400, 2, 1)
    assert measured.final == {"loss": samples.loss_at(400)}
    assert measured.peak_allocated_bytes is None
    assert noted(run, "not the peak of training")
    assert noted(run, "warm-up")
    # The bar drawn again after the checkpoint would have added 33 s to the last step.
    assert measured.step_p90_s == pytest.approx(samples.STEP_S, rel=0.05)


def test_torchtune_lines(tmp_path: Path) -> None:
    run = only(written(tmp_path, "log_1700000000.txt", samples.torchtune_lines()))
    measured = run.measurement
    assert measured.peak_allocated_bytes == 19 * samples.GIB
    assert measured.peak_reserved_bytes == 20 * samples.GIB
    assert measured.tokens_per_s is None
    assert measured.final["tokens_per_second_per_gpu"] == 4002
    assert measured.final["val_loss"] == pytest.approx(samples.loss_at(100) + 0.1)
    assert noted(run, "not masked")
    assert noted(run, "of one GPU")


def test_torchtune_bar_and_lines_in_one_file(tmp_path: Path) -> None:
    both = samples.torchtune_bar(epochs=1, steps=100) + samples.torchtune_lines(steps=100)
    run = only(written(tmp_path, "slurm-1.out", both))
    assert run.measurement.step_s == pytest.approx(samples.STEP_S, rel=0.03)
    assert run.measurement.tokens_per_s == 4002
    assert run.measurement.peak_allocated_bytes == 19 * samples.GIB


def test_hugging_face_output(tmp_path: Path) -> None:
    run = only(written(tmp_path, "train.log", samples.hugging_face_output()))
    measured = run.measurement
    assert (measured.steps, measured.epochs, measured.duration_s) == (200, 2, 110.0)
    assert measured.samples_per_s == pytest.approx(29.09 * 110 / (110 - 2 * samples.EVALUATION_S))
    assert measured.final["eval_loss"] == pytest.approx(samples.loss_at(200) + 0.1)
    # Without the bar there is only the mean of the summary, and the steps that it comes to.
    lines = [line for line in samples.hugging_face_output().splitlines() if line.startswith("{")]
    bare = only(written(tmp_path, "bare.log", "\n".join(lines) + "\n"))
    assert bare.measurement.step_s == pytest.approx((110 - 2 * samples.EVALUATION_S) / 110 / 1.818)
    assert bare.measurement.steps == 200
    assert noted(bare, "without its 2 evaluations, start and checkpoints within")


def test_hugging_face_output_of_version_5_prints_texts(tmp_path: Path) -> None:
    rows = "".join(f"{{'loss': '{3 / n:.4f}', 'grad_norm': '1.25', 'epoch': '{n / 100}'}}\n" for n in range(1, 50))
    run = only(written(tmp_path, "train.log", rows))
    assert run.measurement.final == {"loss": 0.0612, "grad_norm": 1.25}


@pytest.mark.parametrize("with_bar", [True, False])
def test_evaluations_are_no_steps(tmp_path: Path, *, with_bar: bool) -> None:
    """Their bar has no title either, and the clock of the training's goes on meanwhile: 400 s of 1600."""
    text, clock_s = "", 0.0
    for step in range(1, 401):
        clock_s += 1
        text += f"\r{step // 4:3d}%|{samples.BAR}| {step}/400 [{samples.clock(clock_s)}<10:00,  1.00s/it]\n"
        text += f"{{'loss': {samples.loss_at(step)}, 'epoch': {step / 100:.2f}}}\n"
        if step % 20 == 0:
            text += "".join(
                f"\r{each:3d}%|{samples.BAR}| {each}/30 [{samples.clock(2 * each)}<00:10,  2.00s/it]"
                for each in range(1, 31)
            )
            clock_s += 60
            text += f"\n{{'eval_loss': 0.5, 'eval_runtime': 60.0, 'epoch': {step / 100:.2f}}}\n"
    text += (
        f"{{'train_runtime': {clock_s}, 'train_samples_per_second': 2.0, 'train_steps_per_second': 0.25, "
        "'train_loss': 1.5, 'epoch': 4.0}\n"
    )
    lines = text.splitlines() if not with_bar else []
    bare = "".join(f"{line}\n" for line in lines if line.startswith("{"))
    measured = only(written(tmp_path, "train.log", bare or text)).measurement
    assert measured.step_s == pytest.approx(1.0, rel=0.01)
    assert (measured.steps, measured.epochs, measured.samples_per_s) == (400, 4, 8.0)


def test_of_several_checkpoints_the_newest_counts(tmp_path: Path) -> None:
    for step in (100, 200, 1000):
        folder = tmp_path / "my-run" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        written(folder, "trainer_state.json", samples.trainer_state(steps=step))
    run = only(tmp_path)
    assert (run.name, run.measurement.steps) == ("my-run", 1000)
    assert run.settings["train_batch_size"] == 16
    assert run.measurement.duration_s == 1000 * samples.STEP_S + 10 * samples.EVALUATION_S


def test_lightning_csv_has_empty_cells(tmp_path: Path) -> None:
    run = only(written(tmp_path, "metrics.csv", samples.lightning_csv()))
    assert run.format == "lightning"
    assert run.measurement.best["val_acc"] == 0.8
    assert run.measurement.flags == ()


def test_bars_of_other_work_are_not_training(tmp_path: Path) -> None:
    refused = list(read_logs(written(tmp_path, "x.log", samples.accelerate().splitlines()[0] + "\n")))
    assert len(refused) == 1
    assert isinstance(refused[0], Refusal)
    run = only(written(tmp_path, "y.log", samples.accelerate()))
    assert run.measurement.steps == 300


def test_nanogpt_and_llmc_state_tokens(tmp_path: Path) -> None:
    nano = only(written(tmp_path, "nano.log", samples.nanogpt()))
    assert nano.measurement.tokens_per_s == pytest.approx(491_520 / samples.STEP_S)
    assert nano.measurement.final["val_loss"] == pytest.approx(samples.loss_at(100) + 0.1)
    assert only(written(tmp_path, "c.log", samples.llmc())).measurement.tokens_per_s == 1_048_576


def test_wandb_settings_and_machine(tmp_path: Path) -> None:
    run = only(written(tmp_path, "run-abc123.wandb", samples.wandb(filler=3000)))
    assert (run.name, run.ranks, run.settings["lr"]) == ("sunny-run-7", 4, 0.001)
    assert run.measurement.steps == 59
    assert run.measurement.device_busy == 0.8
    assert run.measurement.peak_device_bytes == 12 * samples.GIB


def test_a_file_that_wandb_itself_wrote() -> None:
    run = only(REAL / "wandb-0.31.0.wandb")
    assert (run.name, run.measurement.steps, run.measurement.epochs) == ("demo", 29, 3)
    assert run.settings == {"lr": 0.001, "batch_size": 32, "opt_name": "adam"}
    assert run.measurement.final == {"train/loss": pytest.approx(2 / 30)}
    assert run.measurement.step_s == pytest.approx(0.02, rel=0.5)
    assert run.measurement.flags == ()


def test_a_file_that_tensorboard_itself_wrote() -> None:
    run = only(REAL / "tensorboard-2.21.0.tfevents")
    assert (run.format, run.measurement.steps) == ("tensorboard", 59)
    assert run.measurement.step_s == 0.25
    assert run.measurement.final["train/loss"] == pytest.approx(2 / 60)
    assert run.measurement.flags == ()


def test_tensorboard_leaves_out_what_has_a_wrong_checksum(tmp_path: Path) -> None:
    content = bytearray(samples.tensorboard())
    content[-30] ^= 1
    run = only(written(tmp_path, "events", bytes(content)))
    assert run.measurement.steps == 38
    assert any("wrong checksum" in flag for flag in run.measurement.flags)


def tb_event(tag: str, step: int, value: float, at: float) -> bytes:
    scalar = samples.field(1, tag.encode()) + b"\x15" + struct.pack("<f", value)
    event = (
        b"\x09" + struct.pack("<d", at) + b"\x10" + samples.varint(step) + samples.field(5, samples.field(1, scalar))
    )
    return samples.tf_record(event)


def test_a_validation_counted_by_epochs_is_no_second_program(tmp_path: Path) -> None:
    content = samples.tensorboard(steps=1)
    for step in range(1, 201):
        content += tb_event("train/loss", step * 10, samples.loss_at(step), 1.7e9 + step)
        if step % 50 == 0:
            content += tb_event("val/acc", step // 50, 0.5 + step / 1000, 1.7e9 + step)
    for name, packed in (("events.out", content), ("events.gz", gzip.compress(content))):
        run = only(written(tmp_path, name, packed))
        assert (run.measurement.steps, run.measurement.flags) == (2000, ())
        assert run.measurement.step_s == pytest.approx(0.1)
        assert run.measurement.best["val/acc"] == pytest.approx(0.7)
        assert noted(run, "val/acc has a count of its own")


def test_the_programs_own_step_counts_before_that_of_wandb(tmp_path: Path) -> None:
    """A Trainer that logs every ten steps: W&B counts its calls."""

    def item(key: str, value: float) -> bytes:
        return samples.field(1, samples.field(1, key.encode()) + samples.field(16, str(value).encode()))

    records = [
        samples.field(2, b"".join([item("_step", call), item("_timestamp", 1.7e9 + 5.0 * call),
                                   item("train/global_step", 10 * call), item("train/loss", 3 / (call + 1))]))
        for call in range(60)
    ]  # fmt: skip
    run = only(written(tmp_path, "run-a.wandb", samples.leveldb(records)))
    assert (run.measurement.steps, run.measurement.step_s) == (590, 0.5)
    assert noted(only(written(tmp_path, "run-b.wandb", samples.wandb())), "count of the calls")


def test_mlflow_without_steps_is_counted(tmp_path: Path) -> None:
    folder = samples.mlflow(tmp_path)
    lines = (folder / "metrics" / "loss").read_text().splitlines()
    (folder / "metrics" / "loss").write_text("".join(f"{line.rpartition(' ')[0]} 0\n" for line in lines))
    run = next(each for each in runs(tmp_path) if each.format == "mlflow")
    assert run.measurement.steps == 39
    assert run.measurement.step_s == pytest.approx(samples.STEP_S)
    assert noted(run, "without a step")


def test_mlflow_folder(tmp_path: Path) -> None:
    samples.mlflow(tmp_path)
    run = next(each for each in runs(tmp_path) if each.format == "mlflow")
    assert (run.name, run.settings) == ("bold-run", {"batch_size": 32, "lr": 0.001})
    assert run.measurement.step_s == pytest.approx(samples.STEP_S)
    assert run.measurement.final == {"loss": samples.loss_at(39), "val/acc": 0.75}
    assert (run.measurement.device_busy, run.measurement.peak_device_bytes) == (0.8, 12_000_500_000)


def test_nvidia_smi(tmp_path: Path) -> None:
    run = only(written(tmp_path, "gpu_metrics.csv", samples.nvidia_smi()))
    assert run.gpu == "NVIDIA A100-SXM4-80GB"
    assert run.taken == "2026-02-03"
    assert run.measurement.peak_device_bytes == 18039 * 2**20
    assert run.measurement.device_busy == pytest.approx(0.925, abs=0.002)
    assert run.measurement.duration_s == 39 * 30
    assert run.measurement.step_s is None


def test_nvidia_smi_on_mig_says_nothing_of_use(tmp_path: Path) -> None:
    rows = "timestamp, utilization.gpu [%], memory.used [MiB]\n" + "2026/02/03 10:00:00.1, [N/A], 512 MiB\n" * 3
    run = only(written(tmp_path, "gpu.csv", rows))
    assert (run.measurement.device_busy, run.measurement.peak_device_bytes) == (None, 512 * 2**20)


def test_nvidia_smi_of_a_whole_machine_before_during_and_after(tmp_path: Path) -> None:
    """Of four GPUs one is idle and of others, and the run began late: neither makes it look starved."""
    rows = "timestamp, index, utilization.gpu [%], memory.used [MiB]\n"
    for sample in range(60):
        works = 20 <= sample < 50
        rows += "".join(
            f"2026/02/03 10:{sample:02d}:00.000, {gpu}, {90 if works and gpu != 3 else 0} %, "
            f"{20_000 if works and gpu != 3 else 4} MiB\n"
            for gpu in range(4)
        )
    run = only(written(tmp_path, "gpu.csv", rows))
    assert run.measurement.device_busy == pytest.approx(0.9)
    assert run.ranks == 3
    assert noted(run, "not of this run: device 3")
    assert noted(run, "90 samples at 0 %")
    idle = only(written(tmp_path, "idle.csv", rows.replace(" 90 %", " 0 %")))
    assert (idle.measurement.device_busy, idle.ranks) == (0.0, 4)


@pytest.mark.parametrize("date", ["2026/02/03 10:00:{s:02d}.5", "2026-02-03T10:00:{s:02d}"])
def test_nvidia_smi_through_another_program(tmp_path: Path, date: str) -> None:
    """The header has lost its units; nvidia-smi knows no other than MiB."""
    rows = "".join(f"{date.format(s=s)},0,90,18000\n" for s in range(60))
    run = only(written(tmp_path, "gpu.csv", "timestamp,index,utilization.gpu,memory.used\n" + rows))
    assert (run.measurement.peak_device_bytes, run.measurement.duration_s) == (18000 * 2**20, 59.0)
    assert run.measurement.flags == ()


def test_dcgm(tmp_path: Path) -> None:
    run = only(written(tmp_path, "dcgm.txt", samples.dcgm()))
    assert run.ranks == 2
    assert run.measurement.device_busy == pytest.approx(0.98)
    assert run.measurement.peak_device_bytes == 40019 * 2**20


def test_sacct(tmp_path: Path) -> None:
    train, big = runs(written(tmp_path, "sacct.txt", samples.sacct()))
    assert (train.name, train.gpu, train.ranks, train.taken) == ("train", "a100", 4, "2026-02-03")
    assert train.measurement.duration_s == 3600
    assert train.measurement.cpu_busy == 0.5
    assert train.measurement.peak_host_bytes == 12 * samples.GIB
    assert train.measurement.peak_device_bytes == 30000 * 2**20
    assert train.measurement.device_busy == 0.88
    assert any("OUT_OF_MEMORY" in flag for flag in big.measurement.flags)


@pytest.mark.parametrize("make", [samples.seff, samples.jobstats])
def test_texts_of_one_job(tmp_path: Path, make: Callable[[], str]) -> None:
    run = only(written(tmp_path, "job.txt", make()))
    expected: dict[str, dict[str, Any]] = {
        "seff": {"duration_s": 3600.0, "cpu_busy": 0.5, "peak_tree_bytes": 12 * samples.GIB},
        "jobstats": {"duration_s": 67316.0, "cpu_busy": 0.1, "device_busy": 0.68, "peak_device_bytes": 28454158336},
    }
    measured = run.measurement.model_dump()
    assert {name: measured[name] for name in expected[run.format]} == expected[run.format]


def test_gpuplans_own_run_folder(tmp_path: Path) -> None:
    lines = ['{"event": "start", "step": 0, "world_size": 1, "time_s": 1.0}']
    lines += [f'{{"event": "steps", "step": {n}, "steps": 1, "samples": 8, "seconds": 0.5}}' for n in range(1, 41)]
    written(tmp_path, "metrics.jsonl", "\n".join(lines) + "\n")
    run = only(tmp_path)
    assert (run.format, run.measurement.step_s, run.measurement.steps) == ("gpuplan", 0.5, 40)


def test_the_log_of_a_run_of_gpuplan_is_not_a_second_one(tmp_path: Path) -> None:
    lines = [f'{{"event": "steps", "step": {n}, "steps": 1, "samples": 8, "seconds": 0.5}}' for n in range(1, 41)]
    written(tmp_path, "metrics.jsonl", "\n".join(lines) + "\n")
    written(tmp_path, "log.txt", samples.accelerate())
    for name in ("attempt.json", "status.json", "lock"):
        written(tmp_path, name, "")
    assert only(tmp_path).format == "gpuplan"


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("mnist", "lightning_logs", "version_2", "metrics.csv"), "mnist version_2"),
        (("sweep-a", "out", "checkpoint-500", "trainer_state.json"), "sweep-a"),
        (("exp7", "logs", "train.log"), "exp7"),
        (("exp7", "lora_r8.log"), "lora_r8.log"),
    ],
)
def test_a_run_is_called_by_the_first_folder_with_a_name_of_its_own(
    tmp_path: Path, parts: tuple[str, ...], name: str
) -> None:
    path = tmp_path.joinpath(*parts)
    path.parent.mkdir(parents=True)
    text = samples.trainer_state() if path.suffix == ".json" else samples.csv_steps()
    assert only(written(path.parent, path.name, text)).name == name


def test_a_failure_in_the_log_counts_against_it(tmp_path: Path) -> None:
    text = samples.nanogpt() + "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n"
    run = only(written(tmp_path, "train.log", text))
    assert run.measurement.flags == ("train.log: it says that memory ran out",)
