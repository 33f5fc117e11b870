"""`gpuplan diff` through the command line: what differs in words and for programs, and files that hold no plan."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from sweep import Here, Sweep

from gpuplan.model import Finding, Plan, Quantity
from gpuplan.report.differences import compare

if TYPE_CHECKING:
    from pathlib import Path

SPEC = """
name: tiny
command: python train.py --lr {lr} --rows {rows}
settings: {rows: 64}
vary: {lr: [0.1, 0.2]}
seeds: [1]
environment: {python: PYTHON}
limits: {run: 60 s}
"""


@pytest.fixture
def sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Sweep:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    sweep = Here(tmp_path, capsys, SPEC)
    sweep.run("plan", "-o", "a.json")
    return sweep


def plan_in(sweep: Sweep, name: str = "a.json") -> Plan:
    return Plan.model_validate_json((sweep.folder / name).read_bytes())


def keep(sweep: Sweep, name: str, plan: Plan) -> None:
    (sweep.folder / name).write_text(plan.model_dump_json(by_alias=True))


def spec_changes(answer: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {one["key"]: (one["before"], one["after"]) for one in answer["spec"]}


def test_a_plan_is_the_same_as_itself(sweep: Sweep) -> None:
    said = sweep.run("diff", "a.json", "a.json").stdout
    assert said == "a.json and a.json: the same plan\n"
    answer = sweep.json("diff", "a.json", "a.json")
    assert (answer["schema"], answer["same"], answer["spec"]) == ("gpuplan.diff/1", True, [])


def test_the_same_spec_planned_again_is_the_same_plan(sweep: Sweep) -> None:
    sweep.run("plan", "-o", "again.json")
    assert sweep.json("diff", "a.json", "again.json")["same"]


def test_a_new_value_of_an_axis_adds_and_removes_runs(sweep: Sweep) -> None:
    sweep.run("plan", "--set", "vary.lr=[0.1, 0.3]", "-o", "b.json")
    answer = sweep.json("diff", "a.json", "b.json")
    assert spec_changes(answer) == {"vary.lr": ([0.1, 0.2], [0.1, 0.3])}
    assert (answer["runs"]["added"], answer["runs"]["removed"]) == (["lr0.3-s1"], ["lr0.2-s1"])
    assert answer["runs"]["changed"] == []


def test_a_changed_setting_changes_every_run_and_says_which(sweep: Sweep) -> None:
    sweep.run("plan", "--set", "settings.rows=128", "--set", "limits.run='2 min'", "-o", "b.json")
    answer = sweep.json("diff", "a.json", "b.json")
    assert spec_changes(answer)["settings.rows"] == (64, 128)
    assert "limits.run" in spec_changes(answer)
    changes = [run["changes"] for run in answer["runs"]["changed"]]
    assert changes == [[{"key": "settings.rows", "before": 64, "after": 128}]] * 2
    said = sweep.run("diff", "a.json", "b.json").stdout
    assert "2 runs changed" in said
    assert "settings.rows" in said


def test_runs_that_only_got_other_names_are_renamed(sweep: Sweep) -> None:
    sweep.run("plan", "--set", "names=rate-{lr}-s{seed}", "-o", "b.json")
    runs = sweep.json("diff", "a.json", "b.json")["runs"]
    assert runs["renamed"][0] == {"before": "lr0.1-s1", "after": "rate-0.1-s1"}
    assert (runs["added"], runs["removed"], runs["changed"]) == ([], [], [])


def moved_to(plan: Plan, factor: float) -> Plan:
    first = plan.estimates[0]
    slower = first.duration_s.model_copy(
        update={"p50": first.duration_s.p50 * factor, "p90": first.duration_s.p90 * factor}
    )
    return plan.model_copy(update={"estimates": (first.model_copy(update={"duration_s": slower}), *plan.estimates[1:])})


def test_estimates_beyond_their_old_interval_stand_first_and_are_marked(sweep: Sweep) -> None:
    plan = plan_in(sweep)
    ratio = 1.5 * plan.estimates[0].duration_s.p90 / plan.estimates[0].duration_s.p50
    within = plan.estimates[0].disk_bytes.model_copy(update={"p90": plan.estimates[0].disk_bytes.p90 + 1e9})
    slower = moved_to(plan, ratio)
    both = slower.estimates[0].model_copy(update={"disk_bytes": within})
    keep(sweep, "b.json", slower.model_copy(update={"estimates": (both, *slower.estimates[1:])}))
    moves = sweep.json("diff", "a.json", "b.json")["estimates"]
    assert [(one["figure"], one["beyond"]) for one in moves] == [("duration_s", True), ("disk_bytes", False)]
    assert moves[0]["runs"] == ["lr0.1-s1"]
    assert moves[0]["ratio"] == pytest.approx(ratio)
    assert "1 estimate beyond" in sweep.run("diff", "a.json", "b.json").stdout


def test_verdict_place_machine_total_and_findings(sweep: Sweep) -> None:
    plan = plan_in(sweep)
    first, placed = plan.estimates[0], plan.placements[0]
    memory = first.memory.model_copy(update={"fits": "NO FIT"})
    finding = Finding(
        severity="error", check="memory", message="too large", place="experiment.yaml:3:1", because="", fix="less"
    )
    cost = Quantity(p10=1, p50=2, p90=3, source="assumed", because="rent")
    other = plan.model_copy(
        update={
            "estimates": (first.model_copy(update={"memory": memory}), *plan.estimates[1:]),
            "placements": (placed.model_copy(update={"offer": "vast-7"}), *plan.placements[1:]),
            "machine": plan.machine.model_copy(update={"cores": plan.machine.cores + 6}),
            "totals": plan.totals.model_copy(update={"cost_usd": cost}),
            "findings": (finding,),
            "prices_as_of": "2026-11-01",
        }
    )
    keep(sweep, "b.json", other)
    answer = sweep.json("diff", "a.json", "b.json")
    assert answer["fits"][0]["changes"][0]["after"] == "NO FIT"
    assert answer["placements"][0]["after"].startswith("vast-7 machine 0")
    assert answer["machine"] == [{"key": "cores", "before": plan.machine.cores, "after": plan.machine.cores + 6}]
    assert [one["figure"] for one in answer["totals"]] == ["cost_usd"]
    assert [one["check"] for one in answer["findings"]["new"]] == ["memory"]
    assert len(answer["findings"]["gone"]) == len(plan.findings)
    assert answer["prices"] == [{"key": "prices_as_of", "before": None, "after": "2026-11-01"}]
    said = sweep.run("diff", "a.json", "b.json").stdout
    assert "$2.00 ($1.00-$3.00)" in said
    assert "New findings (1):" in said


def test_memory_that_others_use_at_the_moment_is_no_difference(sweep: Sweep) -> None:
    plan = plan_in(sweep)
    busy = tuple(device.model_copy(update={"used_bytes": 10**9}) for device in plan.machine.devices)
    assert compare(plan, plan.model_copy(update={"machine": plan.machine.model_copy(update={"devices": busy})})).same


def test_files_that_hold_no_plan_are_named_with_what_they_are(sweep: Sweep) -> None:
    whole = (sweep.folder / "a.json").read_text()
    newer = whole.replace("gpuplan.plan/1", "gpuplan.plan/9")
    files = {
        "cut.json": (whole[: len(whole) // 2], "cut.json is cut off"),
        "empty.json": ("", "empty.json is empty"),
        "words.json": ("<html>", "words.json is not JSON"),
        "newer.json": (newer, "another version of gpuplan (gpuplan.plan/9"),
        "fit.json": ('{"schema": "gpuplan.fit/1"}', "is a gpuplan.fit/1 document, not a plan"),
        "error.json": ('{"schema": "gpuplan.error/1", "error": {}}', "holds an error of gpuplan"),
        "list.json": ("[1, 2]", "holds no plan"),
        "other.json": ('{"schema": 7}', "is JSON, but not a plan"),
        "edited.json": (whole.replace('"runs":', '"walks":', 1), "another version of gpuplan, or changed by hand"),
        "nan.json": (whole.replace('"p50":', '"p50": NaN, "q":', 1), "changed by hand"),
        "deep.json": ("[" * 100_000, "deep.json is not JSON"),
    }
    for name, (text, said) in files.items():
        (sweep.folder / name).write_text(text)
        told = sweep.run("diff", "a.json", name, code=2).stderr
        assert said in told, name
        assert "-> make it anew: gpuplan plan" in told


def test_a_folder_a_missing_file_and_bytes_are_named(sweep: Sweep) -> None:
    (sweep.folder / "bytes.json").write_bytes(b"\xff\xfe\0\0")
    assert ".: " not in sweep.run("diff", ".", "a.json", code=2).stderr
    assert ". is a folder" in sweep.run("diff", ".", "a.json", code=2).stderr
    assert "none.json: No such file" in sweep.run("diff", "a.json", "none.json", code=2).stderr
    assert "bytes.json is not JSON" in sweep.run("diff", "bytes.json", "a.json", code=2).stderr
    error = json.loads(sweep.run("diff", "a.json", "none.json", "--json", code=2).stdout)
    assert error["error"]["exit_code"] == 2


def test_a_finding_with_other_figures_is_neither_new_nor_gone(sweep: Sweep) -> None:
    def finding(message: str) -> Finding:
        place = "experiment.yaml:3:1"
        return Finding(severity="warning", check="disk", message=message, place=place, because="", fix="less")

    plan = plan_in(sweep)
    keep(sweep, "c.json", plan.model_copy(update={"findings": (finding("10 runs x 17 GiB"),)}))
    keep(sweep, "d.json", plan.model_copy(update={"findings": (finding("5 runs x 17 GiB"),)}))
    findings = sweep.json("diff", "c.json", "d.json")["findings"]
    assert (findings["new"], findings["gone"]) == ([], [])
    assert [one["after"]["message"] for one in findings["changed"]] == ["5 runs x 17 GiB"]
    assert "1 finding with other figures" in sweep.run("diff", "c.json", "d.json").stdout


def test_an_option_that_is_gone_takes_one_row_and_its_price_has_not_changed(sweep: Sweep) -> None:
    table = "gpu,gpus,price,place,available\nRTX 4090,1,0.40,lab,4\nRTX 4090,4,1.30,lab,4\n"
    (sweep.folder / "offers.csv").write_text(table)
    model = "{kind: decoder, layers: 4, d_model: 512, heads: 8, feedforward: 2048, vocabulary: 50257, sequence: 256}"
    sweep.write(SPEC.replace("{rows: 64}", "{rows: 64, steps: 20000}").replace("limits: {run: 60 s}\n", "") + (
        f"roles: {{micro_batch: rows, steps: steps}}\nfootprint: {{model: {model}}}\n"
        "compute: {on: [lab]}\n"))  # fmt: skip
    sweep.run("plan", "--offers", "offers.csv", "-o", "p.json", "-q")
    plan = plan_in(sweep, "p.json")
    assert len(plan.options) > 1
    keep(sweep, "q.json", plan.model_copy(update={"options": plan.options[:1]}))
    answer = sweep.json("diff", "p.json", "q.json")
    assert [[change["key"] for change in one["changes"]] for one in answer["options"]] == [["cost_usd"]] * (
        len(plan.options) - 1
    )
    assert answer["prices"] == []
