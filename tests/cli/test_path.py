"""The whole path as a user walks it: check, plan, apply, ps, logs, report, grow, change, fail."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import jsonschema
import pytest
from sweep import SPEC, Sweep

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path)


def test_check_counts_names_and_judges(sweep: Sweep) -> None:
    said = sweep.run("check").stdout
    assert "tiny: 2 points x 2 seeds = 4 runs" in said
    assert "lr0.1-s1, lr0.1-s2, lr0.2-s1, lr0.2-s2" in said
    assert "0 errors" in said


def test_a_varied_setting_that_nothing_uses_blocks(sweep: Sweep) -> None:
    sweep.write(SPEC.replace("vary: {lr: [0.1, 0.2]}", "settings: {lr: 0.1}\nvary: {depth: [1, 2]}"))
    answer = sweep.json("check", code=3)
    errors = [finding for finding in answer["findings"] if finding["severity"] == "error"]
    assert any("depth" in finding["message"] for finding in errors)
    assert all(finding["place"].startswith("experiment.yaml:") for finding in errors)
    assert sweep.json("apply", "-y", code=3)["error"]["exit_code"] == 3


def test_plan_validates_against_its_schema_and_is_the_same_each_time(sweep: Sweep) -> None:
    schema = json.loads(sweep.run("show", "--schema", "plan").stdout)
    first, second = (sweep.run("plan", "--json").stdout for _ in range(2))
    jsonschema.validate(json.loads(first), schema)
    assert first == second


def test_spec_validates_against_its_schema(sweep: Sweep) -> None:
    schema = json.loads(sweep.run("show", "--schema", "spec").stdout)
    spec = {"name": "x", "command": "t {a}", "vary": {"a": [1, 0.5, "b", True]}, "limits": {"budget": "5 USD"}}
    jsonschema.validate(spec, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(spec | {"comand": "t"}, schema)


def test_apply_runs_everything_and_report_judges(sweep: Sweep) -> None:
    sweep.run("apply", "-y")
    states = {row["run"]: row["state"] for row in sweep.json("ps")["runs"]}
    assert states == dict.fromkeys(["lr0.1-s1", "lr0.1-s2", "lr0.2-s1", "lr0.2-s2"], "finished")
    report = sweep.json("report")
    assert [check["status"] for check in report["expectations"]] == ["pass"]
    folder = sweep.folder / ".gpuplan" / "reports" / "tiny"
    assert {"report.md", "report.html", "runs.csv", "predictions.csv"} <= {path.name for path in folder.iterdir()}
    assert "0.61" in sweep.run("report", "--table", "runs", "--format", "csv").stdout


def test_an_expectation_that_is_not_met_ends_with_6_only_if_asked(sweep: Sweep) -> None:
    sweep.write(SPEC.replace(">= 0.6", ">= 0.9"))
    sweep.run("apply", "-y", "-q")
    sweep.run("report", "--no-write")
    assert "FAIL" in sweep.run("report", "--check", "--no-write", code=6).stdout


def test_a_sweep_grown_by_a_seed_runs_only_what_is_new(sweep: Sweep) -> None:
    sweep.run("apply", "-y", "-q")
    sweep.write(SPEC.replace("seeds: [1, 2]", "seeds: [1, 2, 3]"))
    assert sweep.json("plan")["totals"]["finished"] == 4
    assert len(sweep.json("apply", "-y")["states"]) == 2
    logs = {name: (sweep.folder / ".gpuplan" / "runs" / name / "metrics.jsonl") for name in ("lr0.1-s1", "lr0.1-s3")}
    starts = {name: path.read_text().count('"start"') for name, path in logs.items()}
    assert starts == {"lr0.1-s1": 1, "lr0.1-s3": 1}


def test_a_plan_file_is_applied_without_asking_and_refused_after_drift(sweep: Sweep) -> None:
    sweep.run("plan", "-o", "plan.json")
    sweep.write(SPEC.replace("[0.1, 0.2]", "[0.1, 0.3]"))
    refused = sweep.run("apply", "plan.json", code=3)
    assert "experiment.yaml has changed since" in refused.stderr
    sweep.run("apply", "plan.json", "--accept-drift", "-q")
    assert {row["run"] for row in sweep.json("ps")["runs"]} >= {"lr0.2-s1"}


def test_an_input_that_changed_is_drift(sweep: Sweep) -> None:
    (sweep.folder / "rows.csv").write_text("a,b\n1,2\n")
    sweep.write(SPEC + "inputs: [{path: rows.csv}]\n")
    sweep.run("plan", "-o", "plan.json")
    (sweep.folder / "rows.csv").write_text("a,b\n1,3\n")
    assert "input rows.csv has changed" in sweep.run("apply", "plan.json", code=3).stderr


def test_a_missing_input_is_created_first(sweep: Sweep) -> None:
    create = "python -c \"open('rows.csv', 'w').write('a,b')\""
    sweep.write(SPEC + f"inputs: [{{path: rows.csv, create: '{create.replace(chr(39), chr(39) * 2)}'}}]\n")
    assert "does not exist yet" in sweep.run("check").stdout
    said = sweep.run("apply", "-y")
    assert "creating rows.csv" in said.stderr
    assert (sweep.folder / "rows.csv").read_text() == "a,b"


def test_inputs_of_each_seed_are_created(sweep: Sweep) -> None:
    create = "python -c \"open('rows{seed}.csv', 'w').write('a,b')\""
    sweep.write(SPEC + f"inputs: [{{path: 'rows{{seed}}.csv', create: '{create.replace(chr(39), chr(39) * 2)}'}}]\n")
    sweep.run("apply", "-y")
    assert sorted(path.name for path in sweep.folder.glob("rows*.csv")) == ["rows1.csv", "rows2.csv"]


def test_a_crash_is_classified_with_its_last_lines(sweep: Sweep) -> None:
    sweep.write(SPEC.replace("--lr {lr}", "--lr {lr} --crash").replace("[0.1, 0.2]", "[0.1]"))
    assert sweep.json("apply", "-y", code=4)["states"] == {"lr0.1-s1": "crashed", "lr0.1-s2": "crashed"}
    record = sweep.json("show", "lr0.1-s1")
    assert "the data is not what it was" in record["outcome"]["because"]
    assert any("ValueError" in line for line in record["outcome"]["tail"])
    assert "ValueError" in sweep.run("logs", "lr0.1-s1", "-n", "3").stdout


def test_a_record_names_what_exactly_ran(sweep: Sweep) -> None:
    sweep.run("apply", "-y", "-q")
    record = sweep.json("show", "lr0.2-s2")
    provenance = record["provenance"]
    assert provenance["argv"][1:] == ["train.py", "--lr", "0.2"]
    assert provenance["versions"]["click"]
    assert provenance["environment"]["GPUPLAN_SEED"] == "2"
    assert record["estimate"]["duration_s"]["p50"] > 0
    assert record["measurement"]["final"]["accuracy"] == pytest.approx(0.72)


def test_runs_teach_the_next_plan(sweep: Sweep) -> None:
    before = sweep.json("plan")["estimates"][0]
    sweep.run("apply", "-y", "-q")
    after = sweep.json("plan")["estimates"][0]
    assert before["duration_s"]["source"] == "assumed"
    assert after["step_s"]["source"] == "measured"


def test_a_sweep_with_no_file(sweep: Sweep) -> None:
    words = ("--vary", "lr=0.1,0.2", "--seeds", "1,2", "--", "python", "train.py", "--lr", "{lr}")
    plan = sweep.run("plan", "--json", *words)
    assert next(run["name"] for run in json.loads(plan.stdout)["runs"]) == "lr0.1-s1"


def test_without_a_terminal_and_without_yes_nothing_runs(sweep: Sweep) -> None:
    assert "-y" in sweep.run("apply", code=2).stderr
    assert not (sweep.folder / ".gpuplan" / "runs").exists()


def test_ctrl_c_asks_runs_to_leave_and_the_next_apply_goes_on(sweep: Sweep) -> None:
    sweep.write(SPEC.replace("--lr {lr}", "--lr {lr} --rows 8000"))
    process = sweep.start("apply", "-y")
    wait_for_state(sweep, "running")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    states = {row["state"] for row in sweep.json("ps")["runs"]}
    assert "running" not in states
    assert "preempted" in states


def test_stop_asks_one_run(sweep: Sweep) -> None:
    sweep.write(SPEC.replace("--lr {lr}", "--lr {lr} --rows 80000").replace("seeds: [1, 2]", "seeds: [1]"))
    process = sweep.start("apply", "-y")
    running = wait_for_state(sweep, "running")
    assert sweep.json("stop", running)["stopped"] == [running]
    sweep.json("stop", "--all")
    wait_for_end(sweep, process)
    assert process.returncode == 4


def wait_for_state(sweep: Sweep, state: str) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for row in sweep.json("ps")["runs"]:
            if row["state"] == state:
                return str(row["run"])
    raise AssertionError(f"nothing was ever {state}")


def wait_for_end(sweep: Sweep, process: object) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:  # type: ignore[attr-defined]
        sweep.json("stop", "--all")
    process.communicate(timeout=10)  # type: ignore[attr-defined]
