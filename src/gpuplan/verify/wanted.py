"""What `verify` has to be told of the world: the paths and programs that the runs name. It never looks at them."""

from __future__ import annotations

import re
import shlex
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.command import fields, fill, script_of, values_of, words
from gpuplan.verify.options import output_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuplan.model import Experiment, Run, Scalar

__all__ = [
    "MODEL_ROOTS",
    "FilledInput",
    "Wanted",
    "at_launch",
    "filled",
    "head_of",
    "inputs_of",
    "is_shell_script",
    "path_settings",
    "setting_paths",
    "wanted",
    "words_of",
]

MODEL_ROOTS = ("models/", "weights/", "pretrained/", "checkpoints/")
PATH_ROOTS = (*MODEL_ROOTS, "/", "./", "../", "~/", "data/", "datasets/", "configs/")
"""How a setting begins that is a path; `meta-llama/Llama-3.2-1B` is the name of a model on a hub."""

WRITTEN = re.compile(r"out|save|log|result|cache|tmp|temp|dump|export|run_dir")
"""In the name of a setting whose path the run makes itself."""

SCRIPTS = (".py", ".sh", ".bash", ".pyz")


class FilledInput(NamedTuple):
    """One input of the spec with its braces filled: one path, and the runs that read it."""

    position: int
    path: str
    create: str | None
    splits: tuple[str, ...]
    runs: tuple[Run, ...]


class Wanted(NamedTuple):
    """What a World has to know: `paths` are keys of `World.files`, `programs` keys of `World.programs`.

    A program is what has to exist for a command to start, as a command line: `python train.py`, `python -m trainer`,
    `bash run.sh`, `./train`, and the interpreter of `environment.python` alone.
    """

    paths: tuple[str, ...]
    programs: tuple[str, ...]


def wanted(experiment: Experiment, runs: Sequence[Run]) -> Wanted:
    """All paths and programs that the checks will ask for, each once, in the order of the spec."""
    inputs = inputs_of(experiment, runs)
    python = experiment.environment.python
    heads = [head_of(run.command, values_of(run)) for run in runs]
    heads += [head_of(source.create, {}) for source in inputs if source.create]
    programs = [python, *heads] if python else heads
    paths = [*(source.path for source in inputs), *setting_paths(runs)]
    return Wanted(tuple(dict.fromkeys(paths)), tuple(dict.fromkeys(program for program in programs if program)))


def inputs_of(experiment: Experiment, runs: Sequence[Run]) -> tuple[FilledInput, ...]:
    """Every distinct input of the runs; one whose braces name something unknown is left out."""
    found: dict[tuple[int, str, str | None], list[Run]] = {}
    for run in runs if experiment.inputs else ():
        values = values_of(run)
        for index, source in enumerate(experiment.inputs):
            path = filled(source.path, values)
            if path is not None:
                create = filled(source.create, values) if source.create else None
                found.setdefault((index, path, create), []).append(run)
    return tuple(
        FilledInput(index, path, create, tuple(experiment.inputs[index].splits), tuple(of_input))
        for (index, path, create), of_input in sorted(found.items(), key=lambda item: item[0][0])
    )


def setting_paths(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The settings that a command reads as paths, with the runs that name them."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        for name in path_settings(run.command):
            value = run.settings.get(name)
            if isinstance(value, str) and value.startswith(PATH_ROOTS):
                found.setdefault(value, []).append(run)
    return found


def at_launch(run: Run) -> dict[str, Scalar]:
    """All that the command of `run` may name; what is only known at its launch is empty."""
    return {"run_dir": "", "checkpoint": "", **values_of(run)}


def filled(template: str, values: Mapping[str, Scalar]) -> str | None:
    """The template with its fields replaced; None if one of them has no value."""
    return fill(template, values) if all(name in values for name in fields(template)) else None


@lru_cache(maxsize=1024)
def words_of(template: str) -> tuple[str, ...]:
    """The words of a template; none if a quote stays open, which is a finding of its own."""
    try:
        return tuple(words(template))
    except ValueError:
        return ()


def is_shell_script(line: Sequence[str]) -> bool:
    """Whether the command line hands a script to a shell: `bash -c '...'`."""
    return script_of(line) is not None


def head_of(template: str, values: Mapping[str, Scalar]) -> str | None:
    """What has to exist for the command to start, as in `python train.py`; None if it cannot be told."""
    line = [filled(word, values) if "{" in word else word for word in words_of(template)]
    if not line or line[0] is None:
        return None
    for position, word in enumerate(line[1:], start=1):
        if word == "-c":
            break
        if word == "-m":
            return shlex.join(part for part in (line[0], *line[position : position + 2]) if part)
        if word is not None and word.endswith(SCRIPTS):
            return shlex.join((line[0], word))
    return shlex.join((line[0],))


@lru_cache(maxsize=1024)
def path_settings(template: str) -> tuple[str, ...]:
    """The fields of a command that it may read as a path: not those of an output option or with such a name."""
    line = words_of(template)
    written = {name for option in output_options(line) for name in fields(option.value)}
    return tuple(name for name in fields(template) if name not in written and not WRITTEN.search(name))
