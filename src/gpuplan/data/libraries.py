"""What versions of libraries can and cannot do, where scripts are known to stumble. It never looks at any."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

__all__ = ["Api", "Kernels", "Libraries", "Pair", "libraries"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """Names of a library that came with a version, or went with one."""

    library: str
    kind: Literal["argument", "import", "override"]
    names: tuple[str, ...]
    of: str = ""
    parameters: int = 0
    since: str | None = None
    until: str | None = None
    source: str
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Releases of a library by the releases of another that they require."""

    library: str
    other: str
    same: dict[str, str]
    source: str
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernels:
    """The first release of torch with kernels for a major compute capability, and the least CUDA it is built with."""

    capability: int
    release: str
    cuda: int
    source: str
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Libraries:
    """All that is known: `newest` are the newest versions that were looked at, `brings` modules that come with one."""

    newest: dict[str, str]
    apis: tuple[Api, ...]
    pairs: tuple[Pair, ...]
    kernels: tuple[Kernels, ...]
    modules: dict[str, str]
    brings: dict[str, tuple[str, ...]]


@cache
def libraries() -> Libraries:
    """The table."""
    content = tomllib.loads(resources.files(__package__).joinpath("libraries.toml").read_text(encoding="utf-8"))
    sources: dict[str, dict[str, str]] = content["sources"]
    return Libraries(
        newest=content["newest"],
        apis=tuple(Api(**_sourced(row, sources) | {"names": tuple(row["names"])}) for row in content["api"]),
        pairs=tuple(Pair(other=row.pop("with"), **_sourced(row, sources)) for row in content["pair"]),
        kernels=tuple(Kernels(**_sourced(row, sources)) for row in content["kernels"]),
        modules=content["modules"],
        brings={name: tuple(modules) for name, modules in content["brings"].items()},
    )


def _sourced(row: dict[str, Any], sources: dict[str, dict[str, str]]) -> dict[str, Any]:
    source = sources[row["source"]]
    return row | {"source": source["title"], "date": source["date"]}
