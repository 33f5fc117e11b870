from __future__ import annotations

import pytest
from verify_world import SOUND, TRAIN, errors, experiment, findings, found, only, world

from gpuplan.model import CommandFact, FileFact
from gpuplan.verify.parsers import parser_of

COMMAND = SOUND["command"]


@pytest.mark.parametrize(
    ("tail", "word"),
    [("| tee log", "|"), ("> log", ">"), ("2> err", "2>"), ("&& echo done", "&&"), ("; ls", ";"), ("&", "&")],
)
def test_what_needs_a_shell_blocks_and_the_shell_is_offered(tail: str, word: str) -> None:
    finding = only("shell-operator", experiment(command=f"{COMMAND} {tail}"))
    assert finding.severity == "error"
    assert finding.message == f"`{word}` needs a shell, and no shell reads the command"
    assert finding.fix.startswith(f"bash -c '{COMMAND} {tail}'")


def test_a_semicolon_at_the_end_of_a_word_needs_a_shell_too() -> None:
    assert only("shell-operator", experiment(command=f"cd src; {COMMAND}")).severity == "error"


@pytest.mark.parametrize(
    "tail",
    [
        "--separator '|'",
        '--separator ";"',
        "--pattern 'a && b'",
        "--url http://h/?a=1&b=2",
        r"--pad \<pad\>",
        "--n a|b",
    ],
)
def test_quoted_text_and_text_inside_a_word_need_no_shell(tail: str) -> None:
    assert found("shell-operator", experiment(command=f"{COMMAND} {tail}")) == []


def test_the_script_of_a_shell_may_have_what_it_likes() -> None:
    spec = experiment(command=f"bash -c 'cd $HOME; {COMMAND} > ~/log 2>&1 && echo {{{{done}}}}'")
    assert not errors(spec) & {"shell-operator"}
    assert found("shell-expansion", spec) == []


@pytest.mark.parametrize(
    "tail", ["--data ~/data", "--data $HOME/data", '--data "$HOME/data"', "--tag `git log`", "$(pwd)"]
)
def test_what_no_shell_expands_warns(tail: str) -> None:
    assert only("shell-expansion", experiment(command=f"{COMMAND} {tail}")).severity == "warning"


@pytest.mark.parametrize("tail", ["--pattern 'a$b'", "--approx a~b", "--price 5$", r"--name \$HOME", "--x '~'"])
def test_a_tilde_or_dollar_that_is_text_does_not_warn(tail: str) -> None:
    assert found("shell-expansion", experiment(command=f"{COMMAND} {tail}")) == []


def test_a_tilde_in_a_setting_that_is_read_as_a_path_warns() -> None:
    spec = experiment(command=f"{COMMAND} --data {{data}}", settings={"data": "~/agnews", "batch": 1, "steps": 1})
    assert "`~/agnews`" in only("shell-expansion", spec).message


def test_a_command_with_an_open_quote_blocks() -> None:
    assert only("command-quotes", experiment(command=f"{COMMAND} --name it's")).severity == "error"
    assert found("command-quotes", experiment(command=f'{COMMAND} --name "it\'s"')) == []


def test_a_program_that_cannot_be_started_blocks() -> None:
    gone = CommandFact(program=TRAIN, problem="train.py: no such file in /work")
    finding = only("program", experiment(), given=world(programs=[gone]))
    assert (finding.severity, finding.because) == ("error", "train.py: no such file in /work")
    assert "`python train.py` cannot be started" in finding.message
    assert found("program", experiment()) == []


def test_each_program_is_looked_at_once_for_all_its_runs() -> None:
    spec = experiment(command="python {script} --out {run_dir}", vary={"script": ["a.py", "b.py"]}, seeds=[])
    gone = CommandFact(program="python b.py", problem="b.py: no such file")
    finding = only("program", spec, given=world(programs=[gone]))
    assert finding.message == "b.py: `python b.py` cannot be started"


def test_a_missing_interpreter_is_told_once_and_how_it_is_made() -> None:
    spec = experiment(environment={"python": ".venv/bin/python"})
    gone = [
        CommandFact(program=".venv/bin/python", problem="no such file"),
        CommandFact(program=TRAIN, problem=".venv/bin/python is missing"),
    ]
    finding = only("program", spec, given=world(programs=gone))
    assert finding.place == "environment.python"
    assert finding.fix.startswith("python3 -m venv .venv")


def test_braces_without_a_value_block_and_the_near_name_is_offered() -> None:
    finding = only("setting-undefined", experiment(command=f"{COMMAND} {{stepz}}"))
    assert finding.severity == "error"
    assert finding.fix.startswith("did you mean {steps}?")


def test_a_shell_variable_in_braces_is_explained() -> None:
    assert "no shell expands ${HOME}" in only("setting-undefined", experiment(command=f"{COMMAND} ${{HOME}}/x")).fix


def test_a_value_that_only_some_runs_lack_names_those_runs() -> None:
    spec = experiment(vary=None, points=[{"lr": 1, "extra": 2}, {"lr": 2}], command=f"{COMMAND} {{extra}}", seeds=[1])
    assert only("setting-undefined", spec).message == "lr2-s1: {extra} has no value"


