"""`gpuplan learn`, as a user types it, on logs of the shape of the public AG News runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from gpuplan.cli.main import main
from gpuplan.expand import expand
from gpuplan.flow.state import State
from gpuplan.spec import load
from gpuplan.world.logs import logged

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


def bar(done: int, loss: float, *, steps: int = 100) -> str:
    """One state of the bar that a torchtune recipe draws, at half a second a step."""
    clock = f"{done // 2 // 60:02d}:{done // 2 % 60:02d}<00:10, 2.00it/s"
    return f"\r1|{done}|Loss: {loss}: {100 * done // steps:3d}%|####| {done}/{steps} [{clock}]"


def write_run(folder: str) -> tuple[str, str]:
    """A run with two logs: a bar, which has the times, and lines, which have the memory."""
    path = Path(folder, "logs")
    path.mkdir(parents=True)
    losses = {step: round(3 / step, 4) for step in range(1, 101)}
    out, lines = path.parent / "slurm-1.out", path / "log_1700000000.txt"
    out.write_text("".join(bar(step, loss) for step, loss in losses.items()) + "\n", "utf-8")
    said = (f"Step {step} | loss:{loss} lr:1e-5 peak_memory_alloc:17.5 \n" for step, loss in losses.items())
    lines.write_text("".join(said), "utf-8")
    return str(out), str(lines)


def facts(state: str) -> list[Any]:
    with State(Path(state)).reading() as store:
        return list(store.evidence()) if store else []


@pytest.mark.parametrize("named", ["one by one", "as a folder", "twice"])
def test_two_logs_of_one_run_are_one_fact(capsys: Output, named: str) -> None:
    logs = write_run("run")
    paths = {"one by one": logs, "as a folder": ("run",), "twice": ("run", *logs, logs[0])}[named]
    assert gpuplan("learn", *paths, "--gpu", "A100", "--state", "s") == 0
    assert "1 new facts" in capsys.readouterr().out
    (fact,) = facts("s")
    assert (fact.measurement.step_s, fact.measurement.peak_allocated_bytes) == (0.5, 17.5 * 2**30)


def test_a_spec_takes_two_logs_of_one_run_as_one() -> None:
    write_run("run")
    Path("spec.yaml").write_text(
        "name: tune\ncommand: python -c pass\ncompute: {gpus: [A100 SXM 80GB]}\nfootprint: {logs: 'run/**/*.[ot]*t'}\n",
        "utf-8",
    )
    spec = load("spec.yaml", ())
    found = logged(spec.experiment, expand(spec.experiment), base=spec.base, today="2026-11-20")
    (fact,) = found.evidence
    assert found.findings == ()
    assert (fact.measurement.step_s, fact.measurement.peak_allocated_bytes) == (0.5, 17.5 * 2**30)


def test_what_is_learned_is_in_the_file_that_is_written(capsys: Output) -> None:
    write_log("exp041_agnews_1gpu", 0.57, 19.53)
    assert gpuplan("learn", "logs", "--gpu", "V100", "--export", "facts.jsonl") == 0
    assert "1 new facts" in capsys.readouterr().out
    (fact,) = map(json.loads, Path("facts.jsonl").read_text("utf-8").splitlines())
    assert fact["run"] == "exp041_agnews_1gpu"


def test_all_that_was_done_is_one_document(capsys: Output) -> None:
    write_log("exp041_agnews_1gpu", 0.57, 19.53)
    assert gpuplan("learn", "logs", "--gpu", "V100", "--export", "facts.jsonl") == 0
    capsys.readouterr()
    words = ("logs", "--gpu", "V100", "--import", "facts.jsonl", "--export", "all.jsonl")
    assert gpuplan("learn", *words, "--state", "b", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["schema"], said["facts"]) == ("gpuplan.export/1", 1)
    assert [one["schema"] for one in said["before"]] == ["gpuplan.import/1", "gpuplan.learn/1"]
    assert said["before"][1]["learned"][0]["new"] is False


def test_findings_of_every_severity_are_shown_and_notes_are_counted(capsys: Output) -> None:
    for name, step_ms, mib in (("bert-fp16-b8", 100.0, 900), ("bert-fp32-b8", 100.5, 2000)):
        folder = Path("runs", name)
        folder.mkdir(parents=True)
        rows = "".join(f"{step},{2 / step},{step_ms},{mib}\n" for step in range(1, 60))
        (folder / "metrics.csv").write_text(f"step,loss,step_time_ms,gpu_mem_alloc_mib\n{rows}", "utf-8")
    assert gpuplan("learn", "runs", "--gpu", "A100") == 0
    told = " ".join(capsys.readouterr().out.split())  # whatever the width
    assert "- note: runs/bert-fp16-b8/metrics.csv: 16 bits (by its name) did not change the time" in told
    assert "2 notes on how these figures were taken: --json" in told


def test_a_log_that_an_older_gpuplan_read_otherwise_stays_one_fact(capsys: Output) -> None:
    write_log("exp041_agnews_1gpu", 0.57, 19.53)
    write_log("exp042_agnews_ddp_4gpu", 0.42, 42.33)
    assert gpuplan("learn", "logs", "--gpu", "V100") == 0
    before = facts(".gpuplan")
    otherwise = {"step_s": 9.0, "epoch_s": None}
    with State(Path(".gpuplan")).writing() as store, store.database.transaction() as connection:
        for number, fact in enumerate(before):
            read = fact.measurement.model_copy(update=otherwise)
            older = fact.model_copy(update={"id": f"older-{number}", "measurement": read})
            connection.execute(
                "UPDATE evidence SET id = ?, body = ? WHERE id = ?", (older.id, older.model_dump_json(), fact.id)
            )
        # Of the other one it is not known what it was read from: a gpuplan before that did not keep it.
        connection.execute("UPDATE evidence SET source = NULL WHERE id = 'older-1'")
    capsys.readouterr()
    assert gpuplan("learn", "logs", "--gpu", "V100") == 0
    assert "1 new facts, 1 in place of what an older gpuplan read, 0 known already" in capsys.readouterr().out
    assert {fact.id for fact in facts(".gpuplan")} == {"older-1", *(fact.id for fact in before)}


def test_a_log_alone_never_takes_the_place_of_the_run_it_is_part_of(capsys: Output) -> None:
    out, _ = write_run("run")
    assert gpuplan("learn", out, "--gpu", "A100") == 0
    assert gpuplan("learn", "run", "--gpu", "A100") == 0
    assert "0 new facts, 1 in place of" in capsys.readouterr().out
    assert gpuplan("learn", out, "--gpu", "A100") == 0
    assert 17.5 * 2**30 in [fact.measurement.peak_allocated_bytes for fact in facts(".gpuplan")]


TRAINER = """
import time
for step in range(40):
    started = time.perf_counter()
    time.sleep(0.002)
    print(f"iter {step}: loss {4 - step / 100:.4f}, time {1000 * (time.perf_counter() - started):.2f}ms, mfu 1.00%")
"""


def test_a_trainer_that_knows_nothing_of_gpuplan_is_learned_by_itself() -> None:
    Path("train.py").write_text(TRAINER, "utf-8")
    spec = f"name: nano\ncommand: python train.py\nenvironment: {{python: {sys.executable}}}\n"
    Path("spec.yaml").write_text(spec, "utf-8")
    assert gpuplan("apply", "spec.yaml", "-y") == 0
    (fact,) = facts(".gpuplan")
    printed = Path(".gpuplan/runs/nano/log.txt").read_text("utf-8")
    assert fact.measurement.steps == 39
    assert f"time {1000 * fact.measurement.step_s:.2f}ms" in printed
    assert fact.measurement.flags == ()


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
        ("--import", "nowhere"),
        ("--import", "/dev/zero"),
        ("logs", "--anonymous"),
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
