"""Runs, attempts, samples, evidence, probes and events, in terms of the nouns. It never decides what happens next."""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Literal, NamedTuple, Self, TypeVar

from pydantic import ValidationError

from gpuplan.errors import EXIT_MACHINE, UserError
from gpuplan.model import Ending, Evidence, Gpu, History, Noun, Outcome, Provenance, RunRecord, Sample
from gpuplan.store.database import Database

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Container, Iterable, Mapping, Sequence
    from pathlib import Path

__all__ = ["MOST_SAMPLES", "Attempt", "Event", "Store"]

T = TypeVar("T", bound=Noun)

MOST_SAMPLES = 2000
STRUCTURED = ("run", "ending", "outcome", "measurement", "provenance", "estimate")
PLAIN = ("experiment", "folder", "state", "attempt", "started_at", "ended_at")
ATTEMPT_COLUMNS = ("attempt", "state", "devices", "started_at", "ended_at", "ending", "outcome")
SAMPLE_COLUMNS = ", ".join(Sample.model_fields)


class Attempt(NamedTuple):
    """One try of a run; `ending` and `outcome` are None while it runs, and if the command never started."""

    attempt: int
    state: str
    devices: tuple[int, ...]
    started_at: float | None
    ended_at: float | None
    ending: Ending | None
    outcome: Outcome | None


class Event(NamedTuple):
    """Something that happened, in the order of `id`."""

    id: int
    at: float
    run: str | None
    what: str


