"""The benchmark of memory as a program: what it prints, writes and leaves out, and that holding out holds out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from accuracy import main
from memory_holdout import FEWEST, UNFITTED, fit, held_out
from memory_rows import read_rows
from memory_score import Answer, by, fits_right, summary

HEADER = (
    "id,model,task,precision,optimizer,method,lora_rank,micro_batch,seq_len,grad_checkpointing,gpus,gpu,metric,"
    "peak_gb,unit,framework,tier,group\n"
)
LORA = "bfloat16,adamw,lora,16,4,4096,yes,1,A100-80GB,torch max_memory_allocated"
ROWS = (
    HEADER
    + f"a-1,Mistral-7B,,{LORA},24.871,GiB,transformers 4.48.1,A,a\n"
    + f"a-2,Mistral-7B,model init only,{LORA},13.6,GiB,HF,A,a\n"
    + f"b-1,Nothing,,{LORA},10,GiB,HF,A,b\n"
    + f"b-2,Nothing,,{LORA},10,GiB,HF,C,b\n"
)
FITS = (
    HEADER.replace("metric,peak_gb,unit", "gpu_mem_gb,label")
    + "f-1,Mistral-7B,,bfloat16,adamw,lora,16,4,4096,yes,1,A100-80GB,80,fits,HF,A,a\n"
    + "f-2,Llama-2-70B,,bfloat16,adamw,full,,4,4096,yes,1,A100-80GB,80,oom (inferred),HF,A,a\n"
)


def written(folder: Path, text: str, name: str = "rows.csv") -> str:
    path = folder / name
    path.write_text(text, "utf-8")
    return str(path)


def test_the_last_line_is_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.jsonl"
    arguments = ["memory", written(tmp_path, ROWS), written(tmp_path, FITS, "fits.csv"), "--json", str(out)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    result = json.loads(printed.splitlines()[-1])
    assert set(result) == {
        "macro_mean_abs_pct", "mean_abs_pct", "median_abs_pct", "share_underpredicted_over_10_pct", "coverage",
        "fits_right", "answered", "seconds", "by_group",
    }  # fmt: skip
    assert "a-2" in printed
    assert result["fits_right"] == 1.0
    assert result["by_group"]["b/allocated"]["mean_abs_pct"] == 100  # complete, not answered
    lines = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [line["id"] for line in lines] == ["a-1", "a-2", "b-1", "b-2", "f-1", "f-2"]
    assert lines[0]["how"] == "closed form"
    assert abs(lines[0]["error_pct"]) < 5
    assert lines[2]["reason"]


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", str(tmp_path / "none.csv")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_an_empty_file_has_no_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", written(tmp_path, HEADER)]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["mean_abs_pct"] is None


@pytest.mark.parametrize("by_what", ["group", "family"])
def test_holding_out_answers_every_row_in_order(tmp_path: Path, by_what: str) -> None:
    rows = read_rows(Path(written(tmp_path, ROWS)))
    assert [found.id for found in held_out(rows, by=by_what)] == [row.id for row in rows]


def test_few_rows_fit_nothing(tmp_path: Path) -> None:
    device = ROWS.replace("torch max_memory_allocated", "nvidia-smi").replace("24.871", "40")
    few = read_rows(Path(written(tmp_path, device)))
    assert fit(few) == UNFITTED
    enough = [row for row in few if row.id == "a-1"] * FEWEST
    assert fit(enough).cached["hf_shift_copy"] > UNFITTED.cached["hf_shift_copy"]


def found(measured: float | None, p50: float | None, *, tier: str = "A", label: str = "", oom: float = 0.0) -> Answer:
    return Answer(
        id="x", group="g", tier=tier, metric="device", family="f", how="closed form", measured_gib=measured,
        p10_gib=None if p50 is None else 0.9 * p50, p50_gib=p50, p90_gib=None if p50 is None else 1.1 * p50, oom=oom,
        label=label, sharded=False, reason="", excluded="",
    )  # fmt: skip


def test_scores_by_hand() -> None:
    result = summary([found(10, 11), found(10, 8), found(10, None), found(10, None, tier="B"), found(None, 5)])
    assert result["rows"] == 3
    assert result["mean_abs_pct"] == pytest.approx((10 + 20 + 100) / 3, abs=0.01)
    assert result["share_underpredicted_over_10_pct"] == pytest.approx(2 / 3, abs=0.001)
    assert result["coverage"] == pytest.approx(1 / 3, abs=0.001)
    assert set(by([found(10, 11)], lambda answer: answer.group)) == {"g"}


def test_balanced_accuracy_by_hand() -> None:
    labelled = [
        found(None, 1, label="fits"),
        found(None, 1, label="fits", oom=0.9),
        found(None, 1, label="oom", oom=0.9),
    ]
    result = fits_right(labelled)
    assert result is not None
    assert result["balanced_accuracy"] == 0.75
    assert fits_right([found(1, 1)]) is None
