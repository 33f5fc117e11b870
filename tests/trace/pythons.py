"""Other Pythons to trace with, where they are: the test environment of gpuplan has no library of models in it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

__all__ = ["python_with"]


@cache
def python_with(package: str) -> str:
    """A Python that has `package`: this one, TRACE_PYTHON, or that of a folder venv-trace. Skips the test otherwise."""
    usual = str(Path(tempfile.gettempdir()) / "venv-trace/bin/python")
    for python in (sys.executable, os.environ.get("TRACE_PYTHON", usual)):
        asked = [python, "-c", f"import importlib.util as u; raise SystemExit(u.find_spec({package!r}) is None)"]
        if Path(python).exists() and subprocess.run(asked, check=False).returncode == 0:
            return python
    pytest.skip(f"no Python here has {package}")
