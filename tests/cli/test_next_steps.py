"""What the verbs say to do next can be pasted into a shell, and does what was meant."""

from __future__ import annotations

import json
import shlex
import stat
from typing import TYPE_CHECKING

import pytest
from sweep import SPEC, Here, Sweep

if TYPE_CHECKING:
    from pathlib import Path

GANG = """
name: gang
command: python train.py --lr {lr} --rows {batch}
settings: {batch: 8}
vary: {lr: [0.1]}
copies: 8
roles: {micro_batch: batch}
environment: {python: PYTHON}
footprint:
  model: {kind: decoder, layers: 2, d_model: 256, heads: 4, feedforward: 512, vocabulary: 1000, sequence: 256}
"""


@pytest.fixture
def sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Sweep:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("GPUPLAN_STATE", raising=False)
    return Here(tmp_path, capsys)


def next_words(said: str) -> list[str]:
    """The command after `next:`, as a shell would split it, without `gpuplan`."""
    line = said.splitlines()[-1].removeprefix("next: ")
    program, *words = shlex.split(line)
    assert program == "gpuplan", line
    return words


def test_the_next_command_holds_every_change_and_the_state_folder_and_works(sweep: Sweep) -> None:
    changes = ("--set", "seeds=[1, 3]", "--set", "limits.run='2 min'", "--state", "my state")
    words = next_words(sweep.run("check", *changes).stdout)
    assert words[0] == "plan"
    words = next_words(sweep.run(*words, "-q").stdout)
    assert words[0] == "apply"
    said = sweep.run(*words, "-y", "-q").stdout
    assert "4 of 4 runs finished" in said
    assert (sweep.folder / "my state" / "runs" / "lr0.1-s3").is_dir()
    assert next_words(said) == ["report", "--state", "my state", "tiny"]


def test_a_plan_file_with_a_space_in_its_name(sweep: Sweep) -> None:
    assert next_words(sweep.run("plan", "-o", "my plan.json").stdout) == ["apply", "my plan.json"]


def test_when_everything_is_done_the_report_is_next(sweep: Sweep) -> None:
    sweep.run("apply", "-y", "-q")
    assert next_words(sweep.run("plan").stdout) == ["report", "tiny"]


@pytest.mark.parametrize("words", [("--vary", "lr=0.1,0.2", "--seeds", "1", "--"), ("--cautious",)])
def test_what_no_spec_file_says_is_kept_in_a_plan_file_first(sweep: Sweep, words: tuple[str, ...]) -> None:
    command = ("python", "train.py", "--lr", "{lr}") if "--" in words else ()
    last = sweep.run("plan", "-q", *words, *command).stdout.splitlines()[-1]
    assert last == "next: plan it again with `-o plan.json`, then gpuplan apply plan.json"


def test_init_quotes_the_name_and_knows_its_templates_only(sweep: Sweep) -> None:
    said = sweep.run("init", "my spec.yaml").stdout
    assert said.endswith("gpuplan check 'my spec.yaml'\n")
    secret = sweep.folder / "secret.yaml"
    secret.write_text("token: 1")
    assert (
        "no template for" in sweep.run("init", "other.yaml", "--workload", str(secret.with_suffix("")), code=2).stderr
    )
    assert not (sweep.folder / "other.yaml").exists()


def test_a_missing_folder_is_to_be_made(sweep: Sweep) -> None:
    said = sweep.run("plan", "-o", "no such/plan.json", code=1).stderr
    assert "-> `mkdir -p 'no such'`, and the same command again" in said


def test_json_does_not_stand_for_yes(sweep: Sweep) -> None:
    answer = sweep.json("apply", code=2)
    assert answer["error"]["hint"] == "add -y, or apply a plan file"
    assert not (sweep.folder / ".gpuplan" / "runs").exists()


def test_ps_and_watch_name_an_experiment_that_is_not_there(sweep: Sweep) -> None:
    assert "next: gpuplan apply SPEC" in sweep.run("ps").stdout
    for verb in ("ps", "watch"):
        assert "nothing of nobody was applied" in sweep.run(verb, "nobody", code=2).stderr


def test_a_plan_file_with_variables_is_the_owners_alone(sweep: Sweep) -> None:
    sweep.run("plan", "-o", "open.json")
    sweep.write(SPEC.replace("environment: {", "environment: {variables: {HF_TOKEN: hf_1}, "))
    sweep.run("plan", "-o", "closed.json")
    modes = {name: stat.S_IMODE((sweep.folder / name).stat().st_mode) for name in ("open.json", "closed.json")}
    sweep.run("apply", "closed.json", "-q")
    kept = sweep.folder / ".gpuplan" / "plans" / "tiny.json"
    assert modes["closed.json"] == stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert modes["open.json"] != 0o600
    assert json.loads((sweep.folder / "closed.json").read_text())["experiment"]["environment"]["variables"]


def test_copies_are_called_processes_and_judged_together(sweep: Sweep) -> None:
    sweep.write(GANG)
    header = next(line for line in sweep.run("plan").stdout.splitlines() if "Memory" in line)
    assert "Processes" in header
    assert "Memory/process" in header
    said = sweep.run("fit", "--gpus", "RTX 3070", "--batches", "64").stdout
    assert "lr0.1, 8 copies: what fits" in said
    assert "whether 8 fit on the card together" in said
    assert "--set copies=1" in sweep.run("apply", "-y", code=3).stderr


def test_long_lines_go_on_below_themselves_and_break_between_words(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    sweep.write(SPEC.replace("train.py", "a/folder/with-a-long-name/that-is-not-there/train.py"))
    lines = sweep.run("check", code=3).stdout.splitlines()
    because = next(index for index, line in enumerate(lines) if line.startswith("    because "))
    assert lines[because + 1].startswith("      ")
    assert any("a/folder/with-a-long-name/that-is-not-there/train.py" in line for line in lines)


def test_what_stands_in_a_spec_moves_no_cursor(sweep: Sweep) -> None:
    sweep.write(SPEC + 'inputs: [{path: "data/\\e[31mred"}]\n')
    said = sweep.run("check", code=3).stdout
    assert r"data/\x1b[31mred does not exist" in said
    assert "\x1b" not in said
