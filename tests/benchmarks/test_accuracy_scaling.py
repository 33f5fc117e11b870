"""The benchmarks of scaling and of sharing as programs, on files made here: scores, hold-out, and bad files."""

from __future__ import annotations

import csv
import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from accuracy import main
from scaling_fit import fit_links, fit_spreads, plain_links
from scaling_predict import clean, held_out, residuals, with_two
from scaling_rows import family_of, questions, read_rows
from scaling_score import baselines, headline, scores

if TYPE_CHECKING:
    from pathlib import Path

    from scaling_rows import Question

COLUMNS = (
    "id,source,model,params_millions,precision,gpu,gpus,interconnect,batch_per_gpu,seq_len_or_image,measured_value,"
    "unit,notes,group,mode,framework,flag"
)
MODELS = {"alpha": (25.0, 0.10), "beta": (110.0, 0.12), "gamma": (160.0, 0.2), "delta": (335.0, 0.25), "eps": (60, 0.3)}
LINKS = {"RTX 3090": ("PCIe", 6e9), "A100 SXM 80GB": ("NVLink", 150e9)}
KEYS = {
    "mean_abs_pct", "median_abs_pct", "within_20_pct", "family_mean_abs_pct", "coverage", "answered",
    "worth_it_right", "low_efficiency_mean_abs_pct", "low_efficiency_caught", "with_two_gpu_log_mean_abs_pct",
}  # fmt: skip


def line(**values: Any) -> str:
    """One row; what is not given is empty."""
    return ",".join(str(values.get(name, "")) for name in COLUMNS.split(","))


def made(*, hosts: dict[str, float] | None = None) -> list[str]:
    """Rows of five models on two links, as the ring makes them, on hosts that are so many times as fast, with noise."""
    noise, rows = random.Random(1), []
    for gpu, (link, bandwidth) in LINKS.items():
        for host, faster in (hosts or {"one": 1.0}).items():
            for model, (millions, alone) in MODELS.items():
                for ranks in (1, 2, 4, 8):
                    ring = 2 * (ranks - 1) / ranks * millions * 4e6 / (bandwidth * faster)
                    step = (alone + ring) * noise.uniform(0.98, 1.02)
                    rows.append(line(
                        id=f"{model}-{gpu}-{host}-{ranks}", source="a test", model=model, params_millions=millions,
                        precision="fp32", gpu=gpu, gpus=ranks, interconnect=link if ranks > 1 else "none",
                        batch_per_gpu=32, measured_value=32 * ranks / step, unit="images/s (all GPUs)",
                        notes=f"system {ranks}x{host}; a log", group=f"{model}/{gpu}/{host}",
                    ))  # fmt: skip
    return rows


def written(folder: Path, rows: list[str], header: str = COLUMNS) -> Path:
    path = folder / "scaling.csv"
    path.write_text("\n".join([header, *rows, ""]), "utf-8")
    return path


def asked(folder: Path, rows: list[str]) -> list[Question]:
    found, _ = read_rows(written(folder, rows))
    return questions(found)[0]


def result_of(path: Path, capsys: pytest.CaptureFixture[str], *, what: str = "scaling") -> dict[str, Any]:
    assert main([what, str(path), "--result", str(path.with_name("result.json"))]) == 0
    last: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return last


def test_the_last_line_is_one_object_and_a_file_has_the_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = result_of(written(tmp_path, made()), capsys)
    assert result.keys() >= KEYS
    assert result["rows"] == 2 * 5 * 3
    assert result["answered"] == 1
    assert result["mean_abs_pct"] < 8
    assert result["with_two_gpu_log_mean_abs_pct"] < 8
    whole = json.loads((tmp_path / "result.json").read_text("utf-8"))
    assert set(whole["by_link"]) == {"pcie4-consumer", "nvlink3"}
    assert len(whole["by_model"]) == 5
    assert whole["baselines"]["linear (always yes)"]["caught"] == 0


def test_it_beats_linear_scaling(tmp_path: Path) -> None:
    found = asked(tmp_path, made())
    mine = scores(headline(held_out(found)))
    linear, ring = baselines(found, worth=0.75)
    assert mine["mean_abs_pct"] is not None
    assert mine["mean_abs_pct"] < 0.5 * linear.mean_abs_pct
    assert ring.mean_abs_pct < linear.mean_abs_pct


