from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpuplan.command import argv, fields, fill, quoted_field, render, script_of, shell_problem, values_of, words
from gpuplan.model import Environment, Run

if TYPE_CHECKING:
    from pathlib import Path

CALM = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
HOSTILE = (
    *(
        "two words",
        "",
        " ",
        "it's",
        'say "hi"',
        "'; touch pwned; '",
        '"; touch pwned; "',
        "$(touch pwned)",
        "`touch pwned`",
    ),
    *(
        "a;b",
        "a && b",
        "a|b",
        "a\nb",
        "a\\",
        "\\n",
        "*",
        "~",
        "$HOME",
        "${HOME}",
        "{name}",
        "{{name}}",
        "{",
        "}{",
        "%s",
    ),
    *("-rf", "--help", "-c", "#no", "!!", "größe", "大きい", "\u202e", "\x1b[31m", "\t", "a" * 10_000, "--", "-m"),
)
PRINT_ARGUMENTS = "import sys, json; print(json.dumps(sys.argv[1:]))"


def run_of(command: str, **values: Any) -> Run:
    return Run(**({"name": "a-run", "key": "k", "settings": {}, "point": {}, "command": command} | values))


def line(command: str, *, checkpoint: str = "", resume: str | None = None, **values: Any) -> list[str]:
    run = run_of(command, **values)
    return list(argv(run, Environment(), python="PYTHON", run_dir="/runs/a-run", checkpoint=checkpoint, resume=resume))


def arguments_of(command: list[str], folder: Path) -> list[str]:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    arguments: list[str] = json.loads(done.stdout)
    return arguments


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("python train.py", ()),
        ("{a} {b} {a}", ("a", "b")),
        ("{{a}} {b}", ("b",)),
        ("'{\"lr\": {lr}}'", ("lr",)),
        ("'{\"x\": 1}' { a } {1} {a-b} {} ${c}", ("c",)),
    ],
)
def test_fields(template: str, names: tuple[str, ...]) -> None:
    assert fields(template) == names


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (False, "false"), (5e-4, "0.0005"), (1e-5, "1e-05"), (3, "3"), ("True", "True")]
)
def test_render(value: object, text: str) -> None:
    assert render(value) == text  # type: ignore[arg-type]


def test_values_are_filled_in_once() -> None:
    assert fill("{a} {{a}} {b}", {"a": "{b}", "b": "{{a}}"}) == "{b} {a} {{a}}"


def test_a_field_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError, match="missing"):
        fill("{missing}", {})


def test_an_open_quote_is_an_error() -> None:
    with pytest.raises(ValueError, match="quotation"):
        words("python 'train.py")


def test_what_a_template_may_name() -> None:
    run = run_of("x", settings={"lr": 0.1}, seed=3, stage="one", ranks=2)
    assert values_of(run) == {"lr": 0.1, "name": "a-run", "ranks": 2, "copies": 1, "seed": 3, "stage": "one"}
    assert "seed" not in values_of(run_of("x"))


@pytest.mark.parametrize(
    ("template", "word"),
    [("a | b", "|"), ("a && b", "&&"), ("a > log", ">"), ("a 2>&1", "2>&1"), ("a >>log", ">>log"), ("a & b", "&")],
)
def test_a_word_that_only_a_shell_understands(template: str, word: str) -> None:
    assert shell_problem(template) == word


def test_a_plain_command_needs_no_shell() -> None:
    assert shell_problem("python train.py --expr a>b --url http://x?a=1&b=2") is None


# ---------------------------------------------------------------- without a shell


def test_hostile_values_arrive_unchanged_as_one_word_each(tmp_path: Path) -> None:
    settings_ = {f"v{index}": value for index, value in enumerate(HOSTILE)}
    alone = " ".join(f"{{{name}}}" for name in settings_)
    inside = " ".join(f'--x={{{name}}} "a {{{name}}} b"' for name in settings_)
    command = f"{sys.executable} -c '{PRINT_ARGUMENTS}' {alone} {inside}"
    expected = [*HOSTILE, *(word for value in HOSTILE for word in (f"--x={value}", f"a {value} b"))]
    assert arguments_of(line(command, settings=settings_), tmp_path) == expected
    assert list(tmp_path.iterdir()) == []


@CALM
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, max_size=5))
def test_no_value_becomes_a_second_word(values: list[str]) -> None:
    settings_ = {f"v{index}": value for index, value in enumerate(values)}
    command = "./train " + " ".join(f"{{{name}}}" for name in settings_)
    assert line(command, settings=settings_) == ["./train", *values]


def test_numbers_and_switches_in_a_real_child(tmp_path: Path) -> None:
    command = f"{sys.executable} -c '{PRINT_ARGUMENTS}' {{lr}} {{on}} {{n}} {{seed}} {{name}} {{run_dir}} {{{{lr}}}}"
    found = arguments_of(line(command, settings={"lr": 5e-4, "on": True, "n": 10**15}, seed=7), tmp_path)
    assert found == ["0.0005", "true", "1000000000000000", "7", "a-run", "/runs/a-run", "{lr}"]


@pytest.mark.parametrize("name", ["python", "python3", "python3.11"])
def test_a_leading_python_is_that_of_the_environment(name: str) -> None:
    assert line(f"{name} train.py") == ["PYTHON", "train.py"]
    run = run_of(f"{name} train.py")
    own = argv(run, Environment(python=".venv/bin/python"), python="PYTHON", run_dir="/r")
    assert own == (".venv/bin/python", "train.py")


