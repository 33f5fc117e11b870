"""What the runs are doing now: for `ps`, `watch`, `logs` and `stop`. It reads; only `stop_runs` acts, and only asks."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gpuplan.errors import UserError
from gpuplan.launch.local import LocalLauncher
from gpuplan.report.table import Column, Table
from gpuplan.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuplan.flow.state import State
    from gpuplan.model import RunRecord, Sample

__all__ = ["LiveRow", "find_record", "live_rows", "live_table", "log_tail", "read_from", "stop_runs"]

OPEN_STATES = frozenset({"starting", "running", "stopping"})
TAIL_BYTES = 16 * 1024
CHUNK_BYTES = 1024 * 1024
COLUMNS = (
    Column("run", "Run", importance=10),
    Column("state", "State", importance=10),
    Column("attempt", "Try", "count", importance=2),
    Column("devices", "Devices", importance=5),
    Column("step", "Step", importance=7),
    Column("progress", "Done", "percent", importance=8),
    Column("elapsed_s", "Time", "duration", importance=7),
    Column("left_s", "Left", "duration", importance=9),
    Column("host_bytes", "Memory", "bytes", importance=4),
    Column("because", "Why", importance=6),
)


class Progress(NamedTuple):
    """The last step a run has recorded, and its loss."""

    step: int | None = None
    loss: float | None = None


class LiveRow(NamedTuple):
    """One run as it is now; None is unknown."""

    run: str
    state: str
    attempt: int
    devices: tuple[int, ...]
    step: int | None
    steps: int | None
    elapsed_s: float | None
    left_s: float | None
    host_bytes: int | None
    because: str

    @property
    def is_open(self) -> bool:
        """Whether it runs, or is still to run."""
        return self.state == "waiting" or self.state in OPEN_STATES

    @property
    def progress(self) -> float | None:
        """0 to 1."""
        if self.state == "finished":
            return 1.0
        return min(1.0, self.step / self.steps) if self.step is not None and self.steps else None

    def as_json(self) -> dict[str, Any]:
        """Keys with units, unknown is null."""
        return {**self._asdict(), "devices": list(self.devices), "progress": self.progress}


def live_rows(state: State, experiment: str | None) -> tuple[LiveRow, ...]:
    """Every run of `experiment`, or of all, as the store has them; then those of its plan that wait.

    Raises UserError where nothing of that name was ever applied.
    """
    if experiment is not None:
        state.plan(experiment)
    with state.reading() as store:
        if store is None:
            return ()
        records = store.records(experiment)
        rows = []
        for record in records:
            samples: Sequence[Sample] = ()
            if record.state in OPEN_STATES:
                samples = store.samples(record.experiment, record.run.name, attempt=record.attempt)
            rows.append(_row(record, samples[-1] if samples else None))
    started = {record.run.name for record in records}
    return (*rows, *(row for row in _waiting_rows(state, experiment) if row.run not in started))


def live_table(rows: Iterable[LiveRow]) -> Table:
    """The rows as a table."""
    cells = tuple(
        (
            row.run,
            row.state,
            row.attempt,
            ", ".join(map(str, row.devices)),
            f"{row.step:,}/{row.steps:,}" if row.step is not None and row.steps else row.step,
            row.progress,
            row.elapsed_s,
            row.left_s,
            row.host_bytes,
            row.because,
        )
        for row in rows
    )
    return Table("ps", "Runs", COLUMNS, cells)


def find_record(state: State, run: str) -> RunRecord:
    """The newest record of a run of this name. Raises UserError with the names that there are."""
    with state.reading() as store:
        records = store.records() if store else ()
    found = [record for record in records if record.run.name == run]
    if not found:
        known = ", ".join(record.run.name for record in records[:10])
        raise UserError(f"no run {run!r} in {state.folder}", hint=f"there are: {known}" if known else "gpuplan apply")
    return max(found, key=lambda record: record.started_at or 0.0)


def stop_runs(state: State, runs: Sequence[str] | None, *, now: bool) -> tuple[str, ...]:
    """Ask these runs, or all that run, to checkpoint and end; the names of those that were asked."""
    records = [find_record(state, run) for run in runs] if runs is not None else _open_records(state)
    launcher = LocalLauncher()
    asked = []
    for record in records:
        handle = launcher.adopt(record.run.name, Path(record.folder))
        if handle and record.state in OPEN_STATES and launcher.request_stop(handle, now=now):
            asked.append(record.run.name)
    return tuple(asked)


def log_tail(path: Path, lines: int) -> int:
    """The offset at which the last `lines` lines of a log begin; a bar that was drawn over and over is one line."""
    size = path.stat().st_size if path.exists() else 0
    end = max(0, size - 1)  # a line feed at the very end ends the last line and begins none
    while end > 0:
        start = max(0, end - CHUNK_BYTES)
        content = read_from(path, start)[: end - start]
        ended = content.count(b"\n")
        if ended >= lines:
            return start + len(content.rsplit(b"\n", lines)[0]) + 1
        lines, end = lines - ended, start
    return 0


def read_from(path: Path, offset: int) -> bytes:
    """What a log holds from `offset` on, at most a megabyte; nothing where it is not there yet."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(CHUNK_BYTES)
    except FileNotFoundError:
        return b""


