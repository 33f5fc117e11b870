"""Every way in which a traced function can fail ends soon, at a line of the user's, and leaves no process behind."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from gpuplan.errors import EXIT_MISSING, EXIT_USAGE, UserError
from gpuplan.trace import Limits, trace
from gpuplan.units import GIB

PROGRAMS = Path(__file__).parent / "programs"
LINES = (PROGRAMS / "failing.py").read_text("utf-8").splitlines()
BRIEF = Limits(timeout_s=20, memory_bytes=3 * GIB)


def failure(target: str, *, workdir: Path = PROGRAMS, python: str | None = None, limits: Limits = BRIEF) -> UserError:
    with pytest.raises(UserError) as caught:
        trace(target, {}, workdir=workdir, python=python, limits=limits)
    return caught.value


def line_of(name: str) -> int:
    return next(number for number, line in enumerate(LINES, 1) if line.endswith(f"# HERE {name}"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("escapes", "did not end within 20s"),
        ("recurses", "calls itself without end while it made the step"),
        ("allocates", "asked for more memory than the trace may have (3 GiB) in the training step"),
        ("prints", "ValueError: after 1 GB in the training step"),
        ("aborts", "the interpreter crashed (SIGABRT)"),
        ("crashes", "the interpreter crashed (SIGSEGV)"),
        ("exits", "ended the interpreter while it made the step (sys.exit: 3)"),
        ("raises", "must have same reduction dim, but got [2, 5] X [3, 4]"),
        ("depends_on_values", "the size of a tensor depends on values here"),
        ("lacks_a_module", "No module named 'no_such_module_anywhere'"),
        ("lacks_a_setting", "KeyError: 'no_such_setting'"),
    ],
)
def test_a_failure_names_its_line(name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    error = failure(f"failing:{name}")
    assert error.message.startswith(f"failing.py:{line_of(name)}: ")
    assert message in error.message
    assert error.hint
    assert error.exit_code == (EXIT_MISSING if name == "lacks_a_module" else EXIT_USAGE)
    assert not left_behind(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("leaves", "ended its process"),
        ("gives_nothing", "it returned nothing instead of a function that does one training step"),
        ("stays_on_the_host", "never puts anything on the GPU: it would train on the CPU"),
        ("not_there", "has no 'not_there'"),
        ("NOT_A_FUNCTION", "'NOT_A_FUNCTION' in"),
    ],
)
def test_a_failure_without_a_line_names_the_function(name: str, message: str) -> None:
    error = failure(f"failing:{name}")
    assert message in error.message
    assert f"failing:{name}" in error.message or "failing.py" in error.message
    assert error.hint


def test_a_program_without_a_guard() -> None:
    error = failure("exiting:make_step")
    assert error.message == "exiting.py:5: it ended the interpreter on import (sys.exit: not today)"
    assert "__main__" in str(error.hint)


def test_a_file_that_is_no_python(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def make_step(settings:\n    return None\n")
    assert failure("broken:make_step", workdir=tmp_path).message.startswith("broken.py:1: it is not valid Python")


def test_a_module_that_is_not_there() -> None:
    error = failure("decodr:make_step")
    assert "there is no module 'decodr' in" in error.message
    assert "did you mean decoder:make_step?" in str(error.hint)


def test_a_limit_on_memory_holds_for_what_grows_slowly(tmp_path: Path) -> None:
    (tmp_path / "growing.py").write_text(
        "def make_step(settings):\n    kept = []\n    while True:\n        kept.append(bytearray(b'x' * 1_000_000))\n"
    )
    error = failure("growing:make_step", workdir=tmp_path, limits=Limits(timeout_s=60, memory_bytes=GIB))
    assert error.message.startswith("growing.py:4: ")
    assert "more" in error.message
    assert "1 GiB" in error.message


# ---------------------------------------------------------------- the Python that runs it


def test_a_python_that_is_not_there() -> None:
    error = failure("decoder:make_step", python="/no/such/python")
    assert error.message == "cannot start /no/such/python: No such file or directory"


def test_a_python_without_torch(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    error = failure("decoder:make_step", python=str(tmp_path / "venv/bin/python"))
    assert "has no PyTorch" in error.message
    assert "-m pip install torch" in str(error.hint)
    assert error.exit_code == EXIT_MISSING


@pytest.mark.parametrize(
    "version", ["import sys; sys.version_info = (3, 8, 0)", "import torch; torch.__version__ = '2.3.1'"]
)
def test_software_that_is_too_old(tmp_path: Path, version: str) -> None:
    """A sitecustomize that lies about the version stands in for an old installation."""
    (tmp_path / "sitecustomize.py").write_text(version + "\n")
    with pytest.raises(UserError, match="a trace needs") as caught:
        trace("decoder:make_step", {}, workdir=PROGRAMS, variables={"PYTHONPATH": str(tmp_path)})
    assert caught.value.exit_code == EXIT_MISSING


def test_something_that_is_no_python() -> None:
    true = shutil.which("true")
    assert true is not None
    assert "ended with exit code 0 and without a result" in failure("decoder:make_step", python=true).message


def left_behind(folder: Path) -> list[str]:
    """Processes of traces that keep their files in `folder`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = path.read_text("utf-8", "replace")
            found += [command] if str(folder) in command else []
    return found
