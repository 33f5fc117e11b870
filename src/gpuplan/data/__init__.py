"""What is packaged as data: facts on accelerators, found by any of their usual names. It never reads anything else."""

from __future__ import annotations

import difflib
import re
import tomllib
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from gpuplan.model import Gpu
from gpuplan.units import GIB

__all__ = ["find_gpu", "gpu_readings", "gpus", "near_gpus"]

VENDOR_WORDS = frozenset({"nvidia", "geforce", "tesla", "amd", "radeon", "instinct", "corporation", "gpu"})


def gpus() -> dict[str, Gpu]:
    """Every row of gpus.toml by its name; one row is one device as PyTorch counts devices."""
    return dict(_table().gpus)


def find_gpu(name: str) -> Gpu | None:
    """The accelerator that `name` means: our name, nvidia-smi's, or a market's, as in `NVIDIA A100-SXM4-80GB`.

    A name with several readings (`A100`) means the one with the least memory; `gpu_readings` has them all.
    """
    readings = gpu_readings(name)
    return readings[0] if readings else None


def gpu_readings(name: str) -> tuple[Gpu, ...]:
    """Every accelerator that `name` may mean, the likeliest first; empty for an unknown name.

    Gigabytes at the end have to agree with the row, to the GiB or what ECC leaves of it: a `RTX 4090 48GB` is unknown.
    """
    key = _key(name)
    found = _table().readings.get(key)
    if found is not None:
        return tuple(_table().gpus[name] for name in found)
    for rest, gib in _memory_splits(key):
        named = (_table().gpus[name] for name in _table().readings.get(rest, ()))
        fitting = tuple(gpu for gpu in named if 0.9 * gib * GIB <= gpu.memory_bytes <= gib * GIB)
        if fitting:
            return fitting
    return ()


def near_gpus(name: str, *, limit: int = 3) -> tuple[str, ...]:
    """Names that `name` may have been meant to be, for a did-you-mean."""
    keys = difflib.get_close_matches(_key(name), _table().readings, n=2 * limit, cutoff=0.6)
    names = dict.fromkeys(_table().readings[key][0] for key in keys)
    return tuple(names)[:limit]


class Table(NamedTuple):
    """The rows by name, and the names behind every key that a name can be written as."""

    gpus: dict[str, Gpu]
    readings: dict[str, tuple[str, ...]]


@cache
def _table() -> Table:
    content = tomllib.loads(_gpus_toml())
    rows: list[dict[str, Any]] = content["gpu"]
    readings: dict[str, tuple[str, ...]] = {
        _key(name): (row["name"],) for row in rows for name in (row["name"], *row.get("aliases", ()))
    }
    readings.update({_key(family): tuple(names) for family, names in content["families"].items()})
    return Table({row["name"]: _gpu(row) for row in rows}, readings)


def _gpus_toml() -> str:
    return resources.files(__name__).joinpath("gpus.toml").read_text(encoding="utf-8")


def _gpu(row: dict[str, Any]) -> Gpu:
    return Gpu.model_validate({key: value for key, value in row.items() if key in Gpu.model_fields})


def _key(name: str) -> str:
    """`NVIDIA GeForce RTX_4090` and `rtx4090` have one key."""
    words = re.findall(r"[a-z0-9]+", name.lower()[:200])
    return "".join(word for word in words if word not in VENDOR_WORDS)


def _memory_splits(key: str) -> list[tuple[str, int]]:
    """`v100sxm232gb` may end in 2, 32 or 232 GB."""
    digits = re.search(r"(\d{1,6})gb$", key)
    if digits is None:
        return []
    end = digits.end(1)
    return [(key[:start], int(key[start:end])) for start in range(max(digits.start(1), end - 3), end)]
