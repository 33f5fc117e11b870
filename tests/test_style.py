"""The house itself: import rings, size habits, what start-up imports, what workloads may touch."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "gpuplan"
RINGS: dict[str, int] = (
    dict.fromkeys(("units", "errors", "model", "track", "data"), 0)
    | dict.fromkeys(("command", "expand", "verify", "footprint", "estimate", "place", "learn"), 1)
    | dict.fromkeys(("spec", "trace", "offers", "store", "launch", "observe", "report"), 2)
    | dict.fromkeys(("world", "flow"), 3)
    | dict.fromkeys(("cli", "web", "mcp"), 4)
)
PURE_RING = 1
IMPURE = frozenset({
    "os", "time", "random", "subprocess", "socket", "pathlib", "shutil", "tempfile", "datetime", "secrets", "urllib",
    "http", "asyncio", "threading", "multiprocessing", "signal", "sqlite3", "torch", "numpy", "io", "glob", "platform",
    "getpass",
})  # fmt: skip
HEAVY = ("pydantic", "ruamel", "rich", "sqlite3", "torch", "numpy", "highspy", "json.tool", "asyncio", "email", "http")
LONGEST_FILE, LONGEST_FUNCTION, P90_FUNCTION, MEDIAN_FUNCTION = 400, 80, 35, 8
LONG_FILES = frozenset({"model.py"})


class Function(NamedTuple):
    """One function's place and its lines without the docstring."""

    where: str
    lines: int


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def owner(path: Path) -> str:
    """The first name below the package: `estimate` of `estimate/memory.py`."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def functions(path: Path) -> list[Function]:
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            first = node.body[0]
            has_docstring = ast.get_docstring(node) is not None
            documentation = (first.end_lineno or first.lineno) - first.lineno + 1 if has_docstring else 0
            found.append(Function(f"{path.name}:{node.name}", node.end_lineno - node.lineno + 1 - documentation))
    return found


def test_every_module_has_a_ring() -> None:
    known = set(RINGS) | {"__init__", "__main__", "workloads"}
    assert {owner(path) for path in sources()} <= known


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_inwards(path: Path) -> None:
    own = owner(path)
    if own in {"__init__", "__main__", "workloads"}:
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "gpuplan" or len(parts) < 2 or parts[1] in {own, "__version__", "workloads"}:
            continue
        same_ring_allowed = RINGS[own] in {0, PURE_RING, 3}
        assert RINGS[parts[1]] < RINGS[own] or (same_ring_allowed and RINGS[parts[1]] == RINGS[own]), name


@pytest.mark.parametrize("path", [path for path in sources() if RINGS.get(owner(path)) == PURE_RING], ids=str)
def test_the_middle_is_pure(path: Path) -> None:
    assert not IMPURE & {name.split(".")[0] for name in imports(path)}


def test_the_planner_never_imports_torch() -> None:
    for path in sources():
        if owner(path) not in {"workloads", "trace"}:
            assert "torch" not in {name.split(".")[0] for name in imports(path)}, path


def test_workloads_import_only_the_run_protocol() -> None:
    for path in (PACKAGE / "workloads").rglob("*.py"):
        for name in imports(path):
            if name.startswith("gpuplan"):
                assert name.startswith(("gpuplan.track", "gpuplan.workloads")), f"{path}: {name}"


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_sizes(path: Path) -> None:
    if path.name not in LONG_FILES:
        assert len(path.read_text("utf-8").splitlines()) <= LONGEST_FILE
    for function in functions(path):
        assert function.lines <= LONGEST_FUNCTION, function


def test_functions_are_short() -> None:
    lines = sorted(function.lines for path in sources() for function in functions(path))
    assert statistics.median(lines) <= MEDIAN_FUNCTION
    assert lines[int(0.9 * len(lines))] <= P90_FUNCTION


def test_modules_say_what_they_do() -> None:
    for path in sources():
        text = path.read_text("utf-8")
        assert not text.strip() or ast.get_docstring(ast.parse(text)), path


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from gpuplan.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "Usage" in done.stdout
    assert not [name for name in HEAVY if name in loaded]