def test_a_model_that_is_held_out_has_no_part_in_its_prediction(tmp_path: Path) -> None:
    rows = made()
    changed = [
        row.replace(",images/s", "e3,images/s") if row.startswith("beta") and "-8," in row else row for row in rows
    ]
    before = {answer.question.row.id: answer for answer in held_out(asked(tmp_path, rows))}
    after = {answer.question.row.id: answer for answer in held_out(asked(tmp_path, changed))}
    assert {name: after[name].slow for name in after if name.startswith("beta")} == {
        name: before[name].slow for name in before if name.startswith("beta")
    }
    assert before["beta-RTX 3090-one-8"].error_pct != after["beta-RTX 3090-one-8"].error_pct


def test_runs_of_other_models_show_a_slow_host(tmp_path: Path) -> None:
    found = asked(tmp_path, made(hosts={"good": 1.0, "fine": 1.1, "broken": 0.1}))
    mine, unseen = held_out(found), held_out(found, hosts=False)
    on_broken = [index for index, question in enumerate(found) if "broken" in question.row.host]
    assert sum(abs(mine[i].error_pct) for i in on_broken) < 0.5 * sum(abs(unseen[i].error_pct) for i in on_broken)


def test_a_run_on_two_gpus_helps(tmp_path: Path) -> None:
    found = asked(tmp_path, made(hosts={"good": 1.0, "broken": 0.2}))
    unseen = held_out(found, hosts=False)
    told = with_two(found, unseen)
    same = [answer for answer in unseen if answer.question.row.gpus > 2]
    assert scores(told)["rows"] == len(same)
    assert (scores(told)["mean_abs_pct"] or 0) < (scores(same)["mean_abs_pct"] or 0)


def test_fitting_finds_the_bandwidth_that_made_the_rows(tmp_path: Path) -> None:
    fitted = fit_links(clean(asked(tmp_path, made())))
    assert fitted["pcie4-consumer"].bandwidth_at(4) == pytest.approx(6e9, rel=0.25)
    assert fitted["pcie4-consumer"].rows == 15
    assert fitted["nvlink2"] == plain_links()["nvlink2"]
    assert fit_spreads(residuals(held_out(asked(tmp_path, made())))).known.high < 0.2


def test_flagged_rows_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{row}suspect" if row.startswith("eps") else row for row in made()]
    assert result_of(written(tmp_path, rows), capsys)["rows"] == 2 * 4 * 3


@pytest.mark.parametrize(
    ("unit", "one", "four"),
    [
        ("images/s (all GPUs)", 100, 200),
        ("images/s per GPU", 100, 50),
        ("ms/step", 320, 640),
        ("s/epoch", 40, 20),
        ("TFLOP/s per GPU", 40, 20),
    ],
)
def test_all_units_mean_the_same(tmp_path: Path, unit: str, one: float, four: float) -> None:
    rows = [
        line(model="m", gpu="A40", gpus=ranks, batch_per_gpu=32, measured_value=value, unit=unit, group="g")
        for ranks, value in ((1, one), (4, four))
    ]
    (question,) = asked(tmp_path, rows)
    assert question.slow == pytest.approx(2.0)
    if "s/" in unit and "epoch" not in unit and "TFLOP" not in unit:
        assert question.alone_s == pytest.approx(0.32)


def test_other_kinds_are_told_apart_and_do_not_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "data_parallel": {"notes": "nn.DataParallel", "gpus": (1, 4), "unit": "ms/step", "values": (60, 160)},
        "sharded": {"notes": "FSDP", "gpus": (8, 512), "unit": "tokens/s per GPU", "values": (9000, 8700)},
        "time_to_train": {"source": "MLPerf 4.0", "gpus": (64, 512), "unit": "minutes", "values": (40, 7)},
        "model_parallel": {"notes": "TP=4", "gpus": (1, 4), "unit": "ms", "values": (900, 300)},
    }
    rows = [
        line(model=f"m{kind}", gpu="H100 SXM 80GB", group=kind, batch_per_gpu=8, params_millions=7000, gpus=ranks,
             measured_value=value, notes=told.get("notes", ""), source=told.get("source", ""), unit=told["unit"])
        for kind, told in kinds.items() for ranks, value in zip(told["gpus"], told["values"], strict=True)
    ]  # fmt: skip
    assert {question.row.kind for question in asked(tmp_path, rows)} == set(kinds)
    alone = result_of(written(tmp_path, rows), capsys)
    assert alone["rows"] == 4
    assert alone["of"] == "all rows answered"
    both = result_of(written(tmp_path, rows + made()), capsys)
    assert both["rows"] == 30
    assert (
        json.loads((tmp_path / "result.json").read_text("utf-8"))["by_kind"]["sharded from several GPUs"]["rows"] == 1
    )


