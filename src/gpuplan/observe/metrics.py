"""What a run's own records say: how fast it was, how large, how good, and what makes these figures doubtful.

It reads `metrics.jsonl` and `metrics.rank<k>.jsonl` as gpuplan.track writes them, other JSON lines, and `metrics.csv`;
where these say no time, the logs of the run's trainer in its folder.
Warm-up never enters a rate: of each attempt the first tenth of its steps, at most ten, and its first epoch, unless
there is nothing else. It never raises for what stands in a file, and never makes a number from rubbish.
"""

from __future__ import annotations

import os
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gpuplan.model import Measurement
from gpuplan.observe.records import Doubts, header_of, json_objects, read_lines, table_rows, whole
from gpuplan.observe.summary import DIVERGED, lost, step_fields, summary
from gpuplan.observe.tables import HEAD_ROWS, Table, read_table
from gpuplan.observe.track_log import CLOCK_SLACK_S, EVENTS, PEAKS, RankLog, read_rank

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gpuplan.model import Sample
    from gpuplan.observe.values import Curve

__all__ = ["DIVERGED", "measure", "series"]

JSON_NAME = "metrics.jsonl"
CSV_NAME = "metrics.csv"
MOST_RANKS = 4096
MOST_FLAGS = 20
MOST_FILES = 100_000
MOST_LOG_BYTES = 64 * 2**20
MOST_LOG_BYTES_OF_A_LIVE_RUN = 4 * 2**20
"""Of foreign logs; a run that is watched is read several times a second, on the cores that it trains on."""
NOT_FROM_LOGS = frozenset({"world_size", "duration_s", "left", "flags"})
"""What the launch says better than a log in the run's folder."""
LONG_ENOUGH_S = 120.0
START_UP_SHARE = 0.25
LEAST_SAMPLES = 5
"""For how busy a device was: samples of a run that took so long, behind that share of it."""


class Read(NamedTuple):
    """What the files of a run's folder hold: records of its ranks, or a table, or nothing."""

    ranks: tuple[RankLog, ...] = ()
    table: Table | None = None
    name: str = ""


def measure(
    run_dir: Path,
    *,
    ranks: int = 1,
    launched_at: float | None = None,
    ended_at: float | None = None,
    peak_process_bytes: int | None = None,
    samples: Iterable[Sample] = (),
) -> Measurement:
    """The measurement of the run in `run_dir`, from its records and the samples of its processes.

    `launched_at` and `ended_at` are of the last attempt, in seconds since the epoch; without them there is no start-up
    time. `ranks` and `peak_process_bytes` (by getrusage) stand in where the records do not say.
    """
    doubts = Doubts()
    read = _read(run_dir, doubts)
    fields: dict[str, Any] = {"world_size": ranks, "peak_host_bytes": peak_process_bytes}
    if read.ranks:
        fields |= _of_ranks(read.ranks, ranks, doubts) | _times(read.ranks[0], launched_at, ended_at, doubts)
        fields["left"] = read.ranks[0].left and _is_of_this_launch(read.ranks[0], launched_at)
    else:
        fields["duration_s"] = _span(launched_at, ended_at)
    if read.table is not None:
        fields |= _of_table(read.table, read.name, doubts)
    fields |= _sampled(samples) | _sizes(run_dir, read.ranks)
    if not read.ranks and not (fields.get("step_s") or fields.get("epoch_s")):
        is_live = launched_at is not None and ended_at is None
        most_bytes = MOST_LOG_BYTES_OF_A_LIVE_RUN if is_live else MOST_LOG_BYTES
        found = _of_logs(run_dir, doubts, most_bytes=most_bytes, duration_s=fields.get("duration_s"))
        fields = found | {name: value for name, value in fields.items() if value or name not in found}
    return Measurement(**fields, flags=tuple(flag[:300] for flag in doubts.texts()[:MOST_FLAGS]))


def series(run_dir: Path) -> dict[str, Curve]:
    """The named values of the run in `run_dir` over its steps or epochs, for charts; of rank 0 if there are several.

    What a second program wrote into the same table has ` (2)` behind its name.
    """
    read = _read(run_dir, Doubts())
    if read.ranks:
        first = read.ranks[0]
        return first.values.curves("step" if first.step else "epoch")
    if read.table is None:
        return {}
    curves = read.table.values.curves(read.table.axis)
    for number, values in enumerate(read.table.others, start=2):
        curves |= {f"{name} ({number})": curve for name, curve in values.curves(read.table.axis).items()}
    return curves


def _is_of_this_launch(log: RankLog, launched_at: float | None) -> bool:
    """Whether the last attempt in the records is the one that was launched then, and not one before it."""
    return launched_at is None or (log.started_at or 0.0) >= launched_at - CLOCK_SLACK_S


