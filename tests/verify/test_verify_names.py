from __future__ import annotations

import pytest
from verify_world import SOUND, TRAIN, errors, experiment, found, only, world

from gpuplan.model import CommandFact

COMMAND = SOUND["command"]
ELSEWHERE = COMMAND.replace("{run_dir}", "results")


def test_a_names_template_that_tells_nothing_apart_blocks_with_what_would() -> None:
    finding = only("name-twice", experiment(names="{batch}-{seed}", seeds=[1]))
    assert (finding.severity, finding.message, finding.place) == ("error", "2 runs are called 32-1", "names")
    assert finding.because == "lr is 0.001 in one and 0.0005 in another"
    assert finding.fix == "add {lr} to it, as in `names: {batch}-{seed}-{lr}`"


def test_a_names_template_without_the_seed_or_the_stage_is_told_so() -> None:
    assert "{seed}" in only("name-twice", experiment(names="{lr}", vary={"lr": [1]})).fix
    staged = experiment(names="{lr}-{seed}", vary={"lr": [1]}, seeds=[1], stages=[{"name": "a"}, {"name": "b"}])
    assert "{stage}" in only("name-twice", staged).fix
    repeated = experiment(names="{lr}-{seed}", vary={"lr": [1]}, seeds=[1], stages=[{"name": "a", "repeats": 2}])
    assert only("name-twice", repeated).fix.startswith("leave `names` out")


def test_a_control_with_the_name_of_a_point_blocks() -> None:
    spec = experiment(vary={"mode": ["plain", "gated"]}, seeds=[], controls=[{"name": "plain"}])
    assert only("name-twice", spec).message == "2 runs are called plain"


def test_names_that_differ_in_case_alone_warn() -> None:
    spec = experiment(command=f"{COMMAND} {{mode}}", vary={"mode": ["a", "A"]}, seeds=[1])
    finding = only("name-case", spec)
    assert (finding.severity, finding.message) == ("warning", "a-s1 and A-s1 differ in upper and lower case alone")


def test_a_point_that_stands_twice_blocks_and_is_no_matter_of_names() -> None:
    spec = experiment(points=[{"lr": 0.001}], seeds=[1])
    finding = only("point-twice", spec)
    assert finding.message == "2 runs (lr0.001-s1, lr0.001-s1): the same point stands 2 times"
    assert found("name-twice", spec) == []


def test_repeats_of_a_stage_are_no_duplicates() -> None:
    spec = experiment(stages=[{"name": "a", "repeats": 3}])
    assert not errors(spec) & {"point-twice", "name-twice"}


def test_a_control_that_is_one_of_the_runs_blocks() -> None:
    spec = experiment(controls=[{"name": "base", "settings": {"lr": 0.0005}}])
    finding = only("control-equal", spec)
    assert (finding.severity, finding.place) == ("error", "controls.0")
    assert finding.message == "the control base is the same as lr0.0005-s1"


def test_a_control_whose_change_reaches_nobody_is_no_control() -> None:
    spec = experiment(
        settings={"batch": 32, "steps": 1000, "lr": 0.001, "pretrained": True},
        controls=[{"name": "base", "settings": {"pretrained": False}}],
    )
    assert only("control-equal", spec).message == "the control base is the same as lr0.001-s1"


@pytest.mark.parametrize(
    "control",
    [
        {"settings": {"lr": 0.01}},
        {"settings": {"lr": 0.001, "ranks": 2}},
        {"settings": {"lr": 0.001}, "command": "python train.py --eval --lr {lr} --out {run_dir}"},
        {"settings": {"lr": 0.001}, "train": False},
    ],
    ids=["another value", "another gang", "another command", "evaluation only"],
)
def test_a_control_of_its_own_is_fine(control: dict[str, object]) -> None:
    assert found("control-equal", experiment(controls=[{"name": "base", **control}])) == []


def test_two_equal_controls_are_one_too_many() -> None:
    twins = [{"name": "a", "settings": {"lr": 9}}, {"name": "b", "settings": {"lr": 9}}]
    assert only("control-equal", experiment(controls=twins)).message == "the control b is the same as a"


def test_two_runs_that_write_to_one_place_block() -> None:
    finding = only("output-shared", experiment(command=ELSEWHERE))
    assert finding.severity == "error"
    assert finding.message.endswith("`--out results` is one place for all of them: results")
    assert finding.because == "lr0.001-s1 and lr0.001-s2 would write over each other's results"
    assert finding.fix == "`--out {run_dir}`"


@pytest.mark.parametrize(
    ("written", "shared"),
    [
        ("--output_dir runs/{lr}", {"lr0.001-s1, lr0.001-s2", "lr0.0005-s1, lr0.0005-s2"}),
        ("-o ./runs/{batch}/", {"lr0.001-s1, lr0.001-s2, lr0.0005-s1, ..."}),
        ("--save-dir=x", {"lr0.001-s1, lr0.001-s2, lr0.0005-s1, ..."}),
        ("training.output_dir=x", {"lr0.001-s1, lr0.001-s2, lr0.0005-s1, ..."}),
    ],
)
def test_places_are_compared_as_they_are_filled(written: str, shared: set[str]) -> None:
    findings = found("output-shared", experiment(command=ELSEWHERE.replace("--out results", written)))
    assert {finding.message.split("(")[1].split(")")[0] for finding in findings} == shared


@pytest.mark.parametrize(
    "written",
    [
        "--out {run_dir}",
        "--out runs/{name}",
        "--out runs/{lr}/{seed}",
        "--log_file /dev/null",
        "--save_steps 500 --out_features 4 --logging_steps 10",
        "--save --verbose",
        "--checkpoint_path models/base.pt",
    ],
)
def test_places_of_their_own_and_what_is_no_place_are_fine(written: str) -> None:
    assert found("output-shared", experiment(command=ELSEWHERE.replace("--out results", written))) == []


def test_beside_the_runs_own_folder_a_shared_place_only_warns() -> None:
    assert only("output-shared", experiment(command=f"{COMMAND} --logdir logs")).severity == "warning"


def test_a_redirection_inside_a_shell_script_is_a_place() -> None:
    spec = experiment(command="bash -c 'python train.py {lr} {seed} > train.log 2>&1'")
    assert only("output-shared", spec).fix == "`> {run_dir}/NAME`"
    own = experiment(command="bash -c 'python train.py {lr} {seed} > {run_dir}/train.log 2>/dev/null'")
    assert found("output-shared", own) == []


def test_one_run_may_write_where_it_likes() -> None:
    assert found("output-shared", experiment(command=ELSEWHERE, vary=None, seeds=[1])) == []


def test_a_control_that_writes_where_a_run_writes_blocks() -> None:
    spec = experiment(
        command=ELSEWHERE.replace("results", "results/{lr}-{seed}"),
        controls=[{"name": "base", "command": "python train.py --eval --out results/0.001-1"}],
    )
    assert only("output-shared", spec).message.startswith("2 runs (lr0.001-s1, base)")


def test_a_command_that_says_nothing_of_its_folder_is_noted() -> None:
    silent = experiment(command=COMMAND.replace(" --out {run_dir}", ""))
    assert only("output-unknown", silent).severity == "note"
    reads = CommandFact(program=TRAIN, names=frozenset({"GPUPLAN_RUN_DIR"}))
    assert found("output-unknown", silent, given=world(programs=[reads])) == []
    assert found("output-unknown", experiment()) == []
