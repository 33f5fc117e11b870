from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from verify_world import SOUND, experiment

from gpuplan.command import values_of
from gpuplan.expand import expand
from gpuplan.verify import inputs_of, wanted
from gpuplan.verify.options import output_options
from gpuplan.verify.wanted import head_of, words_of

if TYPE_CHECKING:
    from gpuplan.model import Experiment


def asked(spec: Experiment) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return wanted(spec, expand(spec))


def test_the_world_is_asked_for_every_path_and_program_once() -> None:
    spec = experiment(
        command="python train.py --model {model} --lr {lr}",
        vary={"model": ["models/a", "models/b"], "lr": [1, 2]},
        inputs=[{"path": "data/x", "create": "bash get.sh {lr}"}, {"path": "{model}/config.json"}],
        environment={"python": ".venv/bin/python"},
        controls=[{"name": "base", "command": "eval-it {model}", "settings": {"model": "hub/c", "lr": 1}}],
    )
    paths, programs = asked(spec)
    assert paths == (
        "data/x",
        "models/a/config.json",
        "models/b/config.json",
        "hub/c/config.json",
        "models/a",
        "models/b",
    )
    assert programs == (".venv/bin/python", "python train.py", "eval-it", "bash get.sh")


@pytest.mark.parametrize(
    ("command", "head"),
    [
        ("python train.py --lr 1", "python train.py"),
        ("python -u -W ignore train.py", "python train.py"),
        ("python {script}", "python a b.py"),
        ("python -m trainer.main x.py", "python -m trainer.main"),
        ("./train --lr 1", "./train"),
        ("bash -c 'python train.py'", "bash"),
        ("bash run.sh", "bash run.sh"),
        ("torchrun --nproc-per-node 2 train.py", "torchrun train.py"),
        ("{nothing} train.py", None),
        ("python 'open", None),
        ("", None),
    ],
)
def test_what_has_to_exist_for_a_command_to_start(command: str, head: str | None) -> None:
    found = head_of(command, {"script": "a b.py"})
    assert found == (head and head.replace("a b.py", "'a b.py'"))


def test_inputs_are_filled_for_each_run_and_know_their_runs() -> None:
    spec = experiment(
        command="python train.py {model} {lr}",
        vary={"model": ["1b", "3b"], "lr": [1, 2]},
        seeds=[],
        inputs=[{"path": "models/{model}", "create": "get {model}", "splits": ["train"]}, {"path": "x/{nobody}"}],
    )
    found = inputs_of(spec, expand(spec))
    assert [(one.position, one.path, one.create, one.splits) for one in found] == [
        (0, "models/1b", "get 1b", ("train",)),
        (0, "models/3b", "get 3b", ("train",)),
    ]
    assert [run.name for run in found[1].runs] == ["3b-lr1", "3b-lr2"]


@pytest.mark.parametrize(
    ("words", "places"),
    [
        ("--output_dir a", ["a"]),
        ("--output-dir=a", ["a"]),
        ("-o a", ["a"]),
        ("+training.save_dir=a", ["a"]),
        ("--save", []),
        ("--save --output", []),
        ("--save_steps 5", []),
        ("--log_file none", []),
        ("--output_file -", []),
        ("bash -c 'x > a.log 2>&1; y >> b.log 2> c'", ["a.log", "b.log", "c"]),
        ("bash -c 'x 2>/dev/null'", []),
        ("bash -c", []),
    ],
)
def test_options_that_say_where_a_command_writes(words: str, places: list[str]) -> None:
    assert [option.value for option in output_options(words_of(words))] == places


def test_a_head_is_the_same_for_runs_that_start_the_same() -> None:
    runs = expand(experiment(command=SOUND["command"]))
    assert {head_of(run.command, values_of(run)) for run in runs} == {"python train.py"}
