"""Reads what one rank wrote through gpuplan.track: attempts, steps, epochs, results. Bounded memory, any length.

An attempt that resumes from step k takes the place of what came after k before it, a fresh one of everything before.
Figures of such steps never enter anything. It never reads another rank's file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from gpuplan.observe.records import Doubts, json_objects, named_numbers, number, whole
from gpuplan.observe.values import Thinned, Values, Weighted

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["EVENTS", "Epoch", "RankLog", "read_rank"]

EVENTS = frozenset({"start", "steps", "epoch", "checkpoint", "final", "leave", "diverged"})
PEAKS = ("peak_host_bytes", "peak_allocated_bytes", "peak_reserved_bytes")
OWN_KEYS = frozenset(
    {"event", "time_s", "step", "steps", "samples", "seconds", "epoch", "rank", "world_size", "attempt", "path", *PEAKS}
)
MOST_ATTEMPTS = 10_000
MOST_EPOCHS = 100_000
WARM_UP_STEPS = 10
WARM_UP_SHARE = 0.1
MOST_SECONDS = 1e8
CLOCK_SLACK_S = 1.0
LAST_TIME_S = 1e11


class Epoch(NamedTuple):
    """One epoch of one rank, trained from its beginning by one attempt."""

    samples: int
    seconds: float
    warm: bool
    """False for the first epoch of an attempt."""


@dataclass(slots=True)
class RankLog:
    """What one rank's file comes to. `first_step_at` to `training_s` are of the last attempt."""

    facts: dict[str, Any] = field(default_factory=dict)
    step: int = 0
    epoch: int = 0
    steady: Thinned[Weighted] = field(default_factory=Thinned)
    """Seconds of a step, weighted by the steps of the record, warm-up left out."""
    warming: Thinned[Weighted] = field(default_factory=Thinned)
    steady_samples: int = 0
    steady_s: float = 0.0
    epochs: dict[int, Epoch] = field(default_factory=dict)
    values: Values = field(default_factory=Values)
    results: dict[str, float] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    checkpoints: Thinned[str] = field(default_factory=lambda: Thinned(100))
    diverged_at: int | None = None
    finished: bool = False
    left: bool = False
    """Its last record says that it left in good order, to be resumed."""
    started_at: float | None = None
    first_step_at: float | None = None
    last_at: float | None = None
    training_s: float = 0.0
    clock_jumped: bool = False


class StepRecord(NamedTuple):
    """Some steps of one rank, written as one record."""

    steps: int
    samples: int
    seconds: float


class Attempt(NamedTuple):
    """One start of the program: from which step, and up to which step it still stands."""

    start: int
    until: float


def read_rank(path: Path, doubts: Doubts) -> RankLog:
    """Everything that still stands in the file at `path`."""
    reader = _Reader(path.name, _attempts(path), doubts)
    for record in json_objects(path, doubts):
        reader.take(record)
    return reader.finish()


def _attempts(path: Path) -> list[Attempt]:
    """A first pass over the file: what of each attempt is not done anew by a later one."""
    records = json_objects(path, Doubts(), having='"start"')
    starts = islice((record for record in records if record.get("event") == "start"), MOST_ATTEMPTS)
    attempts: list[Attempt] = []
    until = math.inf
    for start in reversed([whole(record.get("step")) or 0 for record in starts]):
        attempts.append(Attempt(start, until))
        until = min(until, start if start > 0 else -1)
    return attempts[::-1]


