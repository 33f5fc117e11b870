"""One SQLite file: opened, brought up to date, its errors put into words. It knows no runs, and deletes nothing.

Write-ahead log and a sync with each commit: readers never wait, and what was committed survives a kill or a power cut.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gpuplan.errors import EXIT_MACHINE, UserError
from gpuplan.store.schema import READABLE_FROM, STEPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Database"]

APPLICATION_ID = 0x47504C4E
WAIT_FOR_WRITER_S = 30.0
UNUSABLE = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_NOLFS")


class Database:
    """An open file and its transactions."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.connection = connection
        connection.row_factory = sqlite3.Row

    @classmethod
    def open(cls, path: Path) -> Database:
        """Open to write; made if it is not there, and brought up to date."""
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, timeout=WAIT_FOR_WRITER_S, isolation_level=None)
            database = cls(path, connection)
            with _closed_if_bad(connection):
                # Nothing may be written to a file that turns out not to be ours.
                database.check()
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA foreign_keys = ON")
                database.upgrade()
        return database

    @classmethod
    def open_to_read(cls, path: Path) -> Database:
        """Open to read, also where nothing can be written and while another process writes."""
        if not path.exists():
            raise UserError(f"there is no store at {path}", hint="nothing has been run here yet: `gpuplan apply`")
        with _explained(path):
            connection = _readable(path)
            database = cls(path, connection)
            with _closed_if_bad(connection):
                database.check()
                if database.version() < READABLE_FROM:
                    raise UserError(
                        f"{path} was written by an older gpuplan",
                        hint="run `gpuplan apply` once to bring it up to date",
                    )
        return database

    def close(self) -> None:
        """Let go of the file."""
        self.connection.close()

    def version(self) -> int:
        """How many steps of the schema the file has seen."""
        return int(self.connection.execute("PRAGMA user_version").fetchone()[0])

    def check(self) -> None:
        """Refuse a file of another program or of a newer gpuplan."""
        is_empty = self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        owner = self.connection.execute("PRAGMA application_id").fetchone()[0]
        if not is_empty and owner != APPLICATION_ID:
            raise UserError(f"{self.path} is the database of another program", hint="name another state folder")
        if self.version() > len(STEPS):
            raise UserError(
                f"{self.path} was written by a newer gpuplan (schema {self.version()}, this one knows {len(STEPS)})",
                hint="update gpuplan: pip install --upgrade gpuplan",
            )

    def upgrade(self) -> None:
        """Take the steps of the schema that the file has not seen; each with its record in one transaction.

        The last line writes in any case: SQLite opens a file that cannot be written without a word.
        """
        for number, statements in enumerate(STEPS, start=1):
            with self.transaction():
                if self.version() >= number:
                    continue
                for statement in statements:
                    self.connection.execute(statement)
                self.connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self.connection.execute(f"PRAGMA user_version = {number}")
        with self.transaction():
            self.connection.execute(f"PRAGMA user_version = {len(STEPS)}")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing of what is written inside."""
        with _explained(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def rows(self, query: str, values: Iterable[Any] = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        with _explained(self.path):
            return self.connection.execute(query, tuple(values)).fetchall()


def _readable(path: Path) -> sqlite3.Connection:
    """A connection that reads, whatever the folder allows.

    SQLite reads a file with a write-ahead log only where it may write beside it, or finds the log's index there. Else
    the file is read as it is if it has no log, and through a copy in memory if it has one.
    """
    address = f"file:{quote(str(path.absolute()))}"
    connection = sqlite3.connect(f"{address}?mode=ro", uri=True, timeout=WAIT_FOR_WRITER_S, isolation_level=None)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorname not in {"SQLITE_CANTOPEN", "SQLITE_READONLY_DIRECTORY", "SQLITE_READONLY_CANTINIT"}:
            raise
    except sqlite3.Error:
        connection.close()
        raise
    else:
        return connection
    log = Path(f"{path}-wal")
    if log.exists() and log.stat().st_size:
        return _copied(path, log)
    return sqlite3.connect(f"{address}?mode=ro&immutable=1", uri=True, isolation_level=None)


def _copied(path: Path, log: Path) -> sqlite3.Connection:
    memory = sqlite3.connect(":memory:", isolation_level=None)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(path, Path(folder) / "copy")
        shutil.copyfile(log, Path(folder) / "copy-wal")
        with contextlib.closing(sqlite3.connect(Path(folder) / "copy")) as copy:
            copy.backup(memory)
    return memory


@contextlib.contextmanager
def _closed_if_bad(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Say what an error of SQLite or of the file system means for the user."""
    try:
        yield
    except sqlite3.Error as error:
        words = _in_words(path, getattr(error, "sqlite_errorname", ""), str(error))
        if words is None:
            raise
        raise words from error
    except OSError as error:
        raise _cannot_write(path, error.strerror or str(error)) from error


def _in_words(path: Path, name: str, text: str) -> UserError | None:
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return UserError(
            f"{path} is damaged or not a store of gpuplan ({text}); it was left as it is",
            hint=f"move it away (mv {path} {path}.damaged); runs keep their own records in {path.parent / 'runs'}",
            exit_code=EXIT_MACHINE,
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return UserError(
            f"another process has been writing to {path} for more than {WAIT_FOR_WRITER_S:.0f} s",
            hint="try again when it has ended",
            exit_code=EXIT_MACHINE,
        )
    return _cannot_write(path, text) if name.startswith(UNUSABLE) else None


def _cannot_write(path: Path, reason: str) -> UserError:
    return UserError(
        f"cannot use {path}: {reason}",
        hint=f"free space in {path.parent} or make it writable, then run the same command again: "
        "running runs are taken up, finished ones are kept",
        exit_code=EXIT_MACHINE,
    )
