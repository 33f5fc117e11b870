"""The benchmark of step times as a program: any file of the form is read, what is held out is held out."""

from __future__ import annotations

import itertools
import json
import math
import tomllib
from typing import TYPE_CHECKING

import fit_time
import pytest
from accuracy import main
from time_longer import Measure, fitted_longer
from time_names import model_key, never_in_16_bits, regime_of, relatives
from time_no_log import guesses, longer_of, order_right
from time_rows import pairs_of, read_time_rows
from time_rules import median_of_other_models, power_law
from time_score import Scored, score
from time_shapes import shaped
from time_tasks import HOLD_OUTS, as_shipped, ours

from gpuplan.data.derates import shipped_tables

if TYPE_CHECKING:
    from pathlib import Path

HEADER = (
    "id,source,model,params_millions,precision,gpu,gpus,interconnect,batch_per_gpu,seq_len_or_image,measured_value,"
    "unit,notes,group,mode,framework,flag\n"
)
CARDS = {"A100-80GB": 1.0, "H100 SXM": 0.5, "V100": 2.4, "RTX 3090": 2.2, "T4": 6.5}
MODELS = {"resnet50": 900.0, "ssd": 300.0, "bert_base": 250.0, "gnmt": 90_000.0, "bert_large": 80.0}
UNITS = {"gnmt": "tokens/s", "bert_base": "sequences/s", "bert_large": "sequences/s"}


def row(model: str, gpu: str, value: object, **fields: str) -> str:
    known = {
        "precision": "amp_fp16", "gpus": "1", "batch": "64", "size": "", "unit": UNITS.get(model, "images/s"),
        "group": f"made/{model}", "mode": "train", "flag": "",
    } | fields  # fmt: skip
    return (
        f"{model}-{gpu},made/rows a/b,{model},,{known['precision']},{gpu},{known['gpus']},none,{known['batch']},"
        f"{known['size']},{value},{known['unit']},,{known['group']},{known['mode']},torch,{known['flag']}\n"
    )


def made(*, skip: tuple[str, str] = ("", "")) -> str:
    """Five models on five cards; each card has its factor, and each model deviates from it by a few percent."""
    lines = [HEADER]
    for number, (model, gpu) in enumerate(itertools.product(MODELS, CARDS)):
        if (model, gpu) != skip:
            lines.append(row(model, gpu, MODELS[model] / CARDS[gpu] * (1 + 0.01 * (number % 5))))
    return "".join(lines)


def written(folder: Path, text: str, name: str = "rows.csv") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def result(capsys: pytest.CaptureFixture[str]) -> tuple[str, dict[str, object]]:
    printed = capsys.readouterr().out
    return printed, json.loads(printed.splitlines()[-1])


def test_the_last_line_is_one_object_and_the_tables_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "time.json"
    assert main(["time", str(written(tmp_path, made())), "--result", str(out)]) == 0
    printed, found = result(capsys)
    assert {
        "mean_abs_pct", "median_abs_pct", "within_20_pct", "family_mean_abs_pct", "coverage", "answered",
        "unseen_chip", "no_log",
    } <= set(found)  # fmt: skip
    assert found["answered"] == 1.0
    assert found["rows"] == 100
    median = found["median_abs_pct"]
    assert isinstance(median, float)
    assert median < 5
    for rule in ("peak ratio", "bandwidth ratio", "geometric mean", "throughput carried over", "median of other"):
        assert rule in printed
    assert json.loads(out.read_text("utf-8")) == found


def test_rows_that_say_nothing_get_a_reason_and_never_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = made()
    for value in ("nan", "inf", "-3", "0", "", "fast", "1e999"):
        text += row("resnet50", "T4", value, batch="8")
    text += row("resnet50", "Voodoo 2", 5) + row("resnet50", "T4", 5, precision="int4")
    text += row("resnet50", "T4", 5, flag="lies") + row("resnet50", "T4", 5, gpus="8")
    text += row("resnet50", "Tesla P4", 5, precision="tf32", batch="8") + "\0,broken\n" + '"unclosed,quote\n'
    assert main(["time", str(written(tmp_path, text)), "--result", str(tmp_path / "o.json")]) == 0
    printed, found = result(capsys)
    assert found["rows"] == 100
    for reason in ("no number", "unknown GPU 'Voodoo 2'", "unknown precision 'int4'", "flagged", "not of one GPU"):
        assert reason in printed


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", HEADER, HEADER + row("resnet50", "T4", 5), "\x00\x01\x02" * 99])
def test_a_file_with_nothing_to_compare_has_no_score(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["time", str(written(tmp_path, text)), "--result", str(tmp_path / "o.json")]) == 0
    _, found = result(capsys)
    assert found["mean_abs_pct"] is None
    assert found["answered"] is None


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["time", str(tmp_path / "none.csv")]) == 2
    assert "cannot be read" in capsys.readouterr().err


