"""Checkpoints: folders `checkpoint-<step>` that are either complete and proven or not there.

It never trusts a file: what is read back must have the size and the SHA-256 that were noted when it was written.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import torch

from gpuplan.workloads.agnews.errors import WorkloadError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STATE = "state.pt"
MANIFEST = "manifest.json"


class CheckpointError(WorkloadError):
    """A checkpoint that cannot be used, and why."""


def save(folder: Path, state: dict[str, Any], *, step: int, keep: int) -> Path:
    """Write `checkpoint-<step>` whole or not at all, and drop all but the newest `keep` up to it."""
    target = folder / f"checkpoint-{step}"
    try:
        temporary = _written(folder, state, step=step)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
        _sync(folder)
        for old in _in_order(folder, up_to=step)[keep:]:
            shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise WorkloadError(f"{target} cannot be written: {error}", hint="free space, or take --output-dir") from error
    return target


def load(path: Path) -> dict[str, Any]:
    """The state of a checkpoint, on the CPU; raises CheckpointError if it is damaged."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        _check(path / STATE, manifest)
        state: dict[str, Any] = torch.load(path / STATE, map_location="cpu", weights_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not a complete checkpoint: {error}") from error
    return state


def older(path: Path) -> list[Path]:
    """The checkpoints beside `path` that are older, newest first."""
    step = step_of(path)
    return [other for other in _in_order(path.parent, up_to=step) if step_of(other) < step]


def step_of(path: Path) -> int:
    """The step in a checkpoint's name, or -1."""
    number = path.name.removeprefix("checkpoint-")
    return int(number) if number.isascii() and number.isdigit() else -1


def _written(folder: Path, state: dict[str, Any], *, step: int) -> Path:
    for leftover in folder.glob(".checkpoint-*.writing"):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = folder / f".checkpoint-{step}.writing"
    temporary.mkdir(parents=True)
    file = temporary / STATE
    torch.save(state, file)
    manifest = {"step": step, "bytes": file.stat().st_size, "sha256": _sha256(file)}
    (temporary / MANIFEST).write_text(json.dumps(manifest) + "\n", encoding="utf-8")
    for path in (file, temporary / MANIFEST, temporary):
        _sync(path)
    return temporary


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check(file: Path, manifest: dict[str, Any]) -> None:
    size_bytes, wanted_bytes = file.stat().st_size, manifest["bytes"]
    if size_bytes != wanted_bytes:
        raise ValueError(f"{file.name} has {size_bytes} bytes of {wanted_bytes}")
    if _sha256(file) != manifest["sha256"]:
        raise ValueError(f"{file.name} was changed after it was written")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _in_order(folder: Path, *, up_to: int) -> list[Path]:
    return sorted(_up_to(folder, up_to), key=step_of, reverse=True)


def _up_to(folder: Path, step: int) -> Iterator[Path]:
    return (path for path in folder.glob("checkpoint-*") if 0 <= step_of(path) <= step)
