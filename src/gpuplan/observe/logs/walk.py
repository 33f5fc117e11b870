"""Finds the logs below a path and reads each as what its content shows it to be.

It never follows a link to a folder, and never raises for what stands in a file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from gpuplan.observe.logs.bars import Bars
from gpuplan.observe.logs.dcgm import Dcgm
from gpuplan.observe.logs.formats import Found, LogReader, Refusal, Source, path_text, shown
from gpuplan.observe.logs.hugging_face import TrainerOutput, TrainerState
from gpuplan.observe.logs.jobstats import Jobstats
from gpuplan.observe.logs.joined import joined
from gpuplan.observe.logs.kinds import UNKNOWN, binary_kind, reason_for
from gpuplan.observe.logs.llmc import LlmC
from gpuplan.observe.logs.mlflow import is_mlflow_run, read_mlflow_run
from gpuplan.observe.logs.nanogpt import NanoGpt
from gpuplan.observe.logs.nvidia_smi import NvidiaSmi
from gpuplan.observe.logs.own import is_own_run, read_own_run
from gpuplan.observe.logs.sacct import Sacct
from gpuplan.observe.logs.seff import Seff
from gpuplan.observe.logs.stream import Unreadable, chunks, opened, pieces
from gpuplan.observe.logs.tables import CsvTable, JsonArray, JsonLines
from gpuplan.observe.logs.tensorboard import TensorBoard
from gpuplan.observe.logs.torchtune import Torchtune
from gpuplan.observe.logs.wandb import Wandb
from gpuplan.observe.records import Doubts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HEAD_BYTES = 1024 * 1024
SEARCHED_BYTES = 16 * 1024 * 1024
FIRST_BYTES = 4096
MOST_FILES = 100_000
BY_FIRST_BYTES: tuple[LogReader, ...] = (TensorBoard(), Wandb(), JsonArray())
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
OF_GPUPLAN = frozenset({"attempt.json", "status.json", "lock"})
"""Files beside the log of a run that gpuplan started."""
LINKED = "a link to a folder, which is not followed; name it itself"


def read_logs(path: Path) -> Iterator[Found]:
    """The runs in the file or folder at `path`, one by one, and what was refused; it never raises for content.

    Logs in a folder that are of one run are one run.
    """
    try:
        is_folder = path.is_dir()
    except OSError as error:
        yield _shown(Refusal(str(path), f"cannot be read: {error.strerror or error}"))
        return
    yield from joined(_below(path)) if is_folder else _read(path)


def _below(path: Path) -> Iterator[Found]:
    seen = 0
    closed: list[OSError] = []
    for place, inner, names in os.walk(path, onerror=closed.append):
        folder = Path(place)
        inner.sort()
        yield from _guarded(_links_outside(folder, inner, path), folder)
        yield from _guarded(_in_folder(folder, inner, sorted(names)[: MOST_FILES - seen]), folder)
        seen += len(names)
        if seen > MOST_FILES:
            yield _shown(Refusal(str(path), f"it has more than {MOST_FILES} files; the rest is not read"))
            return
    yield from (_shown(Refusal(str(error.filename), f"cannot be read: {error.strerror}")) for error in closed)


def _links_outside(folder: Path, inner: Sequence[str], top: Path) -> Iterator[Found]:
    """A link within the folders that are read leads to what is read anyway; another may lead anywhere."""
    for name in inner:
        link = folder / name
        if link.is_symlink() and not link.resolve().is_relative_to(top.resolve()):
            yield Refusal(str(link), LINKED)


def _in_folder(folder: Path, inner: list[str], names: Sequence[str]) -> Iterator[Found]:
    """The runs of the files in a folder; of the folders in it, those that have nothing to be read are taken out."""
    inner[:] = _newest_checkpoint(folder, inner)
    if is_mlflow_run(folder):
        inner.clear()
        yield from read_mlflow_run(folder)
        return
    own = is_own_run(folder)
    if own:
        yield from read_own_run(folder)
    passed = OF_GPUPLAN if set(names) >= OF_GPUPLAN else frozenset()
    for name in names:
        if name not in passed and not (own and name.startswith(("metrics.", "log.txt"))):
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
        for one in found:
            yield _shown(one) if isinstance(one, Refusal) else one
    except Unreadable as error:
        yield _shown(Refusal(str(path), str(error)))
    except OSError as error:
        yield _shown(Refusal(str(path), f"cannot be read: {error.strerror or error}"))


def _shown(one: Refusal) -> Refusal:
    return one._replace(path=path_text(one.path), reason=shown(one.reason))


def _read_as_it_is(path: Path) -> Iterator[Found]:
    with opened(path) as file:
        # What has no size may still be without end, as the files of /proc are.
        first = next(pieces(file, path.name, Doubts()), b"") if path.stat().st_size else b""
    if not first:
        yield Refusal(str(path), "it is empty")
        return
    kind = binary_kind(first)
    if kind is not None:
        yield Refusal(str(path), kind)
        return
    for reader in BY_FIRST_BYTES:
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
    head, searched, first, reason = b"", 0, True, UNKNOWN
    with opened(path) as file:
        for chunk in chunks(file, path.name, Doubts()):
            head += chunk.data
            searched += len(chunk.data)
            if len(head) < HEAD_BYTES and chunk.whole:
                continue
            found = _reader_of(Source(path, head), first=first)
            if found is not None:
                return found
            reason = reason_for(head) if first else reason
            head, first = b"", False
            if searched > SEARCHED_BYTES:
                break
    found = _reader_of(Source(path, head), first=first)
    return found or Refusal(str(path), reason_for(head) if first else reason)


def _reader_of(source: Source, *, first: bool) -> Iterator[Found] | None:
    """What reads this part of a text; formats that open with a header are told by the first part alone."""
    for reader in TEXT:
        if (first or reader.name not in WITH_HEADER) and reader.fits(source):
            return reader.read(source)
    return None
