"""MLflow's file store: `metrics/NAME` with lines of `timestamp value step`, `params/NAME`, `meta.yaml`.

The folder is one run. What MLflow samples of the machine has steps of its own, and is never taken for training.
"""

from __future__ import annotations

import heapq
import re
from contextlib import ExitStack
from itertools import count, islice
from typing import IO, TYPE_CHECKING, NamedTuple

from gpuplan.observe.logs.formats import Facts, Found, Gatherer, Refusal
from gpuplan.observe.logs.machine import Shares
from gpuplan.observe.logs.memory import plausible_bytes
from gpuplan.observe.logs.stream import chunks, opened
from gpuplan.observe.logs.wandb import take_setting
from gpuplan.observe.records import Doubts, number

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["is_mlflow_run", "read_mlflow_run"]

MOST_METRICS = 200
MOST_PARAMS = 200
MOST_META_BYTES = 64 * 1024
SURE_LINES = 20
RUN_NAME = re.compile(rb"^run_name: *'?([^'\r\n]{1,100})'?", re.MULTILINE)
BUSY = re.compile(r"system/gpu_\d+_utilization_percentage")
MEMORY = re.compile(r"system/gpu_\d+_memory_usage_megabytes")


class Line(NamedTuple):
    """One line of a metric's file."""

    step: float
    at_ms: float
    name: str
    value: float


def is_mlflow_run(folder: Path) -> bool:
    """Whether a folder is laid out as a run of the file store."""
    return (folder / "meta.yaml").is_file() and (folder / "metrics").is_dir()


def read_mlflow_run(folder: Path) -> Iterator[Found]:
    """The run in the folder; raises Unreadable."""
    doubts = Doubts()
    facts = Facts("mlflow", folder, name=_run_name(folder) or folder.name)
    _params(folder / "params", facts)
    gatherer = Gatherer(facts, doubts, axis="step")
    root = folder / "metrics"
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    training = [path for path in paths if not path.relative_to(root).as_posix().startswith("system/")]
    if len(training) > MOST_METRICS:
        doubts[f"{folder.name}: only {MOST_METRICS} of {len(training)} metrics are read"] += 1
    _machine(root, [path for path in paths if path not in set(training)], facts, doubts)
    if any(_is_counted(path) for path in training[:MOST_METRICS]):
        facts.notes.append("metrics without a step in it: they are counted, and a program may not log at each step")
    with ExitStack() as stack:
        lines = [
            _lines(
                stack.enter_context(opened(path)), path.relative_to(root).as_posix(), doubts, counted=_is_counted(path)
            )
            for path in training[:MOST_METRICS]
        ]
        for line in heapq.merge(*lines):
            gatherer.row(line.step, {line.name.lower(): line.value, "timestamp": line.at_ms})
    runs = list(gatherer.runs())
    yield from runs
    if not runs:
        yield Refusal(str(folder), "a run of MLflow without a metric")


def _is_counted(path: Path) -> bool:
    """Whether all of a metric's first figures have the step 0, which MLflow writes where a program names none."""
    with opened(path) as file:
        steps = [line.step for line in islice(_lines(file, path.name, Doubts()), SURE_LINES)]
    return len(steps) > 1 and not any(steps)


def _lines(file: IO[bytes], name: str, doubts: Doubts, *, counted: bool = False) -> Iterator[Line]:
    numbers = count()
    for chunk in chunks(file, name, doubts):
        for text in chunk.data.splitlines():
            cells = [number(cell.decode("utf-8", "replace")) for cell in text.split()]
            if len(cells) in {2, 3} and all(cell is not None for cell in cells):
                at_ms, value, *step = (float(cell or 0.0) for cell in cells)
                yield Line(float(next(numbers)) if counted else step[0] if step else 0.0, at_ms, name, value)
            elif text.strip():
                doubts[f"{name}: a line is not a time, a value and a step"] += 1


def _machine(root: Path, paths: list[Path], facts: Facts, doubts: Doubts) -> None:
    busy, peak_bytes = Shares(), 0.0
    for path in paths:
        name = path.relative_to(root).as_posix()
        if not BUSY.fullmatch(name) and not MEMORY.fullmatch(name):
            continue
        with opened(path) as file:
            for line in _lines(file, name, doubts):
                if BUSY.fullmatch(name):
                    busy.add(line.value / 100)
                elif plausible_bytes(line.value * 1e6):
                    peak_bytes = max(peak_bytes, line.value * 1e6)
    facts.figures |= {"device_busy": busy.mean(), "peak_device_bytes": int(peak_bytes) or None}


def _params(folder: Path, facts: Facts) -> None:
    for path in sorted(folder.glob("*"))[:MOST_PARAMS] if folder.is_dir() else []:
        if path.is_file():
            with opened(path) as file:
                text = file.read(500).decode("utf-8", "replace").strip()
            figure = number(text)
            whole = figure is not None and text.isascii() and text.lstrip("-").isdigit() and len(text) < 19
            take_setting(facts, path.name, int(text) if whole else text if figure is None else figure)


def _run_name(folder: Path) -> str:
    with opened(folder / "meta.yaml") as file:
        found = RUN_NAME.search(file.read(MOST_META_BYTES))
    return found.group(1).decode("utf-8", "replace").strip() if found else ""
