from __future__ import annotations

import pytest
from verify_world import SOUND, TRAIN, errors, experiment, found, only, world

from gpuplan.model import CommandFact

COMMAND = SOUND["command"]
WITHOUT_SEED = COMMAND.replace(" --seed {seed}", "")


def test_a_setting_that_varies_and_is_not_passed_blocks() -> None:
    finding = only("varied-unused", experiment(vary={"lr": [1e-3, 5e-4], "alpha": [0, 1, 2, 3, 4]}))
    assert finding.severity == "error"
    assert finding.message == "alpha varies, but the command does not use it"
    assert finding.because == "the runs with alpha = 0, 1, 2, ... would be the same run 5 times"
    assert "`--alpha {alpha}`" in finding.fix


@pytest.mark.parametrize(
    "changed",
    [
        {"vary": {"lr": [1, 2], "ranks": [1, 2]}},
        {"vary": {"lr": [1, 2], "set": ["a", "b"]}, "inputs": [{"path": "data/{set}.csv"}]},
        {"vary": {"lr": [1, 2], "set": ["a", "b"]}, "inputs": [{"path": "data/agnews.csv", "create": "get {set}"}]},
        {"vary": None, "points": [{"lr": 1}, {"lr": 2}]},
        {"vary": None, "zip": {"lr": [1, 2], "batch": [8, 16]}},
    ],
    ids=["ranks", "in an input", "in how it is made", "points", "zip"],
)
def test_what_reaches_the_program_may_vary(changed: dict[str, object]) -> None:
    assert found("varied-unused", experiment(**changed)) == []


def test_points_and_zip_are_axes_too() -> None:
    assert (
        only("varied-unused", experiment(vary=None, points=[{"a": 1, "lr": 1}, {"a": 2, "lr": 2}])).place
        == "points.0.a"
    )
    assert only("varied-unused", experiment(zip={"a": [1, 2], "batch": [3, 4]})).place == "zip.a"


@pytest.mark.parametrize(
    "changed",
    [
        {"vary": None, "zip": {"model": ["1B", "3B"], "batch": [8, 4]}},
        {"zip": {"model": ["1B", "3B"], "batch": [8, 4]}},
        {"vary": None, "zip": {"model": ["1B", "3B"], "ranks": [1, 2]}},
        {"vary": None, "points": [{"model": "1B", "lr": 1}, {"model": "3B", "lr": 2}]},
        {"vary": None, "zip": {"model": ["a", "b"], "set": ["a", "b"]}, "inputs": [{"path": "data/{set}.csv"}]},
        {"vary": {"lr": [1, 2], "model": ["1B"]}},
    ],
    ids=["zip", "zip and vary", "ranks", "points", "with an input", "one value"],
)
def test_a_label_beside_what_is_read_is_a_note(changed: dict[str, object]) -> None:
    finding = only("varied-unused", experiment(**changed))
    assert (finding.severity, finding.message) == ("note", "model is a label: the command does not use it")
    assert finding.place.endswith("model")


@pytest.mark.parametrize(
    "changed",
    [
        {"vary": None, "zip": {"model": ["1B", "3B"], "batch": [8, 8]}},
        {"vary": None, "zip": {"model": ["1B", "3B"], "size": [8, 4]}},
        {"vary": {"model": ["1B", "3B"]}, "zip": {"lr": [1, 2], "batch": [8, 4]}},
        {"vary": None, "points": [{"model": "1B", "lr": 1}, {"model": "3B", "lr": 1}]},
    ],
    ids=["the same beside it", "nothing that is read", "alone", "points"],
)
def test_runs_that_differ_in_what_nothing_reads_alone_block(changed: dict[str, object]) -> None:
    model = next(one for one in found("varied-unused", experiment(**changed)) if one.place.endswith("model"))
    assert (model.severity, model.message) == ("error", "model varies, but the command does not use it")


