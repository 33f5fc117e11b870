"""Finds the logs below a path and reads each as what its content shows it to be.

It never follows a link in a circle, and never raises for what stands in a file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from gpuplan.observe.logs.bars import Bars
from gpuplan.observe.logs.dcgm import Dcgm
from gpuplan.observe.logs.formats import Found, LogReader, Refusal, Source
from gpuplan.observe.logs.hugging_face import TrainerOutput, TrainerState
from gpuplan.observe.logs.jobstats import Jobstats
from gpuplan.observe.logs.llmc import LlmC
from gpuplan.observe.logs.mlflow import is_mlflow_run, read_mlflow_run
from gpuplan.observe.logs.nanogpt import NanoGpt
from gpuplan.observe.logs.nvidia_smi import NvidiaSmi
from gpuplan.observe.logs.own import is_own_run, read_own_run
from gpuplan.observe.logs.sacct import Sacct
from gpuplan.observe.logs.seff import Seff
from gpuplan.observe.logs.stream import Unreadable, chunks, opened, pieces
from gpuplan.observe.logs.tables import CsvTable, JsonLines
from gpuplan.observe.logs.tensorboard import TensorBoard
from gpuplan.observe.logs.torchtune import Torchtune
from gpuplan.observe.logs.wandb import Wandb
from gpuplan.observe.records import Doubts

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD_BYTES = 1024 * 1024
SEARCHED_BYTES = 16 * 1024 * 1024
FIRST_BYTES = 4096
MOST_FILES = 100_000
BINARY: tuple[LogReader, ...] = (TensorBoard(), Wandb())
TEXT: tuple[LogReader, ...] = (
    TrainerState(),
    Sacct(),
    Jobstats(),
    Seff(),
    NvidiaSmi(),
    Dcgm(),
    Torchtune(),
    TrainerOutput(),
    NanoGpt(),
    LlmC(),
    JsonLines(),
    CsvTable(),
    Bars(),
)
"""In this order: what is surest to be told first, a mere progress bar last."""
WITH_HEADER = frozenset({"csv", "sacct", "nvidia-smi"})
CHECKPOINT = re.compile(r"checkpoint-(\d{1,12})")
STATE_NAME = "trainer_state.json"


def read_logs(path: Path) -> Iterator[Found]:
    """The runs in the file or folder at `path`, one by one, and what was refused; it never raises for content."""
    if not path.is_dir():
        yield from _read(path)
        return
    seen = 0
    for place, inner, names in os.walk(path):
        folder = Path(place)
        inner.sort()
        inner[:] = _newest_checkpoint(folder, inner)
        if is_mlflow_run(folder):
            inner.clear()
            yield from _guarded(read_mlflow_run(folder), folder)
            continue
        own = is_own_run(folder)
        if own:
            yield from _guarded(read_own_run(folder), folder)
        for name in sorted(names):
            seen += 1
            if seen > MOST_FILES:
                yield Refusal(str(path), f"it has more than {MOST_FILES} files; the rest is not read")
                return
            if not (own and name.startswith("metrics.")):
                yield from _read(folder / name)


def _newest_checkpoint(folder: Path, names: list[str]) -> list[str]:
    """Of several checkpoints of one run the newest, whose state holds the history of all before it."""
    steps = {name: int(found.group(1)) for name in names if (found := CHECKPOINT.fullmatch(name))}
    with_state = {name: step for name, step in steps.items() if (folder / name / STATE_NAME).is_file()}
    if not with_state:
        return names
    newest = max(with_state, key=lambda name: with_state[name])
    has_own = (folder / STATE_NAME).is_file()
    return [name for name in names if name not in with_state or (name == newest and not has_own)]


def _read(path: Path) -> Iterator[Found]:
    return _guarded(_read_as_it_is(path), path)


def _guarded(found: Iterator[Found], path: Path) -> Iterator[Found]:
    try:
        yield from found
    except Unreadable as error:
        yield Refusal(str(path), str(error))
    except OSError as error:
        yield Refusal(str(path), f"cannot be read: {error.strerror or error}")


def _read_as_it_is(path: Path) -> Iterator[Found]:
    with opened(path) as file:
        first = next(pieces(file, path.name, Doubts()), b"")
    if not first:
        yield Refusal(str(path), "it is empty")
        return
    for reader in BINARY:
        if reader.fits(Source(path, first[:FIRST_BYTES])):
            yield from reader.read(Source(path, first[:FIRST_BYTES]))
            return
    found = _text_reader(path)
    if isinstance(found, Refusal):
        yield found
        return
    yield from found


def _text_reader(path: Path) -> Iterator[Found] | Refusal:
    """The first reader that finds its format in the first mebibyte, or in what follows."""
    head, searched, first = b"", 0, True
    with opened(path) as file:
        for chunk in chunks(file, path.name, Doubts()):
            head += chunk.data
            searched += len(chunk.data)
            if len(head) < HEAD_BYTES and chunk.whole:
                continue
            found = _reader_of(Source(path, head), first=first)
            if found is not None:
                return found
            head, first = b"", False
            if searched > SEARCHED_BYTES:
                break
    found = _reader_of(Source(path, head), first=first)
    return found or Refusal(str(path), "its content is of no format that gpuplan knows")


def _reader_of(source: Source, *, first: bool) -> Iterator[Found] | None:
    """What reads this part of a text; formats that open with a header are told by the first part alone."""
    for reader in TEXT:
        if (first or reader.name not in WITH_HEADER) and reader.fits(source):
            return reader.read(source)
    return None
