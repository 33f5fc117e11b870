"""Command templates: their fields, their words, the command line of one run. It never starts anything.

A command is split into words once and values are put inside words, so no value can become a second word or reach
a shell. Only the script of an explicit `sh -c` is a shell's; values are quoted there.

>>> fill("{a} {{b}} {c}", {"a": 1, "c": True})
'1 {b} true'
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuplan.model import Environment, Run, Scalar

__all__ = [
    "LAUNCH_FIELDS",
    "argv",
    "fields",
    "fill",
    "quoted_field",
    "render",
    "script_of",
    "shell_problem",
    "values_of",
    "words",
]

FIELD = re.compile(r"\{\{([A-Za-z_]\w*)\}\}|\{([A-Za-z_]\w*)\}")
SHELL_OPERATOR = re.compile(r"(\|\||&&|[|;&<>]|[0-9]?>>?|[0-9]>&[0-9]).*")
QUOTED = re.compile(r"\\.|'[^']*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)
SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh"})
SHELL_OPTION = re.compile(r"[-+][A-Za-z]+|--[a-z-]+")
SHELL_FILE_OPTIONS = frozenset({"--rcfile", "--init-file"})
PYTHONS = re.compile(r"python(3(\.\d+)?)?")

LAUNCH_FIELDS = frozenset({"run_dir", "checkpoint", "name", "seed", "ranks", "copies", "stage"})
"""Fields that gpuplan fills itself; a setting cannot have such a name."""


def fields(template: str) -> tuple[str, ...]:
    """The names in braces, in order, each once. `{{name}}` is a literal `{name}`; other braces are text."""
    return tuple(dict.fromkeys(match[2] for match in FIELD.finditer(template) if match[2]))


def render(value: Scalar) -> str:
    """A setting as a command line has it: `true`, `0.0005`, `text`."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def fill(template: str, values: Mapping[str, Scalar]) -> str:
    """The template with its fields replaced; raises KeyError for a field without a value."""
    return FIELD.sub(lambda match: "{" + match[1] + "}" if match[1] else render(values[match[2]]), template)


def words(template: str) -> list[str]:
    """The words of a template as a shell would split them; raises ValueError for an open quote."""
    return shlex.split(template)


def shell_problem(template: str) -> str | None:
    """The first word that only a shell would understand (`|`, `&&`, `>`), or None."""
    return next((word for word in words(template) if SHELL_OPERATOR.fullmatch(word)), None)


def values_of(run: Run) -> dict[str, Scalar]:
    """All that a template may name before the launch: settings, name, seed, ranks, copies, stage."""
    values: dict[str, Scalar] = {**run.settings, "name": run.name, "ranks": run.ranks, "copies": run.copies}
    if run.seed is not None:
        values["seed"] = run.seed
    if run.stage is not None:
        values["stage"] = run.stage
    return values


def argv(
    run: Run, environment: Environment, *, python: str, run_dir: str, checkpoint: str = "", resume: str | None = None
) -> tuple[str, ...]:
    """The command line of `run` in `run_dir`, under torchrun if it has several ranks.

    `python` stands for a leading `python`; `resume` is a template that is appended when there is a `checkpoint`.
    """
    values = values_of(run) | {"run_dir": run_dir, "checkpoint": checkpoint}
    template = f"{run.command} {resume}" if resume and checkpoint else run.command
    line = _filled_words(words(template), values)
    if PYTHONS.fullmatch(line[0]):
        line[0] = environment.python or python
        return tuple(_under_torchrun(line[0], line[1:], run.ranks))
    return tuple(line if run.ranks == 1 else _under_torchrun(python, ["--no-python", *line], run.ranks))


def script_of(template: Sequence[str]) -> int | None:
    """Where in the words of a command the script of a `sh -c` stands, as in `env A=1 bash -euo pipefail -c '...'`."""
    for start, shell in enumerate(template):
        if shell.rpartition("/")[2] in SHELLS:
            position, is_script = start + 1, False
            while position < len(template) and SHELL_OPTION.fullmatch(template[position]):
                option = template[position]
                is_script |= "c" in option and not option.startswith("--")
                position += 2 if option.endswith(("o", "O")) or option in SHELL_FILE_OPTIONS else 1
            if is_script and position < len(template):
                return position
    return None


def quoted_field(script: str) -> str | None:
    """A field that stands inside quotes of a shell script, where its value cannot be quoted once more."""
    return next((match[0] for quoted in QUOTED.findall(script) if (match := FIELD.search(quoted)) and match[2]), None)


def _filled_words(template: list[str], values: Mapping[str, Scalar]) -> list[str]:
    script = script_of(template)
    quoted = {name: shlex.quote(render(value)) for name, value in values.items()}
    return [fill(word, quoted if position == script else values) for position, word in enumerate(template)]


def _under_torchrun(python: str, arguments: list[str], ranks: int) -> list[str]:
    if ranks == 1:
        return [python, *arguments]
    if arguments[:1] and arguments[0].startswith("-") and arguments[0] not in {"-m", "--no-python"}:
        # torchrun would take python's own options, as in `python -u train.py`, for its own.
        arguments = ["--no-python", python, *arguments]
    return [python, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", *arguments]