class Store:
    """The open store of a state folder."""

    def __init__(self, path: Path) -> None:
        self.database = Database.open(path)

    @classmethod
    def to_read(cls, path: Path) -> Self:
        """The store as it is, also in a folder where nothing can be written, and while another process writes."""
        store = cls.__new__(cls)
        store.database = Database.open_to_read(path)
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self.database.close()

    # ------------------------------------------------------------ runs

    def save(self, record: RunRecord, *, what: str | None = None) -> None:
        """Keep the record, its attempt and, as an event, `what` happened: all or nothing.

        A record of the same name with another key is archived, never overwritten.
        """
        with self.database.transaction() as connection:
            _save(connection, record)
            if what is not None:
                _note(connection, record.experiment, record.run.name, what)

    def save_all(self, records: Iterable[RunRecord]) -> None:
        """Keep many records, all or none."""
        with self.database.transaction() as connection:
            for record in records:
                _save(connection, record)

    def archive(self, folder: str, *, to: str) -> None:
        """Keep the record of the run that ran in `folder`, which is moved away to make place for another."""
        with self.database.transaction() as connection:
            connection.execute(
                "UPDATE runs SET archived = 1, folder = ? WHERE folder = ? AND attempt > 0 AND archived = 0",
                (to, folder),
            )

    def record(self, experiment: str, run: str) -> RunRecord | None:
        """What is known of one run."""
        return next(iter(self._records("experiment = ? AND name = ? AND archived = 0", (experiment, run))), None)

    def records(self, experiment: str | None = None, *, archived: bool = False) -> tuple[RunRecord, ...]:
        """All runs, of one experiment or of all, in the order they first came; `archived`: those that made place."""
        chosen = "archived = ?" if experiment is None else "archived = ? AND experiment = ?"
        return self._records(chosen, (archived,) if experiment is None else (archived, experiment))

    def open_records(self) -> tuple[RunRecord, ...]:
        """Runs of any experiment that were started and have no outcome yet."""
        return self._records("archived = 0 AND state IN ('starting', 'running', 'stopping')", ())

    def _records(self, chosen: str, values: Iterable[object]) -> tuple[RunRecord, ...]:
        rows = self.database.rows(
            "SELECT runs.*, versions.body AS versions_body FROM runs "  # noqa: S608  our own conditions
            f"LEFT JOIN versions ON versions.digest = runs.versions WHERE {chosen} ORDER BY id",
            values,
        )
        return tuple(self._parsed(RunRecord, _record_fields(row)) for row in rows)

    def history(self, experiment: str) -> tuple[History, ...]:
        """Name, key and state of each run, for planning."""
        rows = self.database.rows(
            "SELECT name, key, state FROM runs WHERE experiment = ? AND archived = 0 ORDER BY id", (experiment,)
        )
        return tuple(History(name=row["name"], key=row["key"], state=row["state"]) for row in rows)

    # ------------------------------------------------------------ attempts and samples

    def attempts(self, experiment: str, run: str) -> tuple[Attempt, ...]:
        """Every try of a run, oldest first."""
        rows = self.database.rows(
            "SELECT attempts.* FROM attempts JOIN runs ON runs.id = attempts.run "
            "WHERE experiment = ? AND name = ? AND archived = 0 ORDER BY attempts.attempt",
            (experiment, run),
        )
        return tuple(self._attempt(row) for row in rows)

    def _attempt(self, row: sqlite3.Row) -> Attempt:
        return Attempt(
            attempt=row["attempt"],
            state=row["state"],
            devices=tuple(json.loads(row["devices"])),
            started_at=row["started_at"],
            ended_at=row["ended_at"],
            ending=self._parsed(Ending, json.loads(row["ending"])) if row["ending"] else None,
            outcome=self._parsed(Outcome, json.loads(row["outcome"])) if row["outcome"] else None,
        )

    def lost_in_a_row(self, experiment: str, run: str) -> int:
        """How many of the newest attempts, without one that ended otherwise in between, were lost."""
        count = 0
        for attempt in reversed([one for one in self.attempts(experiment, run) if one.outcome]):
            if attempt.outcome is None or attempt.outcome.status != "lost":
                break
            count += 1
        return count

    def add_samples(self, experiment: str, samples: Mapping[str, Sample]) -> None:
        """Keep one look at each of several runs, by name, for their present attempts."""
        if not samples:
            return
        with self.database.transaction() as connection:
            for name, sample in samples.items():
                row = _live(connection, experiment, name)
                if row is not None:
                    _add_sample(connection, row["id"], row["attempt"], sample)

    def samples(self, experiment: str, run: str, *, attempt: int | None = None) -> tuple[Sample, ...]:
        """What was seen of a run, oldest first; of one attempt or of all."""
        rows = self.database.rows(
            f"SELECT {SAMPLE_COLUMNS} FROM samples WHERE run = "  # noqa: S608  our own names
            "(SELECT id FROM runs WHERE experiment = ? AND name = ? AND archived = 0) "
            "AND attempt = coalesce(?, attempt) ORDER BY at",
            (experiment, run, attempt),
        )
        return tuple(Sample.model_validate(dict(row)) for row in rows)

    # ------------------------------------------------------------ evidence, probes, events

    def add_evidence(self, facts: Iterable[Evidence]) -> int:
        """Keep facts; what is known already, by its id, is left as it is. Returns how many were new."""
        with self.database.transaction() as connection:
            (before,) = connection.execute("SELECT count(*) FROM evidence").fetchone()
            for fact in facts:
                _put_evidence(connection, fact, "IGNORE")
            (after,) = connection.execute("SELECT count(*) FROM evidence").fetchone()
            return int(after - before)

    def learn_evidence(self, facts: Sequence[Evidence], sources: Mapping[str, Sequence[str]]) -> frozenset[str]:
        """Keep facts of logs, in place of those with their ids and of earlier readings of the same logs.

        `sources` is what the log of a fact is known by, by the fact's id; the first is kept with the fact. Facts that
        were kept with one of them, and are not among these, were read from the same log by another gpuplan, and go.
        Returns the ids of the facts that took the place of such.
        """
        kept = {fact.id for fact in facts}
        with self.database.transaction() as connection:
            read_anew = {
                source
                for source in dict.fromkeys(source for own in sources.values() for source in own)
                if _drop_evidence(connection, source, kept)
            }
            for fact in facts:
                _put_evidence(connection, fact, "REPLACE", next(iter(sources.get(fact.id, ())), None))
        return frozenset(one for one in kept if not read_anew.isdisjoint(sources.get(one, ())))

    def evidence(self, experiment: str | None = None) -> tuple[Evidence, ...]:
        """All facts, or those of one experiment."""
        rows = self.database.rows(
            "SELECT body FROM evidence WHERE experiment = coalesce(?, experiment) ORDER BY taken, id", (experiment,)
        )
        return tuple(self._parsed(Evidence, json.loads(row["body"])) for row in rows)

    def put_gpus(self, machine: str, gpus: Iterable[Gpu]) -> None:
        """Keep what was measured on a machine, in place of what was known of these GPUs there."""
        with self.database.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO gpus (machine, name, body) VALUES (?, ?, ?)",
                [(machine, gpu.name, gpu.model_dump_json()) for gpu in gpus],
            )

    def gpus(self, machine: str) -> tuple[Gpu, ...]:
        """What was measured on a machine."""
        rows = self.database.rows("SELECT body FROM gpus WHERE machine = ? ORDER BY name", (machine,))
        return tuple(self._parsed(Gpu, json.loads(row["body"])) for row in rows)

    def note(self, experiment: str, what: str, *, run: str | None = None) -> None:
        """Add an event."""
        with self.database.transaction() as connection:
            _note(connection, experiment, run, what)

    def events(self, experiment: str, *, after: int = 0) -> tuple[Event, ...]:
        """What happened after the event with the id `after`."""
        rows = self.database.rows(
            "SELECT id, at, run, what FROM events WHERE experiment = ? AND id > ? ORDER BY id", (experiment, after)
        )
        return tuple(Event(*row) for row in rows)

    def _parsed(self, noun: type[T], found: object) -> T:
        try:
            return noun.model_validate(found)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise UserError(
                f"{self.database.path} holds a {noun.__name__} that this gpuplan cannot read: {reason}",
                hint="it was written by another version of gpuplan: use that one, or move the file away",
                exit_code=EXIT_MACHINE,
            ) from error