def _waiting_rows(state: State, experiment: str | None) -> list[LiveRow]:
    plan = state.newest_plan(experiment)
    if plan is None:
        return []
    steps = {estimate.run: estimate.steps for estimate in plan.estimates}
    left = {estimate.run: estimate.duration_s.p50 for estimate in plan.estimates}
    return [
        LiveRow(placed.run, "waiting", 0, placed.devices, None, steps[placed.run], None, left[placed.run], None, "")
        for placed in plan.placements
    ]


def _open_records(state: State) -> list[RunRecord]:
    with state.reading() as store:
        return list(store.open_records()) if store else []


def _row(record: RunRecord, sample: Sample | None) -> LiveRow:
    steps = record.estimate.steps if record.estimate else None
    is_open = record.state in OPEN_STATES
    done = record.measurement
    progress = _progress(Path(record.folder)) if is_open else Progress(done.steps or None if done else None)
    end = time.time() if is_open else record.ended_at
    elapsed_s = end - record.started_at if end and record.started_at else None
    return LiveRow(
        run=record.run.name,
        state=record.state,
        attempt=record.attempt,
        devices=record.devices,
        step=progress.step,
        steps=steps or None,
        elapsed_s=elapsed_s,
        left_s=_left_s(record, elapsed_s, progress, steps) if is_open else None,
        host_bytes=sample.host_bytes if sample else (done.peak_tree_bytes if done else None),
        because=_why(record, progress),
    )


def _why(record: RunRecord, progress: Progress) -> str:
    if record.outcome and record.state != "finished":
        return record.outcome.because
    return f"loss {progress.loss:.4g}" if progress.loss is not None else ""


def _left_s(record: RunRecord, elapsed_s: float | None, progress: Progress, steps: int | None) -> float | None:
    """By the run's own pace once it has one, else by its estimate."""
    if elapsed_s is None or record.estimate is None:
        return None
    estimated_s = record.estimate.duration_s.p50
    if not steps or not progress.step:
        return max(0.0, estimated_s - elapsed_s)
    rest = max(0.0, 1 - progress.step / steps)
    startup_s = max(0.0, estimated_s - steps * record.estimate.step_s.p50)
    return rest * max(0.0, elapsed_s - startup_s) / (progress.step / steps)


def _progress(folder: Path) -> Progress:
    """From the last whole line of the run's own records that names a step."""
    path = folder / "metrics.jsonl"
    size = path.stat().st_size if path.exists() else 0
    for line in reversed(read_from(path, max(0, size - TAIL_BYTES)).splitlines()):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int):
            loss = record.get("loss", record.get("train_loss"))
            return Progress(record["step"], float(loss) if isinstance(loss, int | float) else None)
    return Progress()


def summary_line(rows: Sequence[LiveRow]) -> str:
    """`3 of 9 finished, 2 running, 4 waiting`."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.state] = counts.get(row.state, 0) + 1
    parts = [f"{number} {name}" for name, number in counts.items() if name != "finished"]
    return ", ".join([f"{counts.get('finished', 0)} of {len(rows)} finished", *parts])


def shown_left(rows: Iterable[LiveRow]) -> str:
    """The longest time that a running run has left, in words."""
    left = [row.left_s for row in rows if row.left_s is not None]
    return format_duration(max(left)) if left else "unknown"
