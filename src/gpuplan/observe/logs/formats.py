"""What the readers of logs share: a source, a verdict on it, and how rows become runs.

It never decides what a file is; that is each reader's own business.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pydantic import Field

from gpuplan.model import LoggedRun, Measurement
from gpuplan.observe.logs.curve import CurveStart, Spot
from gpuplan.observe.logs.epochs import LOSSES, checked_times, finished_epochs, series, stated_epoch
from gpuplan.observe.logs.memory import peaks
from gpuplan.observe.logs.stream import chunks, opened
from gpuplan.observe.records import MAX_NAME, Doubts
from gpuplan.observe.summary import summary
from gpuplan.observe.tables import PLACES, ROLES, Axis, Table
from gpuplan.observe.timing import CLOCKS, LONGEST_UNITLESS_STEP, STEP_SECONDS
from gpuplan.observe.writers import History, Row, Stretch, Writers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from gpuplan.model import Scalar
    from gpuplan.observe.logs.stream import Chunk

__all__ = [
    "OF_ONE_GPU",
    "RANK_TOKENS",
    "Facts",
    "Found",
    "Gatherer",
    "LogReader",
    "Refusal",
    "Source",
    "TextReader",
    "Traced",
    "columns_of",
    "figures_of",
    "path_text",
    "read_text",
    "run_name",
    "shown",
]

MOST_FLAGS = 20
MOST_NOTES = 20
MOST_SETTINGS = 200
MOST_AT_ONCE = 4
"""Programs that may have written one file at the same time; of more, it is the order that is lost."""
FEWEST_ROWS = 3
UNSURE_FROM = 1.0
"""A step time without a unit: below it nobody would count milliseconds, from here on either may be meant."""
RANK_TOKENS = "tokens_per_second_per_gpu"
OF_ONE_GPU = "tokens per second are of one GPU, and the log does not say how many there were"
GENERIC = re.compile(
    r"(metrics|trainer_state|log|logs|train|training|output|outputs|out|results|stdout|stderr|history|run|runs|files"
    r"|events|csv_logs|tb|tensorboard|lightning_logs|wandb|version_\d+|checkpoint(-\d+)?s?|attempt_\d+|\d+"
    r"|log_\d{9,}|slurm|gpu_metrics)(\.\w{1,8})*",
    re.IGNORECASE,
)
"""Names of files and folders that name no run: a folder above does."""
NUMBERED = re.compile(r"version_\d+|attempt_\d+", re.IGNORECASE)


class Refusal(NamedTuple):
    """Why nothing was read from a file, or from a part of it."""

    path: str
    reason: str
    line: int | None = None


Found = LoggedRun | Refusal


class Traced(LoggedRun):
    """A run with the beginning of its curve, which is not shown and not kept."""

    curve: tuple[Spot, ...] = Field(default=(), exclude=True, repr=False)


class Source(NamedTuple):
    """A file to read, and the first of what is in it, unpacked."""

    path: Path
    head: bytes


@dataclass(slots=True)
class Facts:
    """What a log says of its run beside figures over steps; more of it as the log is read."""

    format: str
    path: Path
    name: str = ""
    settings: dict[str, Scalar] = field(default_factory=dict)
    gpu: str | None = None
    ranks: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    taken: str | None = None
    command: str = ""
    notes: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    """Fields of the measurement that the log states as such; they win over those from its rows."""

    def run(self, doubts: Doubts, figures: Mapping[str, Any] | None = None, **more: Any) -> Traced:
        """The run that these are facts of, with these figures measured."""
        known = {name: value for name, value in (dict(figures or {}) | self.figures).items() if value is not None}
        known.setdefault("world_size", self.ranks or 1)
        flags = tuple(shown(flag)[:300] for flag in doubts.texts()[:MOST_FLAGS])
        return Traced(**({
            "name": path_text(self.name or _name_of(self.path))[:MAX_NAME] or "log",
            "format": self.format,
            "path": path_text(self.path),
            "settings": dict(list(self.settings.items())[:MOST_SETTINGS]),
            "command": self.command,
            "gpu": self.gpu,
            "ranks": self.ranks,
            "versions": self.versions,
            "taken": self.taken,
            "notes": tuple(dict.fromkeys(shown(note)[:300] for note in self.notes[:MOST_NOTES])),
            "measurement": Measurement(**known, flags=flags),
        } | more))  # fmt: skip


class LogReader(Protocol):
    """One format of logs."""

    name: str

    def fits(self, source: Source) -> bool:
        """Whether the content is of this format."""

    def read(self, source: Source) -> Iterator[Found]:
        """The runs in it; raises Unreadable."""


class Gatherer:
    """Takes the rows of a log as they come and makes a run of what each program wrote.

    `ties`: several rows may stand at one place, as with epochs of two decimals.
    """

    def __init__(self, facts: Facts, doubts: Doubts, *, axis: Axis, ties: bool = False, by_order: bool = False) -> None:
        self.facts = facts
        self.doubts = doubts
        self._axis = axis
        self._by_order = by_order
        self._writers = Writers(facts.path.name, doubts, places=PLACES, no_values=ROLES, ties=ties)
        self._curve = CurveStart()

    def row(self, at: float, numbers: dict[str, float], line: int = 0) -> None:
        """Take one row; one that stands nowhere on a run is passed over."""
        if not self._writers.out_of_order:
            self._writers.take(Row(at, numbers), line)
        if self._curve.wants_more:
            self._trace(at, numbers)

    def stretch(self, places: Sequence[float], columns: Mapping[str, Sequence[float]], line: int = 0) -> None:
        """Take rows that follow each other."""
        if not self._writers.out_of_order:
            self._writers.take_stretch(Stretch(places, dict(columns)), line)
        for index, at in enumerate(places):
            if not self._curve.wants_more:
                break
            self._trace(at, {name: figures[index] for name, figures in columns.items()})

    def more(self, numbers: dict[str, float], line: int = 0) -> None:
        """Take figures that belong to the newest row."""
        self._writers.take_more(numbers, line)

    def _trace(self, at: float, numbers: Mapping[str, float]) -> None:
        """Note the loss of a row, for telling whether another log is of the same run."""
        loss = next((numbers[name] for name in LOSSES if name in numbers), math.nan)
        if math.isfinite(loss) and math.isfinite(at):
            by_step = self._axis == "step" and not self._by_order
            epoch = at if self._axis == "epoch" else stated_epoch(numbers)
            self._curve.take(Spot(at if by_step else None, epoch, loss))

    def runs(self) -> Iterator[Traced]:
        """What each program wrote, as a run of its own; none where too many would have written at the same time."""
        histories = self._writers.histories()
        crowded = any(sum(map(history.meets, histories)) >= MOST_AT_ONCE for history in histories)
        if crowded or self._writers.out_of_order:
            return
        if len(histories) > 1:
            histories = [history for history in histories if len(history.rows) >= FEWEST_ROWS]
        for number, history in enumerate(histories, start=1):
            doubts = Doubts(self.doubts)
            for doubt in self._company(history, histories):
                doubts[doubt] += 1
            yield self._run(history, doubts, number if len(histories) > 1 else None)

    def _company(self, history: History, histories: Sequence[History]) -> Iterator[str]:
        name = self.facts.path.name
        for other in histories:
            if history.meets(other):
                first, last = other.rows[0].at, other.rows[-1].at
                yield f"{name}: another program wrote it at the same time, {self._axis}s {first:g} to {last:g}"
        if any(other is not history and not history.meets(other) for other in histories):
            yield f"{name}: {self._axis}s stand in it twice, as one program began anew after another had ended"

    def _run(self, history: History, doubts: Doubts, number: int | None) -> Traced:
        facts = self.facts
        told = Table(self._axis, history.rows, history.values, by_order=self._by_order)
        if len(history.rows) < FEWEST_ROWS:
            doubts[f"{facts.path.name}: only {len(history.rows)} rows"] += 1
        timed = checked_times(told, facts.path.name, doubts)
        table = told._replace(rows=timed.rows)
        found = summary(table, facts.path.name, doubts)
        _doubt_unit(table, facts.path.name, doubts)
        memory = peaks(history.values, facts.format, facts.path.name, doubts)
        name = (facts.name or _name_of(facts.path)) + (f" ({number})" if number else "")
        own = replace(facts, name=name, notes=[*facts.notes, *timed.notes, *found.notes, *memory.notes])
        fields = found.fields | memory.sizes | {"epochs": finished_epochs(table)}
        _tokens(fields, found.tokens_per_s_of_rank, own)
        by_epoch = series(table)
        if fields["epoch_s"] is None and (seconds := by_epoch.get("epoch_s")):
            fields["epoch_s"] = fmean(seconds[1:] or seconds)
        lines = f"{history.first_line}-{history.last_line}" if number and history.last_line else ""
        return own.run(doubts, fields, lines=lines, epochs=by_epoch, curve=() if number else tuple(self._curve.spots))


def _doubt_unit(table: Table, name: str, doubts: Doubts) -> None:
    """Say where a step time without a unit and without a clock beside it could as well be in milliseconds."""
    clocked = any(key in row.numbers for row in table.rows[:FEWEST_ROWS] for key in CLOCKS)
    for key in () if clocked else (key for key, unit in STEP_SECONDS.items() if unit is None):
        figures = [row.numbers[key] for row in table.rows if key in row.numbers]
        if figures and UNSURE_FROM <= median(figures) <= LONGEST_UNITLESS_STEP:
            doubts[f"{name}: {key} has no unit: {median(figures):g} is taken as seconds and may be milliseconds"] += 1


def columns_of(names: Sequence[str], rows: Sequence[tuple[bytes, ...]]) -> dict[str, list[float]]:
    """The cells of rows as figures by column; what is no number is NaN."""
    return {name: figures_of(cells) for name, cells in zip(names, zip(*rows, strict=True), strict=True)} if rows else {}


def figures_of(cells: Sequence[bytes]) -> list[float]:
    """Cells as figures; what is no number is NaN."""
    try:
        return list(map(float, cells))
    except ValueError:
        return [_figure(cell) for cell in cells]


def _figure(cell: bytes) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


class TextReader(Protocol):
    """Takes the lines of a text log, some at a time, and says in the end which runs were in it."""

    def take(self, chunk: Chunk) -> None:
        """Take some lines."""

    def runs(self) -> Iterator[LoggedRun]:
        """The runs, once the log has ended."""


def read_text(source: Source, facts: Facts, make: Callable[[Facts, Doubts], TextReader]) -> Iterator[Found]:
    """The runs of a text log by a reader of its format; raises Unreadable."""
    doubts = Doubts()
    reader = make(facts, doubts)
    with opened(source.path) as file:
        for chunk in chunks(file, source.path.name, doubts):
            _trouble(chunk.data, source.path.name, doubts)
            reader.take(chunk)
    found = False
    for run in reader.runs():
        found = True
        yield run
    if not found:
        yield Refusal(
            str(source.path), f"it looks like a log of {facts.format}, but no run can be read: {_why(doubts)}"
        )


def _why(doubts: Doubts) -> str:
    return "; ".join(doubts.texts()[:3])[:300] or "no steps, or steps in no order"


def _trouble(data: bytes, name: str, doubts: Doubts) -> None:
    """What a log says of a failure counts against its figures."""
    if b"OutOfMemoryError" in data or b"CUDA out of memory" in data:
        doubts[f"{name}: it says that memory ran out"] = 1
    if b"Traceback (most recent call last)" in data:
        doubts[f"{name}: it says that the program raised an error"] = 1


def _tokens(fields: dict[str, Any], of_rank: float | None, facts: Facts) -> None:
    """A rate of one GPU is that of the run only where the number of GPUs is known."""
    if of_rank is None or fields.get("tokens_per_s"):
        return
    if facts.ranks is not None:
        fields["tokens_per_s"] = of_rank * facts.ranks
        return
    fields["final"] = {**fields.get("final", {}), RANK_TOKENS: of_rank}
    facts.notes.append(OF_ONE_GPU)


def run_name(folder: Path) -> str:
    """The name of the run whose files lie in this folder: the first folder upwards that is not called like any other.

    What was passed over on the way stands behind it, where it tells runs apart: `mnist version_2`.
    """
    passed = ""
    for each in (folder, *folder.parents):
        if each.name and not GENERIC.fullmatch(each.name):
            return f"{each.name} {passed}".strip()
        passed = passed or (each.name if NUMBERED.fullmatch(each.name) else "")
    return folder.name


def path_text(path: Path | str) -> str:
    """A path, or the name of a file, as a text that can be kept: what cannot be shown stands as escapes."""
    return shown(str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))


def shown(text: str) -> str:
    """A text with what cannot be shown as escapes, so that no name of a file commands a terminal."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _name_of(path: Path) -> str:
    """A file with a name of its own, else the folder it lies in."""
    return (run_name(path.absolute().parent) if GENERIC.fullmatch(path.name) else "") or path.name
