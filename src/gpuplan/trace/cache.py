"""Keeps traces by what they were made of: files, settings, software, tracer. It never decides what to trace."""

from __future__ import annotations

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuplan.units import MIB

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["key_of", "load", "save"]

CHILD = Path(__file__).parent / "child"
LARGE_BYTES = 64 * MIB


def key_of(request: Mapping[str, Any], python: str) -> str:
    """The name of a trace: hash of all that is asked, by which Python, and of the tracer itself."""
    asked = json.dumps([request, str(Path(python).absolute()), _tracer()], sort_keys=True, default=str)
    return hashlib.sha256(asked.encode()).hexdigest()


def load(folder: Path, key: str) -> dict[str, Any] | None:
    """The document of an earlier trace, if each file that it read is still what it was.

    Those are the files of the working directory that the program imported or opened, by content, and the installed
    packages, by the time and size of their first file.
    """
    try:
        document: dict[str, Any] = json.loads((folder / f"{key}.json").read_text("utf-8"))
        fresh = all(_digest(path) == digest for path, digest in document["digests"])
        fresh = fresh and all(_stamp(path) == (time, size) for path, time, size in document["packages"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return document if fresh else None


def save(folder: Path, key: str, document: Mapping[str, Any], files: Sequence[str]) -> None:
    """Keep a document with the state of the files it was made of."""
    digests = [(path, _digest(path)) for path in files]
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f"{key}.{os.getpid()}.new"
    new.write_text(json.dumps({**document, "digests": digests}), "utf-8")
    new.replace(folder / f"{key}.json")


@lru_cache(maxsize=1)
def _tracer() -> str:
    """A hash of the child's own files."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(CHILD.glob("*.py")))).hexdigest()


def _digest(path: str) -> str:
    """Content; of a large file, as a data set is, its time of change and size."""
    time, size = _stamp(path)
    if size > LARGE_BYTES:
        return f"{time} {size}"
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _stamp(path: str) -> tuple[int, int]:
    facts = Path(path).stat()
    return facts.st_mtime_ns, facts.st_size
