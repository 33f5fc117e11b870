"""The tables of the store, as steps that are only ever added to. It never touches a file."""

from __future__ import annotations

__all__ = ["READABLE_FROM", "STEPS"]

READABLE_FROM = 1
"""The first version whose tables readers take as they are; what came after it only writers use."""

STEPS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE versions (
            digest TEXT PRIMARY KEY,
            body TEXT NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE runs (
            id INTEGER PRIMARY KEY,
            experiment TEXT NOT NULL,
            name TEXT NOT NULL,
            key TEXT NOT NULL,
            folder TEXT NOT NULL,
            archived INTEGER NOT NULL DEFAULT 0,
            state TEXT NOT NULL,
            attempt INTEGER NOT NULL,
            devices TEXT NOT NULL,
            started_at REAL,
            ended_at REAL,
            run TEXT NOT NULL,
            ending TEXT,
            outcome TEXT,
            measurement TEXT,
            provenance TEXT,
            versions TEXT REFERENCES versions (digest),
            estimate TEXT
        )""",
        "CREATE UNIQUE INDEX runs_live ON runs (experiment, name) WHERE archived = 0",
        "CREATE INDEX runs_by_folder ON runs (folder)",
        """CREATE TABLE attempts (
            run INTEGER NOT NULL REFERENCES runs (id),
            attempt INTEGER NOT NULL,
            state TEXT NOT NULL,
            devices TEXT NOT NULL,
            started_at REAL,
            ended_at REAL,
            ending TEXT,
            outcome TEXT,
            PRIMARY KEY (run, attempt)
        ) WITHOUT ROWID""",
        """CREATE TABLE samples (
            run INTEGER NOT NULL REFERENCES runs (id),
            attempt INTEGER NOT NULL,
            at REAL NOT NULL,
            processes INTEGER NOT NULL,
            host_bytes INTEGER NOT NULL,
            cpu_s REAL NOT NULL,
            device_bytes INTEGER,
            device_busy REAL,
            PRIMARY KEY (run, attempt, at)
        ) WITHOUT ROWID""",
        """CREATE TABLE evidence (
            id TEXT PRIMARY KEY,
            experiment TEXT NOT NULL,
            run TEXT NOT NULL,
            gpu TEXT NOT NULL,
            taken TEXT NOT NULL,
            body TEXT NOT NULL
        )""",
        """CREATE TABLE gpus (
            machine TEXT NOT NULL,
            name TEXT NOT NULL,
            body TEXT NOT NULL,
            PRIMARY KEY (machine, name)
        ) WITHOUT ROWID""",
        """CREATE TABLE events (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            at REAL NOT NULL,
            experiment TEXT NOT NULL,
            run TEXT,
            what TEXT NOT NULL
        )""",
        "CREATE INDEX events_by_experiment ON events (experiment, id)",
    ),
    (
        # What the log of a fact is known by: a digest of its content.
        "ALTER TABLE evidence ADD COLUMN source TEXT",
        "CREATE INDEX evidence_by_source ON evidence (source)",
    ),
)