def _put_evidence(
    connection: sqlite3.Connection, fact: Evidence, known: Literal["IGNORE", "REPLACE"], source: str | None = None
) -> None:
    connection.execute(
        f"INSERT OR {known} INTO evidence "  # noqa: S608  our own words
        "(id, experiment, run, gpu, taken, body, source) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (fact.id, fact.experiment, fact.run, fact.gpu, fact.taken, fact.model_dump_json(), source),
    )


def _drop_evidence(connection: sqlite3.Connection, source: str, kept: Container[str]) -> bool:
    """Forget the facts of a source but for those that are kept; whether there were any."""
    rows = connection.execute("SELECT id FROM evidence WHERE source = ?", (source,)).fetchall()
    old = [(row["id"],) for row in rows if row["id"] not in kept]
    connection.executemany("DELETE FROM evidence WHERE id = ?", old)
    return bool(old)


def _save(connection: sqlite3.Connection, record: RunRecord) -> None:
    connection.execute(
        "UPDATE runs SET archived = 1 WHERE experiment = ? AND name = ? AND key <> ? AND archived = 0",
        (record.experiment, record.run.name, record.run.key),
    )
    columns = _columns(record, connection)
    updates = ", ".join(f"{name} = excluded.{name}" for name in columns)
    connection.execute(
        f"INSERT INTO runs ({', '.join(columns)}) VALUES ({_marks(columns)}) "  # noqa: S608  our own names
        f"ON CONFLICT (experiment, name) WHERE archived = 0 DO UPDATE SET {updates}",
        tuple(columns.values()),
    )
    if record.attempt:
        _save_attempt(connection, record, columns)


def _marks(columns: Iterable[object]) -> str:
    return ", ".join("?" for _ in columns)


