"""Progress bars as tqdm draws them: Accelerate's, Lightning's, and any script's.

The bar with the most time on it is the training's; a loss in its postfix is taken too. Bars of downloads, data
preparation and evaluation are never taken for training.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gpuplan.observe.logs.formats import Facts, Gatherer, figures_of, read_text
from gpuplan.observe.records import Doubts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuplan.model import LoggedRun
    from gpuplan.observe.logs.formats import Found, Source
    from gpuplan.observe.logs.stream import Chunk

__all__ = ["BarReader", "Bars", "bar_seconds"]

BAR = re.compile(
    rb"[\r\n]([^\r\n%]{0,80}?)\d{1,3}%\|[^|\r\n]*\| *(\d{1,12})/(\d{1,12}) \[([\d:]{4,12})<[^,\]\r\n]{1,12}, *"
    rb"[^,\]\r\n]{1,14}(?:it/s|s/it)(?:[^\]\r\n]*?\bloss=([^,\]\s]{1,30}))?[^\]\r\n]*\]"
)
NUMBER = re.compile(rb"[-+]?\d[\d.,]*(?:e[-+]?\d+)?", re.IGNORECASE)
LOSS = re.compile(rb"\bloss\b[ =:]{1,3}([-+]?\d[\d.]{0,20}(?:e[-+]?\d{1,3})?)", re.IGNORECASE)
LIGHTNING = re.compile(rb"Epoch (\d{1,9})")
NO_TRAINING = re.compile(
    rb"load|fetch|map|token|generat|eval|valid|\bval\b|sanity|predict|infer|sampl|test|filter|shard|proces|cach|encod|"
    rb"embed|sav|writ|extract|pack|resolv|index|calibrat|quantiz",
    re.IGNORECASE,
)
MOST_BARS = 32


class BarReader:
    """Bars of each length apart: the steps of an epoch go on where the bar of the same length ended before.

    Titles that differ in their numbers alone (`Epoch 2/10`, `loss 0.532`) are of one bar.
    """

    def __init__(self, facts: Facts, doubts: Doubts) -> None:
        self._facts = facts
        self._doubts = doubts
        self._bars: dict[tuple[bytes, int], Bar] = {}
        self._paused_s = 0.0

    def pause(self, seconds: float) -> None:
        """The clocks of all bars went on for so long while other work was done: it is taken off."""
        self._paused_s += seconds

    def take(self, chunk: Chunk) -> None:
        """Take the bars of some lines."""
        if b"%|" not in chunk.data:
            return
        found = BAR.findall(b"\n" + chunk.data)
        start = 0
        for index in range(1, len(found) + 1):
            if index == len(found) or found[index][0] != found[start][0] or found[index][2] != found[start][2]:
                self._take(found[start:index])
                start = index

    def _take(self, rows: Sequence[tuple[bytes, ...]]) -> None:
        title, total = rows[0][0], int(rows[0][2])
        if NO_TRAINING.search(title) or total < 2:
            return
        key = (NUMBER.sub(b"#", title).strip(), total)
        bar = self._bars.get(key)
        if bar is None and len(self._bars) < MOST_BARS:
            bar = self._bars[key] = Bar(Gatherer(self._facts, Doubts(self._doubts), axis="step"), total)
        if bar is not None:
            bar.take(rows, self._paused_s)

    def runs(self) -> Iterator[LoggedRun]:
        """The run of the bar with the most time on it."""
        bar = max(self._bars.values(), key=lambda each: each.seconds, default=None)
        if bar is not None and bar.seconds > 0:
            self._facts.notes.append(
                f"steps are those of a progress bar of {bar.total}; its clock counts whole seconds"
            )
            yield from bar.gatherer.runs()


class Bar:
    """One bar, drawn again and again; where it goes back to its beginning, the next epoch has begun."""

    def __init__(self, gatherer: Gatherer, total: int) -> None:
        self.gatherer = gatherer
        self.total = total
        self.seconds = 0.0
        """On its clock, pauses within: a bar of evaluations has less than the one that they interrupt."""
        self._clock = 0.0
        self._before = 0
        self._last = (-1, -1.0)
        self._paused_before_s = 0.0
        """What had been paused before this bar was begun."""

    def take(self, rows: Sequence[tuple[bytes, ...]], paused_s: float) -> None:
        """Take what was drawn; the first drawing of a step counts, later ones hold other work."""
        places, clocks, losses = [], [], []
        for (title, count, total, _, loss), clock in zip(rows, bar_seconds([row[3] for row in rows]), strict=True):
            step = int(count)
            if step == self._last[0] or step == 0 or step > int(total):
                continue
            if step < self._last[0]:
                if not self._begins_anew(step):
                    continue
                self._paused_before_s, self._last, self._clock = paused_s, (-1, -1.0), 0.0
            # Whole seconds stay whole: the clock of a bar is known as one that counts these.
            seconds = max(self._last[1], clock - round(paused_s - self._paused_before_s))
            self.seconds += max(0.0, clock - self._clock)
            self._last, self._clock = (step, seconds), clock
            places.append(float(self._before + step))
            clocks.append(seconds)
            losses.append(loss or _loss_in(title))
        numbers = [float((place - 1) // self.total + 1) for place in places]
        columns: dict[str, Sequence[float]] = {"bar_s": clocks, "bar_number": numbers}
        if losses and all(losses):
            columns["loss"] = figures_of(losses)
        self.gatherer.stretch(places, columns)

    def _begins_anew(self, step: int) -> bool:
        """Whether a bar that goes back is that of the next epoch; else a second program draws it, or began again."""
        if step > self.total / 2 or self._last[0] < 0.9 * self.total:
            gatherer = self.gatherer
            gatherer.doubts[f"{gatherer.facts.path.name}: a progress bar goes back before its end; left out"] += 1
            return False
        self._before += self.total
        return True


class Bars:
    """Logs with nothing but progress bars."""

    name = "progress_bar"

    def fits(self, source: Source) -> bool:
        """Whether a training bar is drawn in it."""
        bars = BAR.findall(b"\n" + source.head) if b"%|" in source.head else []
        return any(not NO_TRAINING.search(found[0]) for found in bars)

    def read(self, source: Source) -> Iterator[Found]:
        """The run of the longest bar; raises Unreadable."""
        name = "lightning" if LIGHTNING.search(source.head) and b"v_num" in source.head else self.name
        return read_text(source, Facts(name, source.path), BarReader)


def _loss_in(title: bytes) -> bytes:
    found = LOSS.search(title) if b"oss" in title or b"OSS" in title else None
    return found.group(1) if found else b""


class _Seconds(dict[bytes, float]):
    """Texts like 1:02:03 as seconds; each of the few thousand different ones is worked out once."""

    def __missing__(self, text: bytes) -> float:
        if len(self) > 100_000:
            self.clear()
        seconds = 0
        for part in text.split(b":"):
            seconds = seconds * 60 + int(part or b"0")
        self[text] = float(seconds)
        return self[text]


_SECONDS = _Seconds()


def bar_seconds(clocks: Sequence[bytes]) -> list[float]:
    """Seconds of the clock of bars, as 02:03 or 1:02:03."""
    return list(map(_SECONDS.__getitem__, clocks))
