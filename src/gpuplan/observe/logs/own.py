"""Folders of gpuplan's own runs, and of programs that write gpuplan.track's records: all ranks of one run together.

It never reads gpuplan's database; what was learned there already is known by its content.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from gpuplan.model import LoggedRun
from gpuplan.observe.logs.formats import path_text
from gpuplan.observe.metrics import JSON_NAME, measure, series
from gpuplan.observe.records import Doubts, json_objects, whole
from gpuplan.observe.track_log import EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gpuplan.observe.logs.formats import Found

__all__ = ["is_own_run", "read_own_run"]

MOST_EPOCHS = 1000


def is_own_run(folder: Path) -> bool:
    """Whether a folder holds records of gpuplan.track."""
    records = islice(json_objects(folder / JSON_NAME, Doubts()), 100)
    return any(isinstance(record.get("event"), str) and record["event"] in EVENTS for record in records)


def read_own_run(folder: Path) -> Iterator[Found]:
    """The run in the folder, as gpuplan measures its own."""
    measurement = measure(folder, ranks=_ranks(folder))
    curves = {name: curve for name, curve in series(folder).items() if curve.axis == "epoch"}
    epochs = {name: tuple(point.value for point in curve.points[:MOST_EPOCHS]) for name, curve in curves.items()}
    if epochs:
        longest = max(curves.values(), key=lambda curve: len(curve.points))
        epochs["epoch"] = tuple(point.at for point in longest.points[:MOST_EPOCHS])
    yield LoggedRun(
        name=path_text(folder.resolve().name)[:100] or "run",
        format="gpuplan",
        path=path_text(folder),
        ranks=measurement.world_size,
        epochs=epochs,
        measurement=measurement,
    )


def _ranks(folder: Path) -> int:
    starts = (record for record in islice(json_objects(folder / JSON_NAME, Doubts()), 100))
    stated = (whole(record.get("world_size")) for record in starts if record.get("event") == "start")
    return next((found for found in stated if found and found <= 4096), 1)
