"""Options that a script does not take, as in public benchmarks that asked for 16 bits with an option nobody read."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from verify_world import SOUND, TRAIN, experiment, found, only, world

from gpuplan.model import CommandFact, World
from gpuplan.verify.parsers import parser_of

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = SOUND["command"]
SCRIPT = """\
import argparse
parser = argparse.ArgumentParser()
for_training = parser.add_argument_group("training")
for_training.add_argument("--amp", action="store_true")
parser.add_argument("--lr", "-l", type=float)
parser.add_argument("--batch", type=int)
parser.add_argument("--steps", type=int)
parser.add_argument("--seed", type=int)
parser.add_argument("--out")
"""
STRICT = SCRIPT + "args = parser.parse_args()\n"
LENIENT = SCRIPT + "args, _ = parser.parse_known_args()\n"
ELSEWHERE = SCRIPT + "import models\nmodels.add_options(parser)\nargs, _ = parser.parse_known_args()\n"


def given(script: str) -> World:
    return world(programs=[CommandFact(program=TRAIN, path="/w/train.py", parser=parser_of(script))])


# ---------------------------------------------------------------- what is said of a command


def test_an_option_that_the_parser_refuses_blocks() -> None:
    finding = only("option-unknown", experiment(command=f"{COMMAND} --amp-run"), given=given(STRICT))
    assert finding.severity == "error"
    assert finding.message == "all 4 runs (lr0.001-s1, lr0.001-s2, lr0.0005-s1, ...): train.py does not take --amp-run"
    assert finding.because == "its parser takes --amp, --lr, --batch, --steps, --seed, --out"
    assert finding.fix == "did you mean --amp (train.py:4)?"
    assert finding.place == "command"


def test_an_option_that_is_passed_over_warns_that_the_runs_are_as_without_it() -> None:
    finding = only("option-unknown", experiment(command=f"{COMMAND} --amp-run"), given=given(LENIENT))
    assert finding.severity == "warning"
    assert "parse_known_args ignores any other" in finding.because
    assert finding.fix == "did you mean --amp (train.py:4)?"


def test_it_stands_at_its_place_in_the_spec() -> None:
    placed = given(LENIENT).model_copy(update={"places": {"command": "spec.yaml:2:1"}})
    assert only("option-unknown", experiment(command=f"{COMMAND} --amp-run"), given=placed).place == "spec.yaml:2:1"


def test_what_varies_is_found_too() -> None:
    spec = experiment(command=f"{COMMAND} --precision {{precision}}", vary={"precision": ["fp32", "fp16"], "lr": [0.1]})
    assert "--precision" in only("option-unknown", spec, given=given(LENIENT)).message


@pytest.mark.parametrize("script", [STRICT, LENIENT, ELSEWHERE])
@pytest.mark.parametrize("tail", ["", "--amp", "--am", "--help", "-l 3", "--lr=0.2", "-- --amp-run", "--{name} 3"])
def test_options_that_are_taken_or_cannot_be_told_are_fine(script: str, tail: str) -> None:
    assert found("option-unknown", experiment(command=f"{COMMAND} {tail}"), given=given(script)) == []


def test_options_of_what_starts_the_script_are_not_the_scripts() -> None:
    spec = experiment(command=COMMAND.replace("python", "torchrun --nproc-per-node 2"))
    fact = CommandFact(program="torchrun train.py", path="/w/train.py", parser=parser_of(STRICT))
    assert found("option-unknown", spec, given=world(programs=[fact])) == []


@pytest.mark.parametrize(("option", "count"), [("--amp-run", 1), ("--lr_", 1), ("--segment-length", 0), ("--adam", 0)])
def test_where_other_files_may_add_options_only_a_longer_form_is_told(option: str, count: int) -> None:
    findings = found("option-unknown", experiment(command=f"{COMMAND} {option}"), given=given(ELSEWHERE))
    assert [finding.severity for finding in findings] == ["warning"] * count
    assert all("other files may add to them" in finding.because for finding in findings)


def test_a_parser_that_other_files_add_to_and_that_refuses_is_left_to_refuse() -> None:
    script = ELSEWHERE.replace("args, _ = parser.parse_known_args()", "args = parser.parse_args()")
    assert found("option-unknown", experiment(command=f"{COMMAND} --amp-run"), given=given(script)) == []


# ---------------------------------------------------------------- what is read of a script


def test_what_is_read_is_what_argparse_does(tmp_path: Path) -> None:
    for name, script, code in (("strict.py", STRICT, 2), ("lenient.py", LENIENT, 0)):
        (tmp_path / name).write_text(script, "utf-8")
        done = subprocess.run(
            [sys.executable, str(tmp_path / name), "--amp-run"], capture_output=True, text=True, check=False
        )
        assert done.returncode == code
        parser = parser_of(script)
        assert parser is not None
        assert parser.is_complete
        assert parser.passes_over == (code == 0)
        assert parser.options["--amp"] == 4


@pytest.mark.parametrize(
    "line",
    [
        "parser = add_options(parser)",
        "models.add_options(parser)",
        "models.add_options(for_training)",
        "parser.add_argument(*names)",
        "parser.add_argument(f'--{name}')",
        "parser.add_argument('--rest', nargs=argparse.REMAINDER)",
        "argparse.ArgumentParser(parents=[base])",
        "print(sys.argv)",
        "class Own(argparse.ArgumentParser): pass",
        "args, rest = parser.parse_known_args(); main(rest)",
        "both = parser.parse_known_args()",
    ],
)
def test_options_that_may_come_from_elsewhere_leave_it_incomplete(line: str) -> None:
    parser = parser_of(f"{LENIENT}{line}\n")
    assert parser is not None
    assert not parser.is_complete


@pytest.mark.parametrize(
    "line",
    [
        "args = parser.parse_known_args()[0]",
        "args, rest = parser.parse_known_args()",
        "def add(parser): parser.add_argument('--more')\nadd(parser)",
        "import sys; sys.exit(0)",
    ],
)
def test_what_adds_nothing_from_elsewhere_leaves_it_complete(line: str) -> None:
    parser = parser_of(f"{LENIENT}{line}\n")
    assert parser is not None
    assert parser.is_complete


def test_a_parser_before_the_parser_passes_nothing_over() -> None:
    parser = parser_of(LENIENT.replace("_ =", "rest =") + "args = parser.parse_args(rest)\n")
    assert parser is not None
    assert not parser.passes_over


def test_the_other_half_of_a_switch_is_an_option() -> None:
    line = "parser.add_argument('--compile', action=argparse.BooleanOptionalAction)"
    parser = parser_of(f"{STRICT}{line}\n")
    assert parser is not None
    assert "--no-compile" in parser.options


@pytest.mark.parametrize("text", ["", "print(1)", "import argparse", "def (", "\0", "import click\nArgumentParser()"])
def test_no_parser(text: str) -> None:
    assert parser_of(text) is None
