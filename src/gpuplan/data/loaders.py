"""Keys that programs take of their configuration files and refuse others of. It never reads such a file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, TypeAlias

__all__ = ["Keys", "Loader", "loaders_of"]

Keys: TypeAlias = "dict[str, Keys | None]"
"""What may stand at one level, and below each of it; None: below it nothing is looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """One version of a program: its name, the file that it reads, and the keys that it takes of it."""

    name: str
    file: str
    keys: Keys
    source: str
    date: str


def loaders_of(name: str) -> tuple[Loader, ...]:
    """The programs that read a file of this name, `bfts_config.yaml` or `my_bfts_config.yaml`; the original first."""
    return tuple(loader for loader in _loaders() if name.rpartition("/")[2].endswith(loader.file))


@cache
def _loaders() -> tuple[Loader, ...]:
    content = tomllib.loads(resources.files(__package__).joinpath("loaders.toml").read_text(encoding="utf-8"))
    rows: dict[str, dict[str, Any]] = {row["name"]: row for row in content["loader"]}
    return tuple(_loader(row, rows) for row in rows.values())


def _loader(row: dict[str, Any], rows: dict[str, dict[str, Any]]) -> Loader:
    keys: Keys = {}
    for part in (rows[row["extends"]], row) if "extends" in row else (row,):
        for key in part["keys"]:
            _add(keys, key, part.get("blocks", {}))
    return Loader(name=row["name"], file=row["file"], keys=keys, source=row["source"], date=row["date"])


def _add(keys: Keys, key: str, blocks: dict[str, list[str]]) -> None:
    path, _, block = key.partition("@")
    for below in blocks[block] if block else ("",):
        *parents, last = f"{path}.{below}".rstrip(".").split(".")
        level = keys
        for parent in parents:
            if last == "*" and parent == parents[-1]:
                level[parent] = None
                break
            level = _below(level, parent)
        else:
            level[last] = None


def _below(level: Keys, name: str) -> Keys:
    found = level.get(name)
    if found is None:
        found = level[name] = {}
    return found
