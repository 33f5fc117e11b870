"""Can the commands be started, and what do their scripts read?"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from gpuplan.model import CommandFact, Experiment
from gpuplan.world.programs import interpreter, program_fact

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def experiment() -> Experiment:
    return Experiment(name="x", command="python train.py")


def fact(program: str, experiment: Experiment, workdir: Path) -> CommandFact:
    return program_fact(program, experiment, python=sys.executable, workdir=workdir)


def test_a_script_and_the_variables_it_names(experiment: Experiment, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import os\nseed = os.environ['GPUPLAN_SEED']\n")
    found = fact("python train.py", experiment, tmp_path)
    assert found.problem is None
    assert found.names == {"GPUPLAN_SEED"}


def test_a_missing_script_program_or_module(experiment: Experiment, tmp_path: Path) -> None:
    assert "no such file" in (fact("python train.py", experiment, tmp_path).problem or "")
    assert "neither on PATH" in (fact("no-such-program-xyz", experiment, tmp_path).problem or "")
    assert "finds no module" in (fact("python -m no_such_module_xyz", experiment, tmp_path).problem or "")


def test_a_module_is_found_without_being_run(experiment: Experiment, tmp_path: Path) -> None:
    (tmp_path / "trainer.py").write_text("raise SystemExit('it was run')\n")
    found = fact("python -m trainer", experiment, tmp_path)
    assert found.problem is None
    assert (found.path or "").endswith("trainer.py")


def test_a_program_beside_the_spec(experiment: Experiment, tmp_path: Path) -> None:
    program = tmp_path / "train"
    program.write_text("#!/bin/sh\n")
    assert fact("./train", experiment, tmp_path).problem is not None
    program.chmod(0o755)
    assert fact("./train", experiment, tmp_path).problem is None


def test_which_python_stands_for_python(tmp_path: Path) -> None:
    named = Experiment.model_validate(
        {"name": "x", "command": "python t.py", "environment": {"python": ".venv/bin/python"}}
    )
    assert interpreter(named, tmp_path) == str(tmp_path / ".venv/bin/python")
    assert interpreter(Experiment(name="x", workload="agnews"), tmp_path) == sys.executable


def test_a_script_tells_which_options_it_takes(experiment: Experiment, tmp_path: Path) -> None:
    lines = ("import argparse", "p = argparse.ArgumentParser()", "p.add_argument('--amp')", "p.parse_args()")
    (tmp_path / "train.py").write_text("\n".join(lines), "utf-8")
    found = fact("python train.py", experiment, tmp_path)
    assert found.parser is not None
    assert found.parser.options == {"--amp": 3}