def test_one_model_by_its_names() -> None:
    assert family_of("bert_large_squad") == family_of("BERT-large pretrain")
    assert family_of("ResNet-50 v1.5 (MXNet)") == family_of("resnet50")
    assert family_of("bert_base_squad") != family_of("bert_large_squad")
    assert family_of("训练") == "训练"


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([line(id="x", model="m", gpu="A40", gpus="two", measured_value=3, unit="images/s")], "no count of GPUs"),
        ([line(id="x", model="m", gpu="A40", gpus=2, measured_value="nan", unit="images/s")], "no measured value"),
        ([line(id="x", model="m", gpu="A40", gpus=2, measured_value=-1, unit="images/s")], "no measured value"),
        ([line(id="x", model="m", gpu="A40", gpus=2, measured_value=3, unit="bananas")], "unknown unit"),
        ([line(id="x", model="m", gpu="A40", gpus=2, measured_value=3, unit="images/s")], "no row with fewer GPUs"),
        ([line(id="x", model="m", gpu="Voodoo 2", gpus=n, measured_value=3, unit="it/s") for n in (1, 2)], "not know"),
        (["\x00\ufffd,,,,,", '"unclosed'], "no count of GPUs"),
    ],
)
def test_what_cannot_be_answered_has_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: list[str], reason: str
) -> None:
    path = written(tmp_path, rows)
    assert main(["scaling", str(path), "--result", str(tmp_path / "result.json")]) == 0
    printed = capsys.readouterr().out
    assert reason in printed
    assert json.loads(printed.splitlines()[-1])["rows"] == 0


def test_no_file_and_a_file_of_another_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scaling", str(tmp_path / "none.csv")]) == 2
    assert main(["sharing", str(tmp_path / "none.csv")]) == 2
    csv.field_size_limit(1 << 24)  # as another benchmark in the same process leaves it
    assert main(["scaling", str(written(tmp_path, ["a" * 200_000])), "--result", str(tmp_path / "result.json")]) == 2
    assert capsys.readouterr().err.count("cannot be read") == 3
    assert result_of(written(tmp_path, ["1,2"], header="a,b"), capsys)["rows"] == 0
    assert result_of(written(tmp_path, ["1,2"], header="a,b"), capsys, what="sharing")["rows"] == 0


# ---------------------------------------------------------------- sharing

SHARED = (
    "source,gpu,gpu_mem_gb,sharing,k,model_a,batch_a,model_b,batch_b,aggregate_x,solo_gpu_util_a_pct,"
    "solo_gpu_util_b_pct,workload"
)


def shared_rows() -> list[str]:
    """Pairs of six programs as the rule makes them; of every other pair the utilizations are stated."""
    busy = {f"p{index}": 0.35 + 0.1 * index for index in range(6)}
    rows = []
    for index, (first, second) in enumerate((a, b) for a in busy for b in busy if a <= b):
        speed = min(1.0, 1 / (0.9 * (busy[first] + busy[second])))
        stated = f"{100 * busy[first]},{100 * busy[second]}" if index % 2 else ","
        rows.append(f"made,RTX 3090,24,none(plain processes),2,{first},8,{second},8,{2 * speed},{stated},train")
    return rows


def test_sharing_is_told_by_utilizations_or_other_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = result_of(written(tmp_path, shared_rows(), header=SHARED), capsys, what="sharing")
    assert result["rows"] == 21
    assert result["mean_abs_points"] < 4
    rules = json.loads((tmp_path / "result.json").read_text("utf-8"))["rules"]
    assert rules["baseline: no slow-down"]["mean_abs_points"] > 3 * result["mean_abs_points"]
    assert rules["utilization stated, else the usual one"]["mean_abs_points"] >= result["mean_abs_points"]


def test_slices_and_odd_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        "MISO,A100-40GB,40,MIG 1g.5gb,7,gnn,64,same,,2.41,,,train",
        "MISO,A100-40GB,40,MIG 3g.20gb,2,gnn,64,same,,1.29,,,train",
        "x,A40,48,MPS,many,gnn,64,same,,1.29,,,train",
        "x,A40,48,operator fusion (one process),3,gnn,64,same,,2.36,,,train",
        "x,A40,48,MPS,2,gnn,64,same,,nan,,,train",
    ]
    path = written(tmp_path, rows, header=SHARED)
    assert main(["sharing", str(path), "--result", str(tmp_path / "result.json")]) == 0
    printed = capsys.readouterr().out
    result = json.loads(printed.splitlines()[-1])
    assert result["rows"] == 2
    assert result["mean_abs_pct"] < 5
    assert result["answered"] == 0.4
    assert "no count of runs" in printed
    assert "fused in one process" in printed
