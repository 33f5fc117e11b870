"""`gpuplan trace` through the command line: the user's step, the plan that uses it, and mistakes at their line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sweep import Sweep

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("torch")

STEP = """
import torch
from torch import nn

def make_step(settings):
    model = nn.Sequential(nn.Linear(256, settings["width"]), nn.GELU(), nn.Linear(settings["width"], 256))
    optimizer = torch.optim.AdamW(model.parameters())
    rows = torch.randn(settings["bs"], 256)
    def step():
        model(rows).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return step
"""
SPEC = """
name: traced
command: python train.py --lr 0.1 --rows {bs}
settings: {bs: 8, width: 512}
seeds: [1, 2]
roles: {micro_batch: bs}
footprint: {trace: "mine:make_step"}
environment: {python: PYTHON}
"""
PARAMETERS = 256 * 512 + 512 + 512 * 256 + 256


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    made = Sweep(tmp_path, SPEC)
    (tmp_path / "mine.py").write_text(STEP)
    return made


def test_a_trace_is_what_the_plan_rests_on_until_the_code_changes(sweep: Sweep) -> None:
    answer = sweep.json("trace")
    assert [one["run"] for one in answer["traces"]] == ["s1"]
    assert answer["traces"][0]["footprint"]["parameters"] == PARAMETERS
    assert answer["traces"][0]["holds_at_every_batch"] is True
    assert {one["memory"]["allocated_bytes"]["source"] for one in sweep.json("plan")["estimates"]} == {"traced"}
    (sweep.folder / "mine.py").write_text(STEP.replace("AdamW", "SGD"))
    assert {one["memory"]["allocated_bytes"]["source"] for one in sweep.json("plan")["estimates"]} == {"assumed"}


def test_a_trace_shows_the_lines_behind_the_peak(sweep: Sweep) -> None:
    said = sweep.run("trace").stdout
    assert f"{PARAMETERS / 1000:.0f}k parameters" in said
    assert "mine.py:" in said


def test_memory_is_allocated_and_reserved_and_has_a_largest_batch(sweep: Sweep) -> None:
    (sweep.folder / "mine.py").write_text(STEP.replace("nn.Sequential(", "cuda(nn.Sequential(").replace(
        '"width"], 256))', '"width"], 256)))').replace("256)\n    def", "256).cuda()\n    def").replace(
        "def make_step", "def cuda(model):\n    return model.cuda()\n\ndef make_step"))  # fmt: skip
    answer = sweep.json("trace", "--device", "gpu", "--memory", "64 MiB")["traces"][0]
    memory, largest = answer["memory"], answer["largest"]
    assert memory["micro_batch"] == 8
    assert 5 * 4 * PARAMETERS < memory["allocated_bytes"] < memory["reserved_bytes"]
    assert memory["reserved_bytes_expandable_segments"] >= memory["allocated_bytes"]
    assert largest["room_bytes"] == 64 * 2**20
    assert largest["exact"]
    assert largest["traced_at"] == []
    assert largest["micro_batch"] > 1000
    said = sweep.run("trace", "--device", "gpu", "--memory", "64 MiB").stdout
    assert f"largest micro-batch in 64 MiB: {largest['micro_batch']:,}: two traces do the same" in said
    assert "reserved" in said
    assert "is not a size" in sweep.run("trace", "--memory", "lots", code=2).stderr


def test_a_step_without_lines_is_traced_at_its_own_batch_and_says_so(sweep: Sweep) -> None:
    step = STEP.replace("model(rows)", "(model(rows) if len(rows) > 3 else model(rows).abs())")
    (sweep.folder / "mine.py").write_text(step)
    sweep.write(SPEC.replace("bs: 8", "bs: 1"))
    answer = sweep.json("trace", "--memory", "1 KiB")["traces"][0]
    assert answer["holds_at_every_batch"] is False
    assert "the operators differ" in answer["difference"]
    assert answer["memory"]["micro_batch"] == 1
    assert answer["memory"]["reserved_bytes"] is None
    assert answer["largest"]["micro_batch"] == 0
    assert {one["memory"]["allocated_bytes"]["source"] for one in sweep.json("plan")["estimates"]} == {"traced"}
    said = sweep.run("trace", "--memory", "1 KiB").stdout
    assert "each batch was traced by itself" in said
    assert "not even one row fits in 1 KiB" in said


def test_a_step_that_never_uses_the_gpu_is_named_before_a_gpu_is_rented(sweep: Sweep) -> None:
    assert "it would train on the CPU" in sweep.run("trace", "--device", "gpu", code=2).stderr


def test_a_mistake_is_named_at_its_line(sweep: Sweep) -> None:
    (sweep.folder / "mine.py").write_text("def make_step(settings):\n    return settings['depth']\n")
    assert "mine.py:2" in sweep.run("trace", code=2).stderr
    sweep.write(SPEC.replace('footprint: {trace: "mine:make_step"}\n', ""))
    assert "does not say what to trace" in sweep.run("trace", code=2).stderr


def test_kinds_that_do_the_same_are_shown_once_and_those_not_traced_are_named(sweep: Sweep) -> None:
    sweep.write(SPEC.replace("seeds: [1, 2]", "vary: {mode: [a, b, c]}"))
    said = sweep.run("trace", "--most", "2")
    assert said.stdout.count("Behind the peak") == 1
    assert "a +1: " in said.stdout
    assert "not traced: c; --most 3 traces all kinds of run" in said.stderr
    assert f"{sweep.folder}" not in said.stdout, "places are told from the folder one stands in"
