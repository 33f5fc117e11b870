"""Logs of the Hugging Face Trainer: the dicts that it prints, its progress bar, and `trainer_state.json`.

Its bar and its summary have the evaluations on their clocks: what these took is taken off. A bar that was drawn is
better than the summary, which has the start and the checkpoints in it too.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from gpuplan.observe.logs.bars import BarReader
from gpuplan.observe.logs.formats import Facts, Found, Gatherer, Refusal, columns_of, read_text, run_name
from gpuplan.observe.logs.shapes import Shape, parts
from gpuplan.observe.logs.stream import opened, text_pieces
from gpuplan.observe.records import Doubts, named_numbers, number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gpuplan.model import LoggedRun
    from gpuplan.observe.logs.formats import Source
    from gpuplan.observe.logs.stream import Chunk

__all__ = ["NO_SUMMARY", "TrainerOutput", "TrainerState"]

DICT = re.compile(rb"\{'[\w/.@-]{1,80}': [^{}\r\n]{1,4000}\}")
PAIR = re.compile(rb"'([\w/.@-]{1,80})': '?([^',}\s]{1,60})'?")
STEP_DICT = re.compile(rb"\{'loss': [^{}\r\n]{1,4000}'epoch': [^{}\r\n]{1,60}\}")
KNOWN = re.compile(rb"\{'(?:loss|eval_loss|eval_runtime|train_runtime)': [^{}\r\n]{0,4000}'epoch': ")
STATE = re.compile(rb'"log_history"\s*:')
EVALUATED = re.compile(rb"'eval_(?:\w{1,60}_)?runtime': '?([\d.eE+-]{1,30})'?")
EVALUATION = re.compile(r"eval_(?:\w+_)?runtime")
ENTRY = re.compile(rb"\{[^{}\[\]]{2,100000}\}")
STATED = re.compile(
    rb'"(train_batch_size|max_steps|num_train_epochs|logging_steps|eval_steps|save_steps)": *([\d.]{1,20})'
)
OTHER = rb"'[\w/.@-]{1,80}': [^{}\r\n]{1,4000}\}"
SUMMARY = {"train_runtime": "duration_s", "train_samples_per_second": "samples_per_s"}
MOST_ENTRY_BYTES = 100_000
MOST_S = 1e9
MOST_EPOCHS = 1e6
NO_STEPS = (
    "no progress bar and no summary in it, so no step numbers and no time: its rows stand at fractions of an epoch; "
    "trainer_state.json beside it has the steps"
)
NO_SUMMARY = (
    "the state of a checkpoint has no times; what the Trainer printed has, and so has the state that "
    "trainer.save_state() writes after training"
)


class TrainerOutput:
    """What the Trainer prints: a dict for each logging step, one for each evaluation, one at the end."""

    name = "hf_trainer"

    def fits(self, source: Source) -> bool:
        """Whether a dict of it is there."""
        return bool(KNOWN.search(source.head))

    def read(self, source: Source) -> Iterator[Found]:
        """The runs in it; raises Unreadable."""
        return read_text(source, Facts(self.name, source.path), _Printed)


class TrainerState:
    """A `trainer_state.json`."""

    name = "hf_trainer"

    def fits(self, source: Source) -> bool:
        """Whether it is JSON with the history of a Trainer."""
        return source.head.lstrip().startswith(b"{") and bool(STATE.search(source.head)) and b"step" in source.head

    def read(self, source: Source) -> Iterator[Found]:
        """The run whose history it holds; raises Unreadable."""
        doubts, facts = Doubts(), Facts(self.name, source.path)
        facts.name = run_name(source.path.absolute().parent)
        gatherer = Gatherer(facts, doubts, axis="step")
        evaluations = Evaluations()
        for entry in _entries(source, facts, doubts):
            step = number(entry.get("step"))
            numbers = dict(named_numbers(entry, ("step",)))
            if "train_runtime" in entry:
                take_summary(numbers, facts, doubts, evaluations)
            elif step is not None:
                evaluations.take(numbers)
                gatherer.row(step, {name.lower(): figure for name, figure in numbers.items()})
        if "duration_s" not in facts.figures:
            facts.notes.append(NO_SUMMARY)
        runs = list(gatherer.runs())
        yield from runs
        if not runs:
            yield Refusal(str(source.path), "its log_history has no entry with a step")


class Evaluations:
    """What the evaluations of a run took together."""

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0

    def take(self, numbers: Mapping[str, float]) -> None:
        """Take the figures of one dict of the Trainer."""
        for name, figure in numbers.items():
            if EVALUATION.fullmatch(name) and 0 <= figure < MOST_S:
                self.count += 1
                self.seconds += figure


def take_summary(numbers: Mapping[str, float], facts: Facts, doubts: Doubts, evaluations: Evaluations) -> None:
    """What the Trainer says at the end of training; rates that are not above zero are said and left out.

    Its rates are those of the whole run. Without the evaluations before it they are higher.
    """
    for name, field in SUMMARY.items():
        figure = numbers.get(name)
        if figure is not None and 0 < figure < MOST_S:
            facts.figures[field] = figure
        elif figure is not None:
            doubts[f"{facts.path.name}: {name} is not above zero"] += 1
    rate, duration_s = numbers.get("train_steps_per_second"), facts.figures.get("duration_s")
    if rate is None or not 1e-6 < rate < MOST_S:
        return
    trained = 1 - evaluations.seconds / duration_s if duration_s else 1.0
    if not 0 < trained <= 1:
        doubts[f"{facts.path.name}: its evaluations take longer than the whole run"] += 1
        return
    facts.figures["step_s"] = trained / rate
    if "samples_per_s" in facts.figures:
        facts.figures["samples_per_s"] /= trained
    without = f" without its {evaluations.count} evaluations" if evaluations.count else ""
    facts.notes.append(f"rates are means over the whole run{without}, start and checkpoints within")


def _steps(summary: Mapping[str, float]) -> int:
    """Steps of a whole run; of whole epochs a multiple of their number, which undoes the rounding of the print."""
    duration_s, rate = summary.get("train_runtime", 0.0), summary.get("train_steps_per_second", 0.0)
    if not (0 < duration_s < MOST_S and 0 < rate < MOST_S):
        return 0
    epochs = summary.get("epoch", 0.0)
    of_an_epoch = int(epochs) if 1 <= epochs <= MOST_EPOCHS and epochs == int(epochs) else 1
    return of_an_epoch * round(duration_s * rate / of_an_epoch)


class _Printed:
    def __init__(self, facts: Facts, doubts: Doubts) -> None:
        self._facts = facts
        self._doubts = doubts
        self._gatherer = Gatherer(facts, doubts, axis="epoch", ties=True)
        self._bars = BarReader(Facts(facts.format, facts.path), doubts)
        self._shape: Shape | None = None
        self._others = 0
        self._evaluations = Evaluations()
        self._steps = 0

    def take(self, chunk: Chunk) -> None:
        """Take some lines."""
        data = chunk.data
        self._take_bars(chunk)
        if not chunk.whole and b"{'" in data and not data.rstrip().endswith(b"}"):
            self._doubts[f"{self._facts.path.name}: the last line is cut off"] = 1
        if self._shape is None or self._others > 1000:
            self._learn_shape(data)
        if self._shape is None:
            for found in DICT.finditer(data):
                self._take_dict(found.group())
            return
        for part in parts(data, self._shape):
            if part.rows:
                columns = columns_of(self._shape.names, part.rows)
                self._gatherer.stretch(columns["epoch"], columns)
            elif part.other is not None:
                self._others += 1
                self._take_dict(part.other)

    def runs(self) -> Iterator[LoggedRun]:
        """One run for each program; the steps of a bar where there is just one."""
        by_bar = list(self._bars.runs())
        if len(by_bar) == 1:
            clocked = by_bar[0].measurement
            fields = ("steps", "step_s", "step_p10_s", "step_p90_s")
            self._facts.figures |= {name: value for name in fields if (value := getattr(clocked, name))}
            self._facts.notes += by_bar[0].notes
        elif self._steps:
            self._facts.figures["steps"] = self._steps
            self._facts.notes.append("steps are the run time times the rate of the summary")
        else:
            self._facts.notes.append(NO_STEPS)
        yield from self._gatherer.runs()

    def _take_bars(self, chunk: Chunk) -> None:
        """The bars between evaluations, with a clock that stands still while one runs."""
        start = 0
        for found in EVALUATED.finditer(chunk.data):
            self._bars.take(chunk._replace(data=chunk.data[start : found.start()]))
            self._bars.pause(number(found.group(1).decode()) or 0.0)
            start = found.end()
        self._bars.take(chunk._replace(data=chunk.data[start:]))

    def _learn_shape(self, data: bytes) -> None:
        found = STEP_DICT.search(data)
        if found is None:
            return
        names = [key.decode() for key, _ in PAIR.findall(found.group())]
        cells = rb", ".join(rb"'" + re.escape(name.encode()) + rb"': '?([^',}\s]{1,60})'?" for name in names)
        self._shape = Shape.of(
            [name.lower() for name in names], begin=b"{", opening=rb"'loss': ", cells=cells + rb"\}", other=OTHER
        )
        self._others = 0

    def _take_dict(self, text: bytes) -> None:
        pairs = ((key.decode().lower(), number(cell.decode("utf-8", "replace"))) for key, cell in PAIR.findall(text))
        numbers = {key: figure for key, figure in pairs if figure is not None}
        epoch = numbers.get("epoch")
        if epoch is None:
            return  # another program's dict
        if "train_runtime" in numbers:
            take_summary(numbers, self._facts, self._doubts, self._evaluations)
            self._steps = _steps(numbers)
        else:
            self._evaluations.take(numbers)
            self._gatherer.row(epoch, numbers)


def _entries(source: Source, facts: Facts, doubts: Doubts) -> Iterator[dict[str, Any]]:
    """The flat objects of the file, read as a stream; the settings around them go into `facts`."""
    rest = b""
    with opened(source.path) as file:
        for piece in text_pieces(file, source.path.name, doubts):
            data = rest + piece
            facts.settings.update(
                {key.decode(): float(text) for key, text in STATED.findall(data) if number(text.decode())}
            )
            end = 0
            for found in ENTRY.finditer(data):
                end = found.end()
                entry = _json(found.group())
                if entry is None:
                    doubts[f"{source.path.name}: an entry is no JSON object"] += 1
                else:
                    yield entry
            rest = data[max(end, len(data) - MOST_ENTRY_BYTES) :]
    if not rest.rstrip().endswith(b"}"):
        doubts[f"{source.path.name}: its end is cut off"] += 1


def _json(text: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
