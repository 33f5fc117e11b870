"""The small files that runs read: their code, configurations, requirements, rewards in data. It understands no code."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuplan.command import values_of
from gpuplan.errors import SpecError
from gpuplan.model import SourceFact
from gpuplan.spec.document import dotted
from gpuplan.spec.read import MAX_BYTES, read_text
from gpuplan.units import MIB
from gpuplan.verify.rewards import is_reward
from gpuplan.verify.wanted import filled, inputs_of, words_of
from gpuplan.world.tables import TABLES, table_reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gpuplan.model import CommandFact, Experiment, Run

__all__ = ["source_facts"]

CONFIGS = (".yaml", ".yml", ".toml", ".json")
REQUIREMENTS = ("requirements.txt", "pyproject.toml", "Dockerfile")
MOST_SCRIPT_BYTES = 300_000
MOST_CODE_BYTES = 2 * MIB
MOST_SCRIPTS = 300
MOST_ENTRIES = 1000
DEEPEST = 8
MOST_CONFIGS = 50
MOST_TABLE_BYTES = 8 * MIB
"""Larger tables are not read for their rewards: a plan has to be there in a second."""
IMPORT = re.compile(r"^\s*(?:from|import)\s+([A-Za-z_]\w*)", re.MULTILINE)
NAMED = re.compile(r"""["']([\w./-]{1,100}\.ya?ml)["']""")
INSTALLED = frozenset({"site-packages", "dist-packages"})


def source_facts(
    experiment: Experiment, runs: Sequence[Run], programs: Iterable[CommandFact], workdir: Path
) -> tuple[SourceFact, ...]:
    """What is there of them; what cannot be read, and what is too large, is left out. A built-in workload has none."""
    if experiment.workload:
        return ()
    scripts = [path for path in _scripts(programs) if path.suffix == ".py"]
    code = list(_code(scripts, workdir))
    named = [name for text in code[: len(scripts)] for name in NAMED.findall(text.text)]
    inputs = sorted({source.path for source in inputs_of(experiment, runs)})
    written = (path for path in inputs if path.endswith(CONFIGS) and not path.endswith(".json"))
    return (
        *code,
        *_configs([*_named(runs), *named, *written], workdir),
        *_requirements([workdir, *(script.parent for script in scripts)], workdir),
        *(fact for path in inputs if (fact := _table(path, workdir))),
    )


# ---------------------------------------------------------------- code


def _scripts(programs: Iterable[CommandFact]) -> list[Path]:
    """The files that the commands start, but for what was installed."""
    paths = (Path(fact.path) for fact in programs if fact.path and not fact.problem)
    return [path for path in dict.fromkeys(paths) if not INSTALLED & set(path.parts)]


def _code(scripts: Sequence[Path], workdir: Path) -> Iterator[SourceFact]:
    """The scripts first, then the modules beside them that they import, with all of their packages."""
    left_bytes = MOST_CODE_BYTES
    texts = {script: _text(script) for script in scripts}
    imported = (module for script, text in texts.items() for module in _modules(script, text or "", workdir))
    for path in islice(dict.fromkeys((*scripts, *imported)), MOST_SCRIPTS):
        text = texts.get(path) or _text(path)
        if text and left_bytes > 0:
            left_bytes -= len(text)
            yield SourceFact(path=_shown(path, workdir), kind="script", text=text)


def _modules(script: Path, text: str, workdir: Path) -> Iterator[Path]:
    if (script.parent / "__init__.py").is_file():
        package = next(parent for parent in script.parents if not (parent.parent / "__init__.py").is_file())
        yield from _python_files(package)
    names = set(IMPORT.findall(text)) - sys.stdlib_module_names
    for name in sorted(names):
        for folder in dict.fromkeys((script.parent, workdir)):
            yield from (path for path in (folder / f"{name}.py",) if path.is_file())
            yield from _python_files(folder / name)


def _python_files(folder: Path, depth: int = 0) -> Iterator[Path]:
    """Those of a package and of the packages in it; of a folder with very many entries, as of data, the first."""
    try:
        entries = sorted(islice(folder.iterdir(), MOST_ENTRIES)) if folder.is_dir() else []
    except (OSError, ValueError):
        return
    yield from (entry for entry in entries if entry.suffix == ".py" and entry.is_file())
    for entry in entries:
        if depth < DEEPEST and entry.name.isidentifier() and not entry.is_symlink():
            yield from _python_files(entry, depth + 1)


def _text(path: Path) -> str | None:
    try:
        if path.stat().st_size > MOST_SCRIPT_BYTES:
            return None
        return path.read_text("utf-8", errors="replace")
    except (OSError, ValueError):
        return None


def _shown(path: Path, workdir: Path) -> str:
    return str(path.relative_to(workdir)) if path.is_relative_to(workdir) else str(path)


# ---------------------------------------------------------------- configurations


def _named(runs: Sequence[Run]) -> Iterator[str]:
    """What the words of the commands name: `--config cfg.yaml`, `config=cfg.yaml`, `{config}`."""
    for run in runs:
        values: Mapping[str, Any] = values_of(run)
        for word in words_of(run.command):
            if "{" in word or word.endswith(CONFIGS):
                value = (filled(word, values) or "").rpartition("=")[2]
                if value.endswith(CONFIGS):
                    yield value


def _configs(names: Iterable[str], workdir: Path) -> Iterator[SourceFact]:
    for name in islice(dict.fromkeys(names), MOST_CONFIGS):
        path = workdir / name
        try:
            if not path.is_file() or path.stat().st_size > MAX_BYTES:
                continue
            document = read_text(path.read_bytes(), name)
        except (OSError, ValueError, SpecError):
            continue
        if isinstance(document.value, dict):
            places = {dotted(at): document.located(at) for at in document.places if at}
            yield SourceFact(path=name, kind="config", content=document.value, places=places)


# ---------------------------------------------------------------- requirements and data


def _requirements(folders: Iterable[Path], workdir: Path) -> Iterator[SourceFact]:
    for folder in dict.fromkeys(folders):
        for name in REQUIREMENTS:
            text = _text(folder / name)
            if text:
                yield SourceFact(path=_shown(folder / name, workdir), kind="requirements", text=text)


def _table(name: str, workdir: Path) -> SourceFact | None:
    """How often the columns of rewards of a data file are empty or zero; None of a file without such columns."""
    path = workdir / name
    try:
        if not path.is_file() or path.stat().st_size > MOST_TABLE_BYTES:
            return None
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
            counts = _counts(_rows(lines, path.suffix.lower()))
    except (OSError, ValueError, RecursionError, csv.Error):
        return None
    return SourceFact(path=name, kind="table", content=counts) if counts else None


def _rows(lines: Iterator[str], suffix: str) -> Iterator[dict[str, Any]]:
    """The cells of rewards in each row; nothing of a file that is no table, or has no such column in its first row."""
    if suffix in TABLES:
        rows = table_reader(lines, suffix)
        columns = {index: name for index, name in enumerate(next(rows, [])) if is_reward(name)}
        if columns:
            yield from ({name: row[index] for index, name in columns.items() if index < len(row)} for row in rows)
    elif suffix in {".jsonl", ".ndjson"}:
        first = next(lines, "")
        if "reward" in first.lower():
            for line in (first, *lines):
                row = json.loads(line) if line.strip() else {}
                yield {name: value for name, value in row.items() if is_reward(name)} if isinstance(row, dict) else {}


def _counts(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """For each column: its rows, and those that are empty, zero, or something else."""
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        for name, value in row.items():
            counts.setdefault(name, Counter()).update(("rows", _kind(value)))
    return {name: dict(counter) for name, counter in counts.items()}


def _kind(value: Any) -> str:
    if value is None or (isinstance(value, str) and value.strip().lower() in {"", "nan", "none", "null", "na", "n/a"}):
        return "empty"
    try:
        number = float(value)
    except (TypeError, ValueError):
        return "other"
    return "empty" if number != number else "zero" if number == 0 else "other"  # noqa: PLR0124  NaN alone differs