def _columns(record: RunRecord, connection: sqlite3.Connection) -> dict[str, object]:
    columns: dict[str, object] = {name: getattr(record, name) for name in PLAIN}
    columns |= {"name": record.run.name, "key": record.run.key, "devices": json.dumps(record.devices)}
    for name in STRUCTURED:
        noun = getattr(record, name)
        columns[name] = None if noun is None else noun.model_dump_json(exclude={"versions"})
    columns["versions"] = _save_versions(connection, record.provenance) if record.provenance else None
    return columns


def _save_versions(connection: sqlite3.Connection, provenance: Provenance) -> str:
    """The versions of a hundred packages are the same in a thousand runs, and are kept once."""
    body = json.dumps(provenance.versions, sort_keys=True)
    digest = hashlib.sha256(body.encode()).hexdigest()
    connection.execute("INSERT OR IGNORE INTO versions (digest, body) VALUES (?, ?)", (digest, body))
    return digest


def _save_attempt(connection: sqlite3.Connection, record: RunRecord, columns: Mapping[str, object]) -> None:
    connection.execute(
        f"INSERT OR REPLACE INTO attempts (run, {', '.join(ATTEMPT_COLUMNS)}) "  # noqa: S608  our own names
        f"VALUES (?, {_marks(ATTEMPT_COLUMNS)})",
        (
            _live(connection, record.experiment, record.run.name)["id"],
            *(columns[name] for name in ATTEMPT_COLUMNS),
        ),
    )


def _live(connection: sqlite3.Connection, experiment: str, run: str) -> sqlite3.Row:
    row: sqlite3.Row = connection.execute(
        "SELECT id, attempt FROM runs WHERE experiment = ? AND name = ? AND archived = 0", (experiment, run)
    ).fetchone()
    return row


def _add_sample(connection: sqlite3.Connection, run: int, attempt: int, sample: Sample) -> None:
    values = sample.model_dump()
    connection.execute(
        f"INSERT OR REPLACE INTO samples (run, attempt, {SAMPLE_COLUMNS}) VALUES (?, ?, {_marks(values)})",  # noqa: S608
        (run, attempt, *values.values()),
    )
    (count,) = connection.execute(
        "SELECT count(*) FROM samples WHERE run = ? AND attempt = ?", (run, attempt)
    ).fetchone()
    if count > MOST_SAMPLES:
        _thin(connection, run, attempt)


def _thin(connection: sqlite3.Connection, run: int, attempt: int) -> None:
    """Drop every second sample, but never one that shows a peak."""
    connection.execute(
        """
        DELETE FROM samples WHERE run = :run AND attempt = :attempt AND at IN (
            SELECT at FROM (
                SELECT at, row_number() OVER (ORDER BY at) AS number,
                    row_number() OVER (ORDER BY host_bytes DESC, at) AS host_rank,
                    row_number() OVER (ORDER BY device_bytes DESC, at) AS device_rank
                FROM samples WHERE run = :run AND attempt = :attempt
            ) WHERE number % 2 = 0 AND host_rank > 1 AND device_rank > 1
        )
        """,
        {"run": run, "attempt": attempt},
    )


def _record_fields(row: sqlite3.Row) -> dict[str, object]:
    fields: dict[str, object] = {name: row[name] for name in PLAIN}
    fields |= {name: json.loads(row[name]) if row[name] else None for name in STRUCTURED}
    if row["provenance"]:
        fields["provenance"] = {**json.loads(row["provenance"]), "versions": json.loads(row["versions_body"])}
    return fields | {"devices": tuple(json.loads(row["devices"]))}


def _note(connection: sqlite3.Connection, experiment: str, run: str | None, what: str) -> None:
    connection.execute(
        "INSERT INTO events (at, experiment, run, what) VALUES (?, ?, ?, ?)", (time.time(), experiment, run, what)
    )