def _read(run_dir: Path, doubts: Doubts) -> Read:
    path = run_dir / JSON_NAME
    for record in islice(json_objects(path, Doubts()), 1000):
        if isinstance(record.get("event"), str) and record["event"] in EVENTS:
            return Read(ranks=_ranks(run_dir, doubts))
    from gpuplan.observe.logs.columns import Cells  # noqa: PLC0415  the readers of logs read this module's runs too

    table = read_table(JSON_NAME, map(Cells(JSON_NAME, doubts).numbers, json_objects(path, doubts)), doubts)
    if table is not None:
        return Read(table=table, name=JSON_NAME)
    return Read(table=read_table(CSV_NAME, _csv_rows(run_dir / CSV_NAME, doubts), doubts), name=CSV_NAME)


def _csv_rows(path: Path, doubts: Doubts) -> Iterator[dict[str, float]]:
    """The figures of each row below the header."""
    from gpuplan.observe.logs.columns import Cells, uses_decimal_comma  # noqa: PLC0415

    header = header_of(next((line.text for line in read_lines(path, Doubts()) if line.text.strip()), ""))
    rows = table_rows(path, doubts)
    head = list(islice(rows, HEAD_ROWS))
    comma = header is not None and uses_decimal_comma((row.values() for row in head), header.delimiter)
    return map(Cells(path.name, doubts, comma=comma).numbers, chain(head, rows))


def _of_table(table: Table, name: str, doubts: Doubts) -> dict[str, Any]:
    """What the table in the file `name` states, its times and sizes only where their units can be right."""
    from gpuplan.observe.logs.epochs import checked_times  # noqa: PLC0415
    from gpuplan.observe.logs.memory import peaks  # noqa: PLC0415

    checked = table._replace(rows=checked_times(table, name, doubts).rows)
    return summary(checked, name, doubts).fields | peaks(table.values, "", name, doubts).sizes


def _of_logs(run_dir: Path, doubts: Doubts, *, most_bytes: int, duration_s: float | None) -> dict[str, Any]:
    """What the logs of the run's trainer say."""
    from gpuplan.observe.foreign import measured_elsewhere  # noqa: PLC0415

    found = measured_elsewhere(run_dir, most_bytes=most_bytes, duration_s=duration_s)
    if found is None:
        return {}
    doubts.update(found.flags)
    return found.model_dump(exclude=set(NOT_FROM_LOGS), exclude_none=True)


def _ranks(run_dir: Path, doubts: Doubts) -> tuple[RankLog, ...]:
    """The logs of the ranks of the last attempt; a file of a rank that an earlier, larger one had is left alone."""
    first = read_rank(run_dir / JSON_NAME, doubts)
    world_size = min(whole(first.facts.get("world_size")) or 1, MOST_RANKS)
    paths = [run_dir / f"metrics.rank{rank}.jsonl" for rank in range(1, world_size)]
    return first, *(read_rank(path, doubts) for path in paths if path.is_file())


def _of_ranks(ranks: tuple[RankLog, ...], stated_ranks: int, doubts: Doubts) -> dict[str, Any]:
    first = ranks[0]
    world_size = whole(first.facts.get("world_size")) or stated_ranks
    if len(ranks) < world_size:
        doubts[f"there are records of {len(ranks)} of {world_size} ranks"] += 1
    if all(log.finished for log in ranks) and len({log.step for log in ranks}) > 1:
        doubts["the ranks made different numbers of steps"] += 1
    _divergence(ranks, doubts)
    steps = [each for log in ranks for each in log.steady.items()] or [
        each for log in ranks for each in log.warming.items()
    ]
    peaks = {name: max((log.peaks[name] for log in ranks if name in log.peaks), default=None) for name in PEAKS}
    return (
        {
            "world_size": max(1, world_size),
            "dataset_rows": whole(first.facts.get("dataset_rows")),
            "batch_size": whole(first.facts.get("batch_size")),
            "parameters": whole(first.facts.get("parameters")),
            "steps": first.step,
            "epochs": first.epoch,
            "samples_per_epoch_by_rank": _samples_by_rank(ranks),
            "epoch_s": _epoch_s(ranks),
            "samples_per_s": _samples_per_s(ranks),
            "final": first.values.last() | first.results,
            "best": first.values.best(),
        }
        | step_fields(steps)
        | {name: size for name, size in peaks.items() if size is not None}
    )


def _divergence(ranks: tuple[RankLog, ...], doubts: Doubts) -> None:
    for rank, log in enumerate(ranks):
        if log.diverged_at is not None:
            doubts[f"{DIVERGED}rank {rank} said so at step {log.diverged_at}"] += 1
    lost(ranks[0].values, "step" if ranks[0].step else "epoch", doubts)