# ---------------------------------------------------------------- holding out


def test_a_model_held_out_says_nothing_about_itself(tmp_path: Path) -> None:
    """Its own rows on the target make no difference to what is predicted for it."""
    lie = made().replace(row("ssd", "T4", _value("ssd", "T4")), row("ssd", "T4", 1e-3))
    assert lie != made()
    honest, lied = (_errors(written(tmp_path, text, f"{number}.csv")) for number, text in enumerate((made(), lie)))
    others = [key for key in honest if "ssd" not in key and "T4" not in key]
    assert others
    assert honest["ssd", "A100 SXM 80GB", "H100 SXM 80GB"] == pytest.approx(
        lied["ssd", "A100 SXM 80GB", "H100 SXM 80GB"]
    )


def test_a_chip_held_out_takes_all_its_variants_along(tmp_path: Path) -> None:
    text = made() + "".join(row(model, "H100 PCIe", MODELS[model] / 0.7) for model in MODELS)
    rows = read_time_rows([written(tmp_path, text)]).rows
    pair = next(pair for pair in pairs_of(rows) if pair.target.gpu.name == "H100 SXM 80GB")
    held = HOLD_OUTS["chip"].held(pair)
    out = {row.gpu.name for row in rows if not set(held).isdisjoint(HOLD_OUTS["chip"].keys(row))}
    assert out == {"H100 SXM 80GB", "H100 PCIe 80GB"}


def test_the_packaged_tables_are_scored_without_a_refit(tmp_path: Path) -> None:
    rows = read_time_rows([written(tmp_path, made())]).rows
    found = score(as_shipped(pairs_of(rows), shipped_tables()))
    assert found.rows == 100
    assert found.coverage is not None


def _value(model: str, gpu: str) -> float:
    number = list(itertools.product(MODELS, CARDS)).index((model, gpu))
    return MODELS[model] / CARDS[gpu] * (1 + 0.01 * (number % 5))


def _errors(path: Path) -> dict[tuple[str, str, str], float | None]:
    rows = read_time_rows([path]).rows
    pairs = pairs_of(rows)
    scored = ours(pairs, rows, HOLD_OUTS["model"], shipped_tables())
    return {
        (pair.source.model, pair.source.gpu.name, pair.target.gpu.name): one.error_pct
        for pair, one in zip(pairs, scored, strict=True)
    }


# ---------------------------------------------------------------- rules, names, shapes


def test_rules_under_the_same_hold_out(tmp_path: Path) -> None:
    pairs = pairs_of(read_time_rows([written(tmp_path, made())]).rows)
    alone = median_of_other_models(pairs, lambda one, other: one.source.model == other.source.model)
    assert alone(pairs[0]) == pytest.approx(math.exp(pairs[0].log_ratio), rel=0.1)
    assert median_of_other_models(pairs, lambda _one, _other: True)(pairs[0]) is None
    law = power_law(pairs, lambda _pair: "", lambda _pair, _key: False)
    assert (law(pairs[0]) or 0) > 0
    assert power_law([], lambda _pair: "", lambda _pair, _key: False)(pairs[0]) is not None


def test_names() -> None:
    assert model_key("BERT-large SQuAD") == model_key("bert_large_squad")
    assert relatives(model_key("ResNet-50 v1.5 (MXNet)")) == relatives("resnet50")
    told = {"resnet50": "convolution", "se-resnext101-32x4d": "convolution", "GPT2-L": "matmul", "ncf": "bandwidth"}
    told |= {"tacotron2": "launch", "SE3-Transformer": "launch", "something else": ""}
    assert {name: regime_of(name) for name in told} == told


