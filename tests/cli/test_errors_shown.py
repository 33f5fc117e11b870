"""What the command line says and returns when something is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from sweep import Sweep

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path)


def test_a_wrong_verb_names_the_right_one(sweep: Sweep) -> None:
    assert "Did you mean plan?" in sweep.run("plna", code=2).stderr


def test_a_missing_spec_says_what_to_do(sweep: Sweep) -> None:
    said = sweep.run("check", "nowhere.yaml", code=2).stderr
    assert "nowhere.yaml: no such file" in said
    assert "experiment.yaml" in said


def test_spec_errors_are_json_too(sweep: Sweep) -> None:
    sweep.write("name: x\ncomand: y\n")
    answer = sweep.json("plan", code=2)
    assert answer["schema"] == "gpuplan.error/1"
    assert [problem["line"] for problem in answer["error"]["problems"]] == [1, 2]


def test_json_is_one_document_and_errors_go_to_stderr_too(sweep: Sweep) -> None:
    done = sweep.run("show", "nothing", "--json", code=2)
    assert json.loads(done.stdout)["error"]["exit_code"] == 2
    assert "no run 'nothing'" in done.stderr


def test_a_bad_expectation_is_found_before_anything_runs(sweep: Sweep) -> None:
    text = (sweep.folder / "experiment.yaml").read_text()
    (sweep.folder / "experiment.yaml").write_text(text.replace("final(accuracy)", "finale(accuracy)"))
    said = sweep.run("check", code=2).stderr
    assert "experiment.yaml:" in said
    assert "final" in said


def test_report_before_apply(sweep: Sweep) -> None:
    assert "nothing was applied" in sweep.run("report", code=2).stderr


def test_ps_before_apply_is_empty(sweep: Sweep) -> None:
    assert sweep.json("ps")["runs"] == []


@pytest.mark.parametrize(
    "words", [("plan", "--set", "x"), ("plan", "--set", "limits.run=5"), ("plan", "--vary", "a=1")]
)
def test_bad_options(sweep: Sweep, words: tuple[str, ...]) -> None:
    assert sweep.run(*words, code=2).stderr


def test_a_plan_file_of_something_else(sweep: Sweep) -> None:
    (sweep.folder / "plan.json").write_text('{"schema": "gpuplan.plan/1", "runs": 5}')
    assert "plan.json was written by another version of gpuplan" in sweep.run("apply", "plan.json", code=2).stderr


def test_a_store_that_is_no_store(sweep: Sweep) -> None:
    (sweep.folder / ".gpuplan").mkdir()
    (sweep.folder / ".gpuplan" / "store.sqlite").write_text("not a database, but longer than a header has to be" * 20)
    said = sweep.run("ps", code=1).stderr
    assert "store.sqlite" in said
    assert "Traceback" not in said


def test_markup_in_names_is_not_eaten(sweep: Sweep) -> None:
    sweep.run("init", "other.yaml")
    assert "[bold]" in sweep.run("check", "[bold].yaml", code=2).stderr


def test_init_refuses_to_overwrite_and_its_spec_is_sound(sweep: Sweep) -> None:
    assert "is there already" in sweep.run("init", code=2).stderr
    sweep.run("init", "new.yaml")
    options = ("learning-rate", "batch-size", "epochs", "seed", "output-dir")
    parser = [f"parser.add_argument('--{name}')" for name in options]
    trainer = ["import argparse", "parser = argparse.ArgumentParser()", *parser, "parser.parse_args()"]
    (sweep.folder / "train.py").write_text("\n".join(trainer))
    sweep.run("check", "new.yaml")


def test_colour_only_where_it_is_wanted(sweep: Sweep) -> None:
    assert "\x1b[" not in sweep.run("plan").stdout


def test_fit_answers_for_gpus_that_are_not_here(sweep: Sweep) -> None:
    text = (sweep.folder / "experiment.yaml").read_text()
    model = "{kind: decoder, layers: 2, d_model: 64, heads: 2, feedforward: 128, vocabulary: 1000, sequence: 32}"
    sweep.write(text + f"settings: {{bs: 4}}\nroles: {{micro_batch: bs}}\nfootprint: {{model: {model}}}\n")
    answer = sweep.json("fit", "--gpus", "4090,A100", "--batches", "1,2")
    assert next(one["gpu"] for one in answer["gpus"]) == "RTX 4090"
    assert all(one["largest_batch"] > 1000 for one in answer["gpus"])
    assert "RTX 4090" in sweep.run("fit").stdout
    assert "near:" in sweep.run("fit", "--gpus", "RTX 4091", code=2).stderr
    assert "whole numbers" in sweep.run("fit", "--batches", "1,x", code=2).stderr


def test_a_plan_of_another_version_in_the_state_folder(sweep: Sweep) -> None:
    folder = sweep.folder / ".gpuplan" / "plans"
    folder.mkdir(parents=True)
    (folder / "tiny.json").write_text('{"schema": "gpuplan.plan/1"}')
    assert "written by another version" in sweep.run("report", code=2).stderr


def test_init_writes_a_spec_for_a_built_in_trainer(sweep: Sweep) -> None:
    sweep.run("init", "agnews.yaml", "--workload", "agnews")
    assert "2 points x 3 seeds + 1 control = 7 runs" in sweep.run("check", "agnews.yaml").stdout
    assert "there are: agnews" in sweep.run("init", "x.yaml", "--workload", "agnws", code=2).stderr
