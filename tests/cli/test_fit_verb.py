"""`gpuplan fit` through the command line: the table, the remedies below it, what programs get, and mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sweep import Sweep

from gpuplan.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

SPEC = """
name: gpt
command: python train.py --lr 0.1 --rows {batch}
settings: {batch: 64}
seeds: [1]
roles: {micro_batch: batch}
environment: {python: PYTHON}
footprint:
  model: {kind: decoder, layers: 12, d_model: 768, heads: 12, feedforward: 3072, vocabulary: 50257, sequence: 1024}
"""
CARDS = ("--gpus", "A100 SXM 80GB,B200")


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path, SPEC)


def of_gpu(answer: dict[str, Any], start: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in answer["gpus"] if one["gpu"].startswith(start))
    return found


def test_the_table_ends_where_it_stops_fitting_and_says_what_to_do(sweep: Sweep) -> None:
    said = sweep.run("fit", *CARDS, "--batches", "1,64,128").stdout
    line = next(line for line in said.splitlines() if line.strip().startswith("A100"))
    assert "NO" in line.split("GiB")[-1]
    assert "and what to do about it" in said
    assert "First: smaller micro-batch" in said
    assert said.count("what to do about it") == 1  # it fits on the B200


def test_programs_get_every_remedy_with_its_memory_and_time(sweep: Sweep) -> None:
    answer = sweep.json("fit", *CARDS, "--batches", "1")
    misfit, fits = of_gpu(answer, "A100"), of_gpu(answer, "B200")
    assert misfit["own"]["fits"] == "NO FIT"
    assert misfit["own"]["oom_probability"] > 0.5
    assert misfit["remedies"]["first"] == "smaller micro-batch"
    first = misfit["remedies"]["remedies"][0]
    assert first["memory"]["device_bytes"]["p50"] < misfit["own"]["device_bytes"]["p50"]
    assert first["step_ratio"] == pytest.approx(1, abs=0.1)
    assert (fits["own"]["fits"], fits["remedies"]) == ("OK", None)


def test_without_remedies(sweep: Sweep) -> None:
    assert of_gpu(sweep.json("fit", *CARDS, "--no-remedies"), "A100")["remedies"] is None
    assert "what to do" not in sweep.run("fit", *CARDS, "--no-remedies").stdout


def test_the_plan_names_the_same_first_remedy(sweep: Sweep) -> None:
    sweep.write(SPEC.replace("{batch: 64}", "{batch: 4096}").replace("layers: 12", "layers: 1"))
    findings = sweep.json("check", code=3)["findings"]
    fix = next(one["fix"] for one in findings if one["check"] == "memory")
    assert fix.startswith("smaller micro-batch: `batch: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--gpus", "Z9000"), "no accelerator 'Z9000'"),
        (("--batches", "0"), "from 1 to"),
        (("--batches", "two"), "whole numbers"),
        (("--run", "nobody"), "no run 'nobody'"),
    ],
)
def test_mistakes_are_named(sweep: Sweep, words: tuple[str, ...], said: str) -> None:
    assert said in sweep.run("fit", *words, code=2).stderr


def test_a_spec_without_a_batch_is_told_which_role_to_name(sweep: Sweep) -> None:
    sweep.write(SPEC.replace("roles: {micro_batch: batch}\n", ""))
    assert "no role says which setting is the batch" in sweep.run("fit", *CARDS, code=2).stderr


STEP = """
import torch
from torch import nn

def make_step(settings):
    model = nn.Sequential(nn.Linear(4096, 16384), nn.GELU(), nn.Linear(16384, 4096)).cuda()
    optimizer = torch.optim.AdamW(model.parameters())
    rows = torch.randn(settings["batch"], 4096, device="cuda")
    def step():
        model(rows).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return step
"""


def test_a_traced_step_is_fitted_at_every_batch_and_its_remedies_are_not_guessed(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    start = SPEC[: SPEC.index("footprint:")]
    sweep = Sweep(tmp_path, start.replace("{batch: 64}", "{batch: 65536}") + 'footprint: {trace: "mine:make_step"}\n')
    (tmp_path / "mine.py").write_text(STEP)
    sweep.run("trace", "--device", "gpu")
    found = of_gpu(sweep.json("fit", "--gpus", "RTX 3070", "--batches", "1024,65536"), "RTX 3070")
    assert [one["fits"] for one in found["memory"]] == ["OK", "NO FIT"]
    assert found["memory"][0]["allocated_bytes"]["source"] == "traced"
    by_name = {one["name"]: one for one in found["remedies"]["remedies"]}
    assert by_name["smaller micro-batch"]["memory"]["fits"] == "OK"
    assert by_name["mixed precision"]["memory"] is None
    assert "gpuplan trace" in by_name["mixed precision"]["because"]


def test_the_runs_own_batch_is_among_the_default_ones_and_stays_on_a_narrow_screen(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(sweep.folder)
    monkeypatch.setenv("COLUMNS", "70")
    sweep.write(SPEC.replace("{batch: 64}", "{batch: 24}"))
    with pytest.raises(SystemExit):
        main(["fit", *CARDS, "--no-remedies"])
    header = next(line for line in capsys.readouterr().out.splitlines() if "Largest" in line)
    assert "Batch 24" in header
    assert "Runs/card" in header


def test_where_nothing_is_known_it_says_what_would_tell(sweep: Sweep) -> None:
    sweep.write(SPEC[: SPEC.index("footprint:")])
    assert "-> say what a step needs: `footprint:" in sweep.run("fit", *CARDS).stdout