def test_public_dimensions_give_a_step_and_a_time_of_the_right_order(tmp_path: Path) -> None:
    rows = read_time_rows([written(tmp_path, made())]).rows
    steps = [step for one in rows if (step := shaped(one))]
    assert {step.row.model for step in steps} == set(MODELS)
    assert next(step for step in steps if step.row.model == "gnmt").items_of_step == 64 * 50
    found = guesses(steps, rows, widths=shipped_tables().widths)
    assert len(found) == len(steps)
    assert (order_right(found) or 0) > 80
    longer = longer_of(steps, shipped_tables())
    assert longer is not None
    assert longer.models == 5


def test_the_precision_is_the_one_that_was_computed_in(tmp_path: Path) -> None:
    assert never_in_16_bits("lambda/v1/waveglow/amp", "waveglow", 16)
    assert never_in_16_bits("lambda/v2/ncf/amp", "ncf", 80)
    assert not never_in_16_bits("lambda/v1/ncf/amp", "ncf", 48)
    assert not never_in_16_bits("lambda/v0/waveglow/amp", "waveglow", 16)
    assert not never_in_16_bits("dle/waveglow", "WaveGlow", 80)
    lines = "".join(
        row("waveglow", gpu, 5, group="lambda/v1/waveglow/amp", precision="amp_fp16")
        for gpu in ("A100 SXM 80GB", "V100 SXM2 16GB")
    )
    found = read_time_rows([written(tmp_path, HEADER + lines)]).rows
    assert {one.gpu.name: one.sample.chip.place.precision for one in found} == {
        "A100 SXM 80GB": "tf32", "V100 SXM2 16GB": "fp32",
    }  # fmt: skip
    assert {one.family for one in found} == {"lambda v1 amp"}


def test_arithmetic_and_memory_have_a_factor_each() -> None:
    """Steps made of three times the one and 1.4 times the other give both back, against a weak expectation."""
    shares = [(0.1 * part, 1 - 0.1 * part) for part in range(1, 10)]
    made = [
        Measure(f"model {number}", compute / time, memory / time)
        for number, (compute, memory) in enumerate(10 * shares)
        for time in [3 * compute + 1.4 * memory]
    ]
    found = fitted_longer(made)
    assert found.compute == pytest.approx(3, rel=0.03)
    assert found.memory == pytest.approx(1.4, rel=0.03)
    assert (found.rows, found.models) == (90, 90)
    expected = fitted_longer(made[:1])
    assert 1 < expected.memory < expected.compute < 3


def test_inference_and_unknown_units_have_no_training_step(tmp_path: Path) -> None:
    text = HEADER + row("resnet50", "T4", 5, mode="inference") + row("resnet50", "L4", 5, unit="furlongs/s")
    assert [shaped(one) for one in read_time_rows([written(tmp_path, text)]).rows] == [None, None]


def test_scores() -> None:
    found = score([Scored("a", 10.0, covered=True), Scored("a", -30.0, covered=False), Scored("b", None)])
    assert (found.mean_abs_pct, found.within_20_pct, found.answered, found.coverage) == (20.0, 50.0, 0.6667, 0.5)
    assert score([]).mean_abs_pct is None


# ---------------------------------------------------------------- shipping


def test_what_ships_is_constants_and_no_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit_time.main([str(written(tmp_path, made())), "--into", str(tmp_path)]) == 0
    content = tomllib.loads((tmp_path / "derates.toml").read_text("utf-8"))
    assert {row["gpu"] for row in content["derate"]} == {
        "A100 SXM 80GB", "H100 SXM 80GB", "V100 SXM2 16GB", "RTX 3090", "T4",
    }  # fmt: skip
    assert content["sources"] == ["made/rows: 25 step times, median of repeats"]
    ratios = (tmp_path / "ratios.csv").read_text("utf-8").splitlines()[3:]
    assert ratios
    assert all(int(line.rsplit(",", 1)[1]) >= 2 for line in ratios)
    assert "25 rows" in capsys.readouterr().out


def test_nothing_to_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit_time.main([str(tmp_path / "none.csv")]) == 2
    assert fit_time.main([str(written(tmp_path, HEADER))]) == 2
    assert "no usable row" in capsys.readouterr().err
