"""Logs of torchtune: the progress bar with epoch, step and loss, and the lines of its DiskLogger and StdoutLogger.

The memory block that it prints after the model is built is not the peak of training, and is never taken for it.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

from gpuplan.observe.logs.bars import bar_seconds
from gpuplan.observe.logs.formats import Facts, Gatherer, columns_of, figures_of, read_text
from gpuplan.observe.logs.shapes import Shape, parts
from gpuplan.observe.records import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuplan.model import LoggedRun
    from gpuplan.observe.logs.formats import Found, Source
    from gpuplan.observe.logs.stream import Chunk
    from gpuplan.observe.records import Doubts

__all__ = ["Torchtune"]

BAR = re.compile(
    rb"[\r\n\]](\d{1,9})\|(\d{1,12})\|Loss: ([^:\s|]{1,40}):[^|\r\n]{1,8}\|[^|\r\n]*\| *\d{1,12}/\d{1,12} "
    rb"\[([\d:]{4,12})<"
)
TOTAL = re.compile(rb"\|Loss: [^|\r\n]{1,60}\|[^|\r\n]*\| *\d{1,12}/(\d{1,12}) \[")
LINE = re.compile(rb"Step (\d{1,12}) \|((?: [\w/.@-]+:[^\s:]+)+)[^\r\n]*")
PAIR = re.compile(rb" ([\w/.@-]+):([^\s:]+)")
TENSOR = re.compile(rb"tensor\(([^,)\s]*)[^)\r\n]*\)")
MEMORY_BLOCK = re.compile(rb"peak memory (?:active|alloc|reserved)")
RECIPE = re.compile(rb"Running (\w{1,80}) with resolved config")


class Torchtune:
    """What `tune run` prints, or what its DiskLogger writes to `log_<time>.txt`."""

    name = "torchtune"

    def fits(self, source: Source) -> bool:
        """Whether a bar or a line of it is there."""
        return bool(BAR.search(b"\n" + source.head) or LINE.search(source.head))

    def read(self, source: Source) -> Iterator[Found]:
        """The runs in it; raises Unreadable."""
        return read_text(source, Facts(self.name, source.path), _Reader)


class _Reader:
    def __init__(self, facts: Facts, doubts: Doubts) -> None:
        self._facts = facts
        self._doubts = doubts
        self._name = facts.path.name
        self._bar = Gatherer(facts, doubts, axis="step")
        self._lines = Gatherer(facts, doubts, axis="step")
        self._last: tuple[bytes, ...] = ()
        self._shape: Shape | None = None
        self._steps_an_epoch = b""
        self._has_lines = self._has_bar = False

    def take(self, chunk: Chunk) -> None:
        """Take some lines."""
        data = chunk.data
        if b"|Loss: " in data:
            self._take_bars(data)
        if b"Step " in data:
            self._take_lines(TENSOR.sub(rb"\1", data) if b"tensor(" in data else data, chunk)
        self._note(data)

    def runs(self) -> Iterator[LoggedRun]:
        """From the lines where there are any, as these say more; else from the bar."""
        if self._steps_an_epoch:
            self._facts.notes.append(
                f"an epoch is {int(self._steps_an_epoch)} optimizer steps; with packing that is not rows / batch"
            )
        if not self._has_lines:
            yield from self._bar.runs()
            return
        self._facts.notes.append(
            "tokens_per_second_per_gpu counts only the label tokens of one optimizer step that are not masked"
        )
        by_bar = list(self._bar.runs()) if self._has_bar else []
        for run in self._lines.runs():
            yield _with_steps(run, by_bar[0]) if len(by_bar) == 1 else run

    def _take_bars(self, data: bytes) -> None:
        found = BAR.findall(b"\n" + data)
        rows = found
        if not found or found[0][:3] == self._last or len({row[1] for row in found}) < len(found):
            # A step is drawn again with the next, and after the checkpoint: its first drawing has its time.
            before = chain((self._last,), found)
            rows = [row for row, earlier in zip(found, before, strict=False) if row[:3] != earlier[:3]]
        if not rows:
            return
        if not self._steps_an_epoch and (total := TOTAL.search(data)):
            self._steps_an_epoch = total.group(1)
        self._has_bar, self._last = True, rows[-1][:3]
        epochs, steps, losses, clocks = zip(*rows, strict=True)
        columns: dict[str, Sequence[float]] = {
            "epoch": list(map(float, epochs)),
            "bar_s": bar_seconds(clocks),
            "loss": figures_of(losses),
        }
        self._bar.stretch(list(map(float, steps)), columns)

    def _take_lines(self, data: bytes, chunk: Chunk) -> None:
        if not chunk.whole and not data.endswith(b" "):
            self._doubts[f"{self._name}: the last line is cut off"] = 1
            return
        first = LINE.search(data) if self._shape is None else None
        if first is not None:
            self._shape = _shape([key.decode() for key, _ in PAIR.findall(first.group(2))])
        if self._shape is None:
            return
        for part in parts(data, self._shape):
            if part.rows:
                self._has_lines = True
                columns = columns_of(self._shape.names, part.rows)
                self._lines.stretch(columns.pop("step"), columns)
            elif part.other is not None:
                self._take_line(part.other)

    def _take_line(self, line: bytes) -> None:
        found = LINE.fullmatch(line)
        if found is None:
            self._doubts[f"{self._name}: a line of figures cannot be read"] += 1
            return
        numbers = {key.decode(): number(text.decode("utf-8", "replace")) for key, text in PAIR.findall(found.group(2))}
        known = {key: figure for key, figure in numbers.items() if figure is not None}
        self._has_lines = self._has_lines or bool(known)
        self._lines.row(float(found.group(1)), known)

    def _note(self, data: bytes) -> None:
        if b"peak memory" in data and MEMORY_BLOCK.search(data):
            note = "the memory block printed after the model is built is not the peak of training: not taken"
            if note not in self._facts.notes:
                self._facts.notes.append(note)
        if b"with resolved config" in data and (recipe := RECIPE.search(data)):
            self._facts.settings["recipe"] = recipe.group(1).decode()
            if b"SingleDevice" in recipe.group(1):
                self._facts.ranks = 1


def _shape(keys: list[str]) -> Shape:
    cells = b"".join(rb" " + re.escape(key.encode()) + rb":([^\s:]{1,60})" for key in keys)
    return Shape.of(
        ("step", *keys),
        begin=b"Step ",
        opening=rb"\d{1,12} \| " + re.escape(keys[0].encode()) + rb":",
        cells=rb"(\d{1,12}) \|" + cells + rb" ?(?=[\r\n]|$)",
        other=rb"\d+ \|[^\r\n]*",
    )


def _with_steps(run: LoggedRun, by_bar: LoggedRun) -> LoggedRun:
    """Lines have no clock; the bar of the same program has."""
    clocked = by_bar.measurement
    fields = {name: getattr(clocked, name) for name in ("step_s", "step_p10_s", "step_p90_s", "epoch_s")}
    more = {"epochs": clocked.epochs, **fields} if run.measurement.step_s is None else {}
    measurement = run.measurement.model_copy(update=more)
    notes = tuple(dict.fromkeys((*run.notes, *by_bar.notes)))
    return run.model_copy(update={"measurement": measurement, "notes": notes, "epochs": by_bar.epochs})
