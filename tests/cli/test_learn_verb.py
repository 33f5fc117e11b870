"""`gpuplan learn`, as a user types it, on logs of the shape of the public AG News runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpuplan.cli.main import main

Output = pytest.CaptureFixture[str]


def gpuplan(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(str(ended.value.code))


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_log(name: str, first_loss: float, epoch_s: float) -> None:
    folder = Path("logs", name)
    folder.mkdir(parents=True)
    rows = [f"{epoch},{first_loss / epoch:.6f},{epoch_s},{first_loss / epoch},0.8{epoch}" for epoch in range(1, 9)]
    text = "\n".join(["epoch,train_loss,train_time,val_loss,val_acc", *rows, ""])
    (folder / "metrics.csv").write_text(text, "utf-8")


def test_logs_become_evidence_once_and_the_missing_sampler_is_found(capsys: Output) -> None:
    write_log("exp041_agnews_1gpu", 0.57, 19.53)
    write_log("exp042_agnews_ddp_4gpu", 0.42, 42.33)
    assert gpuplan("learn", "logs", "--gpu", "V100") == 0
    told = capsys.readouterr().out
    assert "unsharded-suspected" in told
    assert "2 new facts" in told
    sizes = ("--dataset-rows", "120000", "--batch-rows", "32")
    assert gpuplan("learn", "logs", "--gpu", "V100", *sizes, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["new"] for one in found["learned"]] == [False, False]
    assert [one["log"]["ranks"] for one in found["learned"]] == [1, 4]
    (finding,) = found["findings"]
    assert "true throughput scaling 1.85x" in finding["message"]


def test_without_a_gpu_it_says_what_to_tell_it(capsys: Output) -> None:
    write_log("exp041_agnews_1gpu", 0.57, 19.53)
    assert gpuplan("learn", "logs", "--json") == 0
    (one,) = json.loads(capsys.readouterr().out)["learned"]
    assert "--gpu" in one["refused"]


def test_evidence_goes_to_a_file_and_back(capsys: Output) -> None:
    write_log("exp041_agnews_1gpu", 0.57, 19.53)
    assert gpuplan("learn", "logs", "--gpu", "V100", "--state", "a") == 0
    assert gpuplan("learn", "--export", "facts.jsonl", "--anonymous", "--state", "a") == 0
    text = Path("facts.jsonl").read_text("utf-8")
    assert "agnews" not in text
    Path("facts.jsonl").write_text(text + "{broken\n" + text, "utf-8")
    capsys.readouterr()
    assert gpuplan("learn", "--import", "facts.jsonl", "--state", "b", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["new"], found["known"]) == (1, 1)
    assert found["refused"][0].startswith("facts.jsonl:2:")


@pytest.mark.parametrize(
    "words",
    [
        ("nowhere",),
        (),
        ("logs", "--ranks", "x"),
        ("logs", "--ranks", "*=0"),
        ("logs", "--set", "lr"),
        ("logs", "--set", "lr=1,2"),
        ("--backtest",),
    ],
)
def test_what_cannot_be_done_ends_with_a_line_and_exit_code_2(words: tuple[str, ...], capsys: Output) -> None:
    Path("logs").mkdir()
    assert gpuplan("learn", *words) == 2
    assert "gpuplan:" in capsys.readouterr().err


def test_the_back_test_judges_later_logs_by_earlier_ones(capsys: Output) -> None:
    for number, step_ms in enumerate((100.0, 101.0, 99.0)):
        folder = Path("runs", f"run{number}")
        folder.mkdir(parents=True)
        lines = [f"iter {step}: loss {4 - step / 100:.4f}, time {step_ms:.2f}ms, mfu 30.00%" for step in range(60)]
        (folder / "train.log").write_text("\n".join(lines) + "\n", "utf-8")
    assert gpuplan("learn", "runs", "--gpu", "A100 SXM 80GB", "--experiment", "nanogpt", "--backtest", "--json") == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    steps = [one for one in figures if one["figure"] == "step_s"]
    assert [one["predicted"]["source"] for one in steps] == ["assumed", "measured", "measured"]
