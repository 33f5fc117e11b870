"""Can the commands be started, and which environment variables do their scripts name? It imports no user code."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gpuplan.command import PYTHONS
from gpuplan.model import CommandFact
from gpuplan.verify.parsers import parser_of

if TYPE_CHECKING:
    from gpuplan.model import Experiment, ParserFact

__all__ = ["interpreter", "program_fact", "workdir_of"]

VARIABLE = re.compile(r"\bGPUPLAN_[A-Z_]+\b")
MOST_SOURCE_BYTES = 2_000_000
MOST_PARSED_BYTES = 300_000
FIND_MODULE = (
    "import importlib.util, sys\n"
    "spec = importlib.util.find_spec(sys.argv[1])\n"
    "print(spec.origin or list(spec.submodule_search_locations)[0] if spec else '')"
)
FIND_TIMEOUT_S = 20


def workdir_of(experiment: Experiment, base: Path) -> Path:
    """The folder the commands run in, from which the relative paths of the spec are meant."""
    return (base / Path(experiment.environment.workdir).expanduser()).absolute()


def interpreter(experiment: Experiment, base: Path) -> str:
    """The Python that stands for `python` in commands.

    The spec's; for a built-in workload gpuplan's own; else what the user's shell would start.
    """
    named = experiment.environment.python
    if named and "/" in named:
        return str(base / Path(named).expanduser())
    if named:
        return shutil.which(named) or named
    if experiment.workload:
        return sys.executable
    return shutil.which("python") or shutil.which("python3") or sys.executable


def program_fact(program: str, experiment: Experiment, *, python: str, workdir: Path) -> CommandFact:
    """What stands behind the start of a command line, such as `python train.py` or `./train`.

    `python` is the `interpreter` of the experiment.
    """
    words = shlex.split(program)
    is_python = PYTHONS.fullmatch(words[0]) is not None or words[0] == experiment.environment.python
    path = _executable(python if is_python else words[0], workdir)
    if path is None:
        return CommandFact(program=program, problem=f"{words[0]} is neither on PATH nor in {workdir}")
    if len(words) == 1:
        return CommandFact(program=program, path=path, names=_names(Path(path)))
    if words[1] == "-m":
        return _module_fact(program, words[2], path, workdir) if len(words) > 2 else CommandFact(program=program)
    script = workdir / Path(words[1]).expanduser()
    if not script.is_file():
        return CommandFact(program=program, path=path, problem=f"{words[1]}: no such file in {workdir}")
    return CommandFact(program=program, path=str(script), names=_names(script), parser=_parser(script))


def _executable(word: str, workdir: Path) -> str | None:
    if "/" not in word:
        return shutil.which(word)
    path = workdir / word
    return str(path) if path.is_file() and os.access(path, os.X_OK) else None


def _module_fact(program: str, module: str, python: str, workdir: Path) -> CommandFact:
    try:
        done = subprocess.run(
            [python, "-c", FIND_MODULE, module],
            capture_output=True, text=True, cwd=workdir, timeout=FIND_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return CommandFact(program=program, path=python, problem=f"{python} does not answer: {error}")
    lines = done.stdout.strip().splitlines()
    origin = lines[-1] if lines else ""
    if done.returncode != 0 or not origin:
        return CommandFact(program=program, path=python, problem=f"{python} finds no module {module}")
    return CommandFact(program=program, path=origin, names=_names(Path(origin)), parser=_parser(Path(origin)))


def _names(source: Path) -> frozenset[str]:
    """The GPUPLAN_ variables that a script, or any file of its package, names."""
    files = sorted(source.parent.rglob("*.py")) if source.name == "__init__.py" else [source]
    found: set[str] = set()
    left_bytes = MOST_SOURCE_BYTES
    for file in files:
        try:
            with file.open("rb") as stream:
                text = stream.read(left_bytes).decode("utf-8", errors="replace")
        except OSError:
            continue
        left_bytes -= len(text)
        found.update(VARIABLE.findall(text))
    return frozenset(found)


def _parser(script: Path) -> ParserFact | None:
    """What a Python file says of its options; None of a package, whose files share the work."""
    try:
        if script.suffix != ".py" or script.stat().st_size > MOST_PARSED_BYTES:
            return None
        return parser_of(script.read_text("utf-8", errors="replace"))
    except OSError:
        return None