def test_seeds_that_nothing_reads_block() -> None:
    finding = only("seed-unused", experiment(command=WITHOUT_SEED))
    assert finding.severity == "error"
    assert finding.because.startswith("all 2 seeds would be the same run")


def test_a_program_that_reads_the_variable_needs_no_field() -> None:
    reads = CommandFact(program=TRAIN, names=frozenset({"GPUPLAN_SEED"}))
    assert found("seed-unused", experiment(command=WITHOUT_SEED), given=world(programs=[reads])) == []


def test_a_workload_reads_its_seed() -> None:
    assert found("seed-unused", experiment(command=WITHOUT_SEED, workload="agnews")) == []


def test_without_seeds_there_is_nothing_to_read() -> None:
    assert found("seed-unused", experiment(command=WITHOUT_SEED, seeds=[])) == []


def test_a_control_may_ignore_the_seed() -> None:
    spec = experiment(controls=[{"name": "base", "command": "python train.py --eval --out {run_dir}"}])
    assert found("seed-unused", spec) == []


def test_settings_that_nothing_uses_are_noted() -> None:
    finding = only("setting-unused", experiment(settings={"batch": 8, "steps": 10, "warmup": 5, "decay": 0.1}))
    assert (finding.severity, finding.message) == ("note", "nothing uses warmup, decay")


@pytest.mark.parametrize(
    "changed",
    [
        {"roles": {"warmup_steps": "extra"}},
        {"inputs": [{"path": "data/agnews.csv", "create": "get {extra}"}]},
        {"names": "{extra}-{lr}-{seed}"},
        {"checkpoint": {"resume": "--resume {extra}"}},
        {"footprint": {"trace": "train:make_step"}},
        {"footprint": {"model": "{extra}/config.json"}},
        {"controls": [{"name": "base", "command": "python train.py --eval {extra} --out {run_dir}"}]},
        {"footprint": {"model": dict.fromkeys(("layers", "d_model", "heads", "feedforward", "vocabulary"), 2)
                       | {"kind": "decoder", "sequence": "extra"}}},
    ],
)  # fmt: skip
def test_whatever_refers_to_a_setting_uses_it(changed: dict[str, object]) -> None:
    assert found("setting-unused", experiment(settings={"batch": 8, "steps": 10, "extra": 5}, **changed)) == []


@pytest.mark.parametrize("name", ["seed", "run_dir", "name", "stage", "checkpoint"])
def test_a_setting_with_the_name_of_a_launch_field_blocks(name: str) -> None:
    finding = only("setting-name", experiment(settings={"batch": 8, "steps": 10, name: 1}))
    assert (finding.severity, finding.place) == ("error", f"settings.{name}")


def test_a_varied_seed_belongs_under_seeds() -> None:
    spec = experiment(vary={"lr": [1], "seed": [1, 2]}, seeds=[])
    assert only("setting-name", spec).fix == "write `seeds: [...]` beside `settings`"


def test_a_role_that_names_no_setting_warns_with_the_near_name() -> None:
    finding = only("role-undefined", experiment(roles={"batch": "batchs", "steps": "steps"}))
    assert (finding.severity, finding.fix) == ("warning", "did you mean batch?")
    assert found("role-undefined", experiment(roles={"batch": 16, "steps": "steps"})) == []
    assert found("role-undefined", experiment(roles={"precision": "bf16"})) == []
    assert found("role-undefined", experiment(roles={"precision": "bf17"}))


def test_a_workload_without_fields_is_given_every_setting() -> None:
    spec = experiment(workload="agnews", command="python -m gpuplan.workloads.agnews {run_dir}")
    assert "varied-unused" not in errors(spec)
    assert found("setting-unused", spec) == []


def test_a_workload_with_fields_uses_those() -> None:
    assert only("varied-unused", experiment(workload="agnews", vary={"lr": [1, 2], "a": [1, 2]})).place == "vary.a"
