"""Logs of llm.c: `step 10/100 | loss 4.2 (+nanz)| norm 1.2 (+nanz)| lr 6e-4 | 123.45 ms | 30% MFU | 4100 tok/s`.

Its tokens a second are smoothed, and of all GPUs together.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gpuplan.observe.logs.formats import Facts, Gatherer, columns_of, read_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.model import LoggedRun
    from gpuplan.observe.logs.formats import Found, Source
    from gpuplan.observe.logs.stream import Chunk
    from gpuplan.observe.records import Doubts

__all__ = ["LlmC"]

STEP = re.compile(
    rb"step +(\d{1,12})/\d{1,12} \| (?:train )?loss ([^\s|(]{1,40})[^\r\n]{0,200}?\b([-+\w.]{1,30}) ms \|"
    rb"[^\r\n]{0,80}?\b([-+\w.]{1,30}) tok/s"
)


class LlmC:
    """What llm.c's train_gpt2 prints, in C or in Python."""

    name = "llm.c"

    def fits(self, source: Source) -> bool:
        """Whether a step is there."""
        return bool(STEP.search(source.head))

    def read(self, source: Source) -> Iterator[Found]:
        """The runs in it; raises Unreadable."""
        return read_text(source, Facts(self.name, source.path), _Reader)


class _Reader:
    def __init__(self, facts: Facts, doubts: Doubts) -> None:
        self._facts = facts
        self._doubts = doubts
        self._gatherer = Gatherer(facts, doubts, axis="step")

    def take(self, chunk: Chunk) -> None:
        """Take some lines."""
        if not chunk.whole and not chunk.data.rstrip(b" )\r\n").endswith(b"tok/s"):
            self._doubts[f"{self._facts.path.name}: the last line is cut off"] = 1
        columns = columns_of(("step", "loss", "step_time_ms", "tokens_per_s"), STEP.findall(chunk.data))
        if columns:
            self._gatherer.stretch(columns.pop("step"), columns)

    def runs(self) -> Iterator[LoggedRun]:
        """One for each program."""
        return self._gatherer.runs()