def test_a_seed_in_the_command_needs_seeds() -> None:
    assert "{seed} has no value" in only("setting-undefined", experiment(seeds=None)).message


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"inputs": [{"path": "data/{oops}"}]}, "inputs.0.path"),
        ({"inputs": [{"path": "data/agnews.csv", "create": "get {oops}"}]}, "inputs.0.create"),
        ({"names": "{oops}-{lr}-{seed}"}, "names"),
        ({"names": "{name}-{lr}-{seed}"}, "names"),
        ({"checkpoint": {"resume": "--resume {oops}"}}, "checkpoint.resume"),
        ({"controls": [{"name": "base", "command": "eval {oops}"}]}, "controls.0.command"),
    ],
)
def test_every_template_is_looked_through(changed: dict[str, object], place: str) -> None:
    assert only("setting-undefined", experiment(**changed)).place == place


@pytest.mark.parametrize(
    "changed",
    [
        {"command": f"{COMMAND} {{run_dir}} {{checkpoint}} {{name}} {{ranks}} {{copies}}"},
        {"command": f"{COMMAND} '{{{{oops}}}}' '{{\"json\": 1}}' {{}}"},
        {"checkpoint": {"resume": "--resume {checkpoint} --in {run_dir}"}},
        {"stages": [{"name": "first"}], "command": f"{COMMAND} {{stage}}"},
        {"names": "{lr}-{seed}-{ranks}"},
    ],
)
def test_what_gpuplan_fills_and_what_is_text_needs_no_setting(changed: dict[str, object]) -> None:
    assert found("setting-undefined", experiment(**changed)) == []


@pytest.mark.parametrize("field", ["{batch:.0f}", "{ batch }", "{batch!r}"])
def test_almost_a_field_warns(field: str) -> None:
    finding = only("field-syntax", experiment(command=f"{COMMAND} --b '{field}'"))
    assert (finding.severity, finding.fix.split(";")[0]) == ("warning", "write {batch}")


@pytest.mark.parametrize("text", ["{other: 1}", "{{batch}}", "'{\"batch\": 1}'", "{batch}"])
def test_other_braces_do_not_warn(text: str) -> None:
    assert found("field-syntax", experiment(command=f"{COMMAND} --b {text}")) == []


# ---------------------------------------------------------------- how inputs are made

MAKE = "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--rows')\nparser.parse_args()\n"


def made(create: str, *facts: CommandFact, there: bool = False) -> list[tuple[str, str, str, str]]:
    """What is said of a command that makes an input: severity, check, message and place."""
    file = FileFact(path="data/x.csv", exists=there, size_bytes=1, rows=1)
    spec = experiment(inputs=[{"path": "data/x.csv", "create": create}])
    kinds = {"program", "option-unknown"}
    said = [one for one in findings(spec, given=world(file, programs=facts)) if one.check in kinds]
    return [(one.severity, one.check, one.message, one.place) for one in said]


def test_a_program_that_makes_an_input_has_to_start() -> None:
    gone = CommandFact(program="python make.py", problem="make.py: no such file in /w")
    said = ("program", "`python make.py` cannot be started", "inputs.0.create")
    assert made("python make.py --rows 5", gone) == [("error", *said)]
    assert made("python make.py --rows 5", gone, there=True) == [("note", *said)]
    assert made("python make.py --rows 5", CommandFact(program="python make.py", path="/w/make.py")) == []


def test_its_options_have_to_be_those_of_its_parser() -> None:
    script = CommandFact(program="python make.py", path="/w/make.py", parser=parser_of(MAKE))
    said = ("option-unknown", "make.py does not take --row-count", "inputs.0.create")
    assert made("python make.py --row-count 5", script) == [("error", *said)]
    assert made("python make.py --row-count 5", script, there=True) == [("note", *said)]
    assert made("python make.py --rows {steps}", script) == []


def test_options_that_it_passes_over_say_nothing_of_the_runs() -> None:
    lenient = parser_of(MAKE.replace("parser.parse_args", "args, _ = parser.parse_known_args"))
    script = CommandFact(program="python make.py", path="/w/make.py", parser=lenient)
    spec = experiment(inputs=[{"path": "data/x.csv", "create": "python make.py --row-count 5"}])
    finding = only("option-unknown", spec, given=world(programs=[script]))
    assert finding.severity == "warning"
    assert finding.because == "its parser takes --rows; parse_known_args ignores any other"


def test_inputs_that_one_command_makes_are_one_finding_and_due_if_one_is_missing() -> None:
    spec = experiment(inputs=[{"path": "data/{lr}.csv", "create": "python make.py --rows {lr}"}])
    gone = CommandFact(program="python make.py", problem="make.py: no such file in /w")
    there = FileFact(path="data/0.001.csv", exists=True, size_bytes=1)
    assert only("program", spec, given=world(there, programs=[gone])).severity == "error"


def test_a_script_that_an_input_makes_may_make_another() -> None:
    inputs = [{"path": "make.py", "create": "git clone x"}, {"path": "data/x.csv", "create": "python make.py"}]
    gone = CommandFact(program="python make.py", problem="make.py: no such file in /w")
    assert found("program", experiment(inputs=inputs), given=world(programs=[gone])) == []
