"""Logs of nanoGPT: `iter 10: loss 4.2, time 123.45ms, mfu 30.12%` and `step 0: train loss 4.3, val loss 4.3`.

An iteration that evaluates holds the time of that too: quantiles bear it, and a mean would not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gpuplan.observe.logs.formats import Facts, Gatherer, columns_of, read_text
from gpuplan.observe.records import number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.model import LoggedRun
    from gpuplan.observe.logs.formats import Found, Source
    from gpuplan.observe.logs.stream import Chunk
    from gpuplan.observe.records import Doubts

__all__ = ["NanoGpt"]

ITERATION = re.compile(rb"iter (\d{1,12}): loss ([^\s,]{1,40}), time ([^\s,]{1,40})ms, mfu [^\s%]{1,40}%")
EVALUATION = re.compile(rb"step (\d{1,12}): train loss ([^\s,]{1,40}), val loss ([^\s,]{1,40})(?=[\r\n])")
TOKENS = re.compile(rb"tokens per iteration will be: ([\d,]{1,20})")


class NanoGpt:
    """What nanoGPT's train.py prints."""

    name = "nanogpt"

    def fits(self, source: Source) -> bool:
        """Whether an iteration is there."""
        return bool(ITERATION.search(source.head))

    def read(self, source: Source) -> Iterator[Found]:
        """The runs in it; raises Unreadable."""
        return read_text(source, Facts(self.name, source.path), _Reader)


class _Reader:
    def __init__(self, facts: Facts, doubts: Doubts) -> None:
        self._facts = facts
        self._doubts = doubts
        self._gatherer = Gatherer(facts, doubts, axis="step")
        self._tokens: float | None = None

    def take(self, chunk: Chunk) -> None:
        """Take some lines."""
        data, start = chunk.data, 0
        if not chunk.whole and not data.rstrip().endswith(b"%"):
            self._doubts[f"{self._facts.path.name}: the last line is cut off"] = 1
        found = TOKENS.search(data)
        if found is not None:
            self._tokens = number(found.group(1).decode().replace(",", ""))
        for evaluation in EVALUATION.finditer(data):
            self._iterations(data, start, evaluation.start())
            at, train, val = (number(cell.decode("utf-8", "replace")) for cell in evaluation.groups())
            numbers = {"train_loss": train, "val_loss": val}
            self._gatherer.row(at or 0.0, {name: figure for name, figure in numbers.items() if figure is not None})
            start = evaluation.end()
        self._iterations(data, start, len(data))

    def runs(self) -> Iterator[LoggedRun]:
        """One for each program; tokens a second where it said how many an iteration has."""
        for run in self._gatherer.runs():
            step_s = run.measurement.step_s
            if not self._tokens or not step_s:
                yield run
                continue
            measurement = run.measurement.model_copy(update={"tokens_per_s": self._tokens / step_s})
            yield run.model_copy(update={"measurement": measurement})

    def _iterations(self, data: bytes, start: int, end: int) -> None:
        rows = ITERATION.findall(data, start, end)
        columns = columns_of(("step", "loss", "step_time_ms"), rows)
        if columns:
            self._gatherer.stretch(columns.pop("step"), columns)
