"""What a conductor needs from others, and what it says: observer, store, events, result. It does nothing itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuplan.model import Measurement, Outcome, RunRecord, Sample, State

__all__ = ["Conducted", "Event", "Happening", "Judgement", "Observer", "RunStore"]

Happening = Literal[
    "skipped", "adopted", "archived", "started", "sampled", "ended", "again", "held", "braked", "stopping"
]


class Judgement(NamedTuple):
    """What an observer makes of an end."""

    outcome: Outcome
    measurement: Measurement | None


class Observer(Protocol):
    """Looks at running runs, and judges ended ones."""

    def sample(self, record: RunRecord, pid: int) -> Sample | None:
        """What the processes from `pid` down and the run's devices show now."""

    def judge(self, record: RunRecord, samples: Sequence[Sample]) -> Judgement:
        """How the run in `record.folder` ended, given `record.ending`; "lost" if nobody saw the end."""


class RunStore(Protocol):
    """What a conductor has to have remembered."""

    def record(self, experiment: str, run: str) -> RunRecord | None:
        """What is known of one run."""

    def open_records(self) -> tuple[RunRecord, ...]:
        """Runs of any experiment that were started and have no outcome yet."""

    def save(self, record: RunRecord, *, what: str | None = None) -> None:
        """Keep the record and, as an event, what happened."""

    def save_all(self, records: Iterable[RunRecord]) -> None:
        """Keep many records in one transaction."""

    def archive(self, folder: str, *, to: str) -> None:
        """Keep the record of a run whose folder moves."""

    def add_samples(self, experiment: str, samples: Mapping[str, Sample]) -> None:
        """Keep a look at several runs."""

    def samples(self, experiment: str, run: str, *, attempt: int | None = None) -> tuple[Sample, ...]:
        """What was seen of a run."""

    def lost_in_a_row(self, experiment: str, run: str) -> int:
        """How many of its newest attempts were lost."""

    def note(self, experiment: str, what: str, *, run: str | None = None) -> None:
        """Keep an event."""


class Event(NamedTuple):
    """Something that a face may show."""

    what: Happening
    run: str | None
    text: str
    record: RunRecord | None = None
    sample: Sample | None = None


class Conducted(NamedTuple):
    """What came of a plan."""

    states: dict[str, State]
    """Of every placed run, as it is now; a run that did not start is `waiting`."""
    skipped: tuple[str, ...]
    """Finished before, by key."""
    held: dict[str, str]
    """Not started because `may_start` refused, and its reason."""
    brake: str | None
    """Why no more runs were started."""
    interrupted: bool