@pytest.mark.parametrize("command", ["/usr/bin/python3 x", "pythonic x", "env python x", "./python x"])
def test_other_programs_stay_as_they_are(command: str) -> None:
    assert line(command) == command.split()


def test_how_a_run_resumes_is_appended_when_there_is_a_checkpoint() -> None:
    resume = "--resume {checkpoint} --lr {lr}"
    assert line("./t", resume=resume) == ["./t"]
    resumed = line("./t", resume=resume, checkpoint="/c 1/x", settings={"lr": 1})
    assert resumed == ["./t", "--resume", "/c 1/x", "--lr", "1"]
    assert line("./t {checkpoint}x") == ["./t", "x"]


# ---------------------------------------------------------------- a shell's script


@pytest.mark.parametrize(
    ("template", "position"),
    [
        (["bash", "-c", "S"], 2),
        (["/bin/sh", "-c", "S", "name", "-c"], 2),
        (["bash", "-lc", "S"], 2),
        (["bash", "-ce", "S"], 2),
        (["bash", "-c", "-e", "S"], 3),
        (["bash", "-euo", "pipefail", "-c", "S"], 4),
        (["bash", "-o", "pipefail", "-c", "S"], 4),
        (["bash", "+O", "extglob", "--norc", "-c", "S"], 5),
        (["bash", "--rcfile", "-c", "-c", "S"], 4),
        (["env", "A=1", "timeout", "5", "bash", "-c", "S"], 6),
        (["bash", "run.sh", "-c", "x"], None),
        (["bash", "-l", "run.sh", "-c", "x"], None),
        (["bash", "-c"], None),
        (["python", "-c", "S"], None),
        (["bash"], None),
        ([], None),
    ],
)
def test_where_the_script_of_a_shell_stands(template: list[str], position: int | None) -> None:
    assert script_of(template) == position


@pytest.mark.parametrize(
    "shell", ["bash -c", "sh -c", "bash -lc", "bash -euo pipefail -c", "/bin/bash --norc -c", "env A=1 bash -c"]
)
def test_hostile_values_are_quoted_for_a_shell(shell: str, tmp_path: Path) -> None:
    settings_ = {f"v{index}": value for index, value in enumerate(HOSTILE)}
    script = " ".join(f"{{{name}}} --x={{{name}}}" for name in settings_)
    command = line(f'{shell} \'printf "%s\\0" {script} "$@"\' sh {{v5}}', settings=settings_)
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"HOME": str(tmp_path)}, capture_output=True, check=True
    )
    expected = [word for value in HOSTILE for word in (value, f"--x={value}")]
    assert done.stdout.decode().split("\0")[:-1] == [*expected, HOSTILE[5]]
    assert list(tmp_path.iterdir()) == []


def test_a_script_of_python_is_not_quoted() -> None:
    assert line("/usr/bin/python3 -c 'print({n})'", settings={"n": 3})[-1] == "print(3)"


@pytest.mark.parametrize(
    ("script", "field"),
    [
        ("echo {a} --x={b}", None),
        ("echo '{a}'", "{a}"),
        ('echo {a} "x {b} y"', "{b}"),
        ('echo "{{a}}" it\\\'s {b}', None),
        ("echo 'a' {b} 'c'", None),
        ("echo 'a'\"'\"'{b}'", "{b}"),
    ],
)
def test_a_field_inside_the_quotes_of_a_script(script: str, field: str | None) -> None:
    assert quoted_field(script) == field


# ---------------------------------------------------------------- several ranks


TORCHRUN = ["PYTHON", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4"]


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("python train.py --x 1", ["train.py", "--x", "1"]),
        ("python -m trainer --x 1", ["-m", "trainer", "--x", "1"]),
        ("python -u train.py", ["--no-python", "PYTHON", "-u", "train.py"]),
        ("python -X dev -m trainer", ["--no-python", "PYTHON", "-X", "dev", "-m", "trainer"]),
        ("./train --x 1", ["--no-python", "./train", "--x", "1"]),
        ("bash -c 'echo {v}'", ["--no-python", "bash", "-c", "echo 'a b'"]),
    ],
)
def test_several_ranks_go_under_torchrun(command: str, arguments: list[str]) -> None:
    assert line(command, ranks=4, settings={"v": "a b"}) == [*TORCHRUN, *arguments]


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torchrun comes with torch")
def test_real_ranks_are_given_the_same_words(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import json, os, pathlib, sys\n"
        "words = json.dumps([sys.argv[1:], sys.flags.dev_mode])\n"
        "pathlib.Path(os.environ['RANK'] + '.json').write_text(words)\n"
    )
    run = run_of("python -X dev train.py --prompt {prompt} -- {flag}", ranks=2)
    run = run.model_copy(update={"settings": {"prompt": "it's $(touch pwned) {x}", "flag": "--nproc-per-node=9"}})
    command = argv(run, Environment(), python=sys.executable, run_dir=str(tmp_path))
    subprocess.run(command, cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, check=True)
    expected = [["--prompt", "it's $(touch pwned) {x}", "--", "--nproc-per-node=9"], True]
    assert [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)] == [expected, expected]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.json", "1.json", "train.py"]