class _Reader:
    """The second pass: the records of the attempts that still stand."""

    def __init__(self, name: str, attempts: list[Attempt], doubts: Doubts) -> None:
        self.log = RankLog()
        self._name = name
        self._attempts = attempts
        self._doubts = doubts
        self._number = -1
        self._epoch_end = 0
        # What stands before the first start, or without any, is an attempt too; a start at step 0 supersedes it.
        self._begin(Attempt(0, min((each.start or -1 for each in attempts), default=math.inf)))

    def _begin(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._head: list[StepRecord] = []
        self._steps_made = 0
        self._whole_epoch = attempt.start == self._epoch_end
        self._first_epoch = True
        self._open_s = 0.0
        self._reached = self._last_step = attempt.start
        log = self.log
        log.started_at = log.first_step_at = log.last_at = None
        log.training_s, log.clock_jumped, log.results = 0.0, False, {}

    def finish(self) -> RankLog:
        """The log, once the file has ended."""
        self._settle()
        return self.log

    def take(self, record: dict[str, Any]) -> None:
        """Take one record, if what it tells still stands."""
        event = record.get("event")
        if not isinstance(event, str):
            self._doubt("a record has no event")
            return
        if event == "start":
            self._next_attempt(record)
        step = whole(record.get("step"))
        self._reached = self._reached if step is None else step
        if self._reached > self._attempt.until:
            return
        self._clock(record)
        self._advance(self._reached)
        readers = {
            "steps": self._steps,
            "epoch": self._epoch,
            "checkpoint": self._checkpoint,
            "diverged": self._diverged,
        }
        if event in readers:
            readers[event](record)
        self._peaks(record)
        self.log.finished, self.log.left = event == "final", event == "leave"
        if event not in {"start", "checkpoint"}:
            self._values(record, results=event == "final")

    def _next_attempt(self, facts: dict[str, Any]) -> None:
        self._settle()
        self._number += 1
        if self._number < len(self._attempts):
            self._begin(self._attempts[self._number])
            self.log.facts = facts
            self.log.started_at = _time_s(facts)
        elif self._number == len(self._attempts):
            self._doubt(f"it has more than {MOST_ATTEMPTS} attempts, or grew while it was read")

    def _steps(self, record: dict[str, Any]) -> None:
        steps, samples, seconds = whole(record.get("steps")), whole(record.get("samples")), self._seconds(record)
        if not steps or seconds is None:
            return
        at = _time_s(record)
        if self.log.first_step_at is None and at is not None:
            self.log.first_step_at = at - seconds
        self._open_s += seconds
        self.log.training_s += seconds
        made = StepRecord(steps, samples or 0, seconds)
        if self._steps_made < WARM_UP_STEPS:
            self._head.append(made)
        else:
            self._keep(made)
        self._steps_made += steps

    def _keep(self, made: StepRecord) -> None:
        self.log.steady.add(Weighted(made.seconds / made.steps, made.steps))
        self.log.steady_samples += made.samples
        self.log.steady_s += made.seconds

    def _settle(self) -> None:
        """At the end of an attempt it is known how many of its first steps are the tenth that is warm-up."""
        warm_up = min(WARM_UP_STEPS, math.ceil(self._steps_made * WARM_UP_SHARE))
        for made in self._head:
            if warm_up > 0:
                self.log.warming.add(Weighted(made.seconds / made.steps, made.steps))
            else:
                self._keep(made)
            warm_up -= made.steps
        self._head = []

    def _epoch(self, record: dict[str, Any]) -> None:
        epoch, samples, seconds = whole(record.get("epoch")), whole(record.get("samples")), self._seconds(record)
        self.log.epoch = epoch if epoch is not None else self.log.epoch
        if epoch is not None and samples is not None and seconds is not None:
            self.log.training_s += seconds - self._open_s
            if self._whole_epoch and len(self.log.epochs) < MOST_EPOCHS:
                self.log.epochs[epoch] = Epoch(samples, seconds, warm=not self._first_epoch)
        self._whole_epoch, self._first_epoch, self._open_s = True, False, 0.0
        self._epoch_end = self.log.step

    def _checkpoint(self, record: dict[str, Any]) -> None:
        if isinstance(record.get("path"), str):
            self.log.checkpoints.add(record["path"])

    def _diverged(self, record: dict[str, Any]) -> None:  # noqa: ARG002  one of several readers of a record
        self.log.diverged_at = self.log.step

    def _peaks(self, record: dict[str, Any]) -> None:
        for peak in PEAKS:
            size = whole(record.get(peak))
            if size:
                self.log.peaks[peak] = max(size, self.log.peaks.get(peak, 0))

    def _values(self, record: dict[str, Any], *, results: bool) -> None:
        """Values lie at their step; a program that counts no steps has them at its epochs."""
        at = self.log.step or self.log.epoch
        for name, value in named_numbers(record, OWN_KEYS):
            self.log.values.add(name, at, value)
            if results and math.isfinite(value):
                self.log.results[name] = value

    def _seconds(self, record: dict[str, Any]) -> float | None:
        seconds = number(record.get("seconds"))
        if seconds is not None and 0 < seconds < MOST_SECONDS:
            return seconds
        self._doubt("a record without seconds above zero")
        return None

    def _clock(self, record: dict[str, Any]) -> None:
        at = _time_s(record)
        if at is None:
            return
        if self.log.last_at is not None and at < self.log.last_at - CLOCK_SLACK_S:
            self._doubt("the clock jumped backwards")
            self.log.clock_jumped = True
        self.log.last_at = at

    def _advance(self, step: int) -> None:
        if step < self._last_step:
            self._doubt("steps go backwards, as if two programs wrote it")
        self._last_step = self.log.step = step

    def _doubt(self, what: str) -> None:
        self._doubts[f"{self._name}: {what}"] += 1


def _time_s(record: dict[str, Any]) -> float | None:
    """Seconds since the epoch, where they can be."""
    at = number(record.get("time_s"))
    return at if at is not None and 0 < at < LAST_TIME_S else None
