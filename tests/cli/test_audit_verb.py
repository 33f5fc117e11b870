"""`gpuplan audit` through the command line: a document, a list, a spec beside it, and files that are none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from sweep import Here

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENT = """# Plan
- Each run (20,000 steps) takes 15 h
- ~3.04 seconds per step
- Disk Space: 1 MB
"""
SPEC = """
name: gpt
command: python train.py --lr 0.1 --rows {batch} --steps {steps}
settings: {batch: 4, steps: 1000}
seeds: [1]
roles: {micro_batch: batch, steps: steps}
environment: {python: PYTHON}
compute: {gpus: [RTX 4090]}
footprint:
  model: {kind: decoder, layers: 12, d_model: 768, heads: 12, feedforward: 3072, vocabulary: 50257, sequence: 128}
"""


@pytest.fixture
def here(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "plan.md").write_text(DOCUMENT)
    return Here(tmp_path, capsys, SPEC)


def test_a_document_is_held_against_itself(here: Here) -> None:
    said = here.run("audit", "plan.md").stdout
    assert said.startswith("plan.md: 4 claims understood, 0 other figures left out; 1 warning")
    assert "! warning: plan.md:2: 20,000 steps x 3.04 seconds per step = 16.9 h, not 15 h (lines 2, 3)" in said


def test_programs_get_claims_and_findings(here: Here) -> None:
    answer = here.json("audit", "plan.md")
    assert (answer["schema"], answer["tolerance"], answer["spec"]) == ("gpuplan.audit/1", 0.1, None)
    run = next(one for one in answer["claims"] if one["quantity"] == "run")
    assert (run["low_s"], run["place"], run["text"]) == (54_000, "plan.md:2", "15 h")
    assert [one["check"] for one in answer["findings"]] == ["claim-run-time"]


def test_every_claim_as_it_was_understood(here: Here) -> None:
    said = here.run("audit", "plan.md", "--list").stdout
    assert "Claims as understood" in said
    assert "3.04 seconds per step" in said


def test_a_claim_of_the_command_line_stands_beside_the_document(here: Here) -> None:
    said = here.run("audit", "plan.md", "--claim", "checkpoint=500 MB", "--claim", "checkpoints=4", code=3).stdout
    assert "4 checkpoints x 1 runs x 500 MB = 2 GB, not within 1 MB" in said


def test_claims_alone(here: Here) -> None:
    said = here.run("audit", "--claim", "steps=1000", "--claim", "step=1 s", "--claim", "run=9 h", code=3).stdout
    assert "1000 steps x 1 s = 16.7 min, not 9 h" in said
    assert "no contradiction beyond 10%" in here.run("audit", "--claim", "steps=1000").stdout


def test_a_list_by_its_ending_or_by_its_lines(here: Here) -> None:
    (here.folder / "claims.yaml").write_text("steps: 1000\nstep: 1 s\nrun: 9 h\n")
    (here.folder / "claims.txt").write_text("steps = 1000\nstep = 1 s\nrun = 9 h\n")
    for name in ("claims.yaml", "claims.txt"):
        assert "= 16.7 min, not 9 h" in here.run("audit", name, code=3).stdout
    (here.folder / "claims.yaml").write_text("steps: 1000\nstepp: 1 s\nrun: nine\n")
    told = here.run("audit", "claims.yaml", code=2).stderr
    assert "claims.yaml:2:1: nothing is called 'stepp'" in told
    assert "did you mean step?" in told
    assert "claims.yaml:3:1: run:" in told


def test_against_the_estimates_of_a_spec(here: Here) -> None:
    answer = here.json("audit", "plan.md", "--spec", "experiment.yaml", code=3)
    found = {one["check"]: one for one in answer["findings"]}
    assert answer["spec"] == "experiment.yaml"
    assert "20,000 steps, but gpt has 1,000 steps" in found["claim-spec"]["message"]
    messages = [one["message"] for one in answer["findings"] if one["check"] == "claim-estimate"]
    assert any("1 MB of disk, but the runs of gpt leave" in one for one in messages)
    assert any("run 15 h, but gpt is estimated at" in one and "on RTX 4090" in one for one in messages)


def test_files_that_are_no_documents(here: Here) -> None:
    (here.folder / "paper.pdf").write_bytes(b"%PDF-1.7\n\xe2\xe3\xcf\xd3")
    (here.folder / "zero.md").write_bytes(b"run\0time")
    (here.folder / "empty.md").write_text("\n \n")
    (here.folder / "large.md").write_text("word " * 300_000)
    for name, said in {
        "paper.pdf": "paper.pdf is not UTF-8 text",
        "zero.md": "zero.md is not text",
        "empty.md": "empty.md is empty",
        "large.md": "large.md is larger than 1 MB",
        "none.md": "none.md: No such file",
        ".": ". is a folder",
    }.items():
        told = here.run("audit", name, code=2).stderr
        assert said in told
        assert "-> give a Markdown or text file, or a list of claims such as `run = 1.4 h`" in told
    assert "nothing to audit" in here.run("audit", code=2).stderr
    error = json.loads(here.run("audit", "--claim", "runn=3 h", "--json", code=2).stdout)
    assert "did you mean run?" in error["error"]["message"]


def test_hostile_lines_neither_hang_nor_reach_the_terminal(here: Here) -> None:
    lines = ["9 " * 900, "1-2 " * 400, "3 x " * 400, "|" * 2000, "(" * 2000, "\x1b[2Jeach run takes 3 h"]
    (here.folder / "hostile.md").write_text("\n".join(lines))
    assert "\x1b" not in here.run("audit", "hostile.md", "--list").stdout