def _samples_by_rank(ranks: tuple[RankLog, ...]) -> tuple[float, ...]:
    by_rank = [[epoch.samples for epoch in log.epochs.values()] for log in ranks]
    return tuple(sum(samples) / len(samples) for samples in by_rank) if all(by_rank) else ()


def _warm_epochs(ranks: tuple[RankLog, ...]) -> list[int]:
    """Epochs that every rank has, without the first of each attempt if there are others."""
    common = [epoch for epoch in ranks[0].epochs if all(epoch in log.epochs for log in ranks)]
    return [epoch for epoch in common if ranks[0].epochs[epoch].warm] or common


def _slowest_s(ranks: tuple[RankLog, ...], epoch: int) -> float:
    return max(log.epochs[epoch].seconds for log in ranks)


def _epoch_s(ranks: tuple[RankLog, ...]) -> float | None:
    epochs = _warm_epochs(ranks)
    return sum(_slowest_s(ranks, epoch) for epoch in epochs) / len(epochs) if epochs else None


def _samples_per_s(ranks: tuple[RankLog, ...]) -> float | None:
    """Of whole epochs; of a program that says nothing of epochs, of its steps."""
    epochs = _warm_epochs(ranks)
    if epochs:
        samples = sum(log.epochs[epoch].samples for log in ranks for epoch in epochs)
        return samples / sum(_slowest_s(ranks, epoch) for epoch in epochs) or None
    rates = [log.steady_samples / log.steady_s for log in ranks if log.steady_s > 0]
    return sum(rates) or None


def _times(log: RankLog, launched_at: float | None, ended_at: float | None, doubts: Doubts) -> dict[str, float | None]:
    """Start-up, the rest outside steps, and all of the last attempt; unknown where its clock jumped."""
    end = log.last_at if ended_at is None else ended_at
    duration_s = _span(log.started_at if launched_at is None else launched_at, end)
    if log.clock_jumped or log.first_step_at is None:
        return {"duration_s": duration_s}
    startup_s = None
    if launched_at is not None and log.started_at is not None and _is_of_this_launch(log, launched_at):
        startup_s = log.first_step_at - launched_at
        if startup_s < 0:
            doubts["the first step lies before the launch"] += 1
            startup_s = None
    after_s = _span(log.first_step_at, end)
    other_s = None if after_s is None else max(0.0, after_s - log.training_s)
    return {"duration_s": duration_s, "startup_s": startup_s, "other_s": other_s}


def _span(start: float | None, end: float | None) -> float | None:
    return end - start if start is not None and end is not None and end >= start else None


def _sampled(samples: Iterable[Sample]) -> dict[str, float | None]:
    kept = list(samples)
    on_devices = [sample.device_bytes for sample in kept if sample.device_bytes is not None]
    return {
        "peak_device_bytes": max(on_devices, default=None),
        "peak_tree_bytes": max((sample.host_bytes for sample in kept), default=None),
        "device_busy": _busy(kept),
    }


def _busy(samples: Sequence[Sample]) -> float | None:
    """The mean after the start-up; of a run too short to tell the two apart nothing is said."""
    if not samples or samples[-1].at - samples[0].at < LONG_ENOUGH_S:
        return None
    trained_from = samples[0].at + START_UP_SHARE * (samples[-1].at - samples[0].at)
    busy = [one.device_busy for one in samples if one.device_busy is not None and one.at >= trained_from]
    return sum(busy) / len(busy) if len(busy) >= LEAST_SAMPLES else None


def _sizes(run_dir: Path, ranks: tuple[RankLog, ...]) -> dict[str, int | None]:
    checkpoints = [_size(run_dir, path) for log in ranks[:1] for path in log.checkpoints.items()]
    known = [size for size in checkpoints if size]
    return {"checkpoint_bytes": max(known, default=None), "disk_bytes": _folder_bytes(run_dir) or None}


def _size(run_dir: Path, name: str) -> int | None:
    """Bytes of a checkpoint inside the run's folder."""
    try:
        path = (run_dir / name).resolve()
        if not path.is_relative_to(run_dir.resolve()):
            return None
        return path.stat().st_size if path.is_file() else _folder_bytes(path)
    except (OSError, ValueError):
        return None


def _folder_bytes(folder: Path) -> int:
    return sum(islice(_file_bytes(folder), MOST_FILES))


def _file_bytes(folder: Path) -> Iterator[int]:
    """Sizes of the files below a folder; links are not followed, and what vanishes meanwhile is left out."""
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                yield Path(place, name).lstat().st_size
            except OSError:
                continue
