"""Configurations that a document prints: keys that their known loader refuses, counts that one machine cannot serve."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data.loaders import loaders_of
from gpuplan.model import Finding
from gpuplan.verify.claims.passages import FENCES
from gpuplan.verify.configs import known_refusals, refused
from gpuplan.verify.searches import IGNORED_SEEDS, SEED_LIST, seeds_without_gpus, workers_without_gpus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuplan.verify.claims.machines import OneMachine

__all__ = ["crowded_searches", "refused_keys"]

KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z_][\w.-]*):(?:\s+(?P<value>[^#\n]*))?(?:#.*)?$")
FILE = re.compile(r"[\w./-]+\.ya?ml\b")
SEEDS, WORKERS = "num_seeds", "num_workers"


class Key(NamedTuple):
    """A key of a printed configuration with those above it, its value, and its line."""

    path: tuple[str, ...]
    value: str
    line: int


class Block(NamedTuple):
    """One fenced block of keys, and the file that the words before it name."""

    file: str
    keys: tuple[Key, ...]


def refused_keys(text: str, name: str) -> Iterator[Finding]:
    """Keys in a block under the name of a known file, which the loader of that file refuses."""
    for block in _blocks(text):
        lines = {key.path: key.line for key in block.keys}
        for one in known_refusals(block.file, list(lines)) if _is_of_its_file(block) else ():
            yield Finding(
                severity="warning",
                check="claim-config-key",
                message=f"{block.file} would have {'.'.join(one.path)}, which its loader refuses",
                place=f"{name}:{lines[one.path]}",
                because=one.because,
                fix=one.fix,
            )


def crowded_searches(text: str, name: str, machine: OneMachine | None) -> Iterator[Finding]:
    """A printed search with more seeds or workers than one machine has GPUs, or with seeds that it ignores."""
    blocks = list(_blocks(text))
    if not any(loaders_of(block.file) for block in blocks):
        return
    keys = [key for block in blocks for key in block.keys]
    yield from (_ignored(key, name) for key in keys if key.path[-2:] == SEED_LIST[-2:])
    for key in keys if machine else ():
        count = int(key.value) if key.value.isdigit() else 0
        if machine is None or count <= machine.gpus:
            continue
        if key.path[-1] == SEEDS:
            yield _crowded(
                key,
                name,
                machine,
                f"{count - machine.gpus} of them would train on the CPU",
                seeds_without_gpus(count, machine.gpus),
            )
        elif key.path[-2:] == ("agent", WORKERS):
            yield _crowded(
                key,
                name,
                machine,
                f"{count - machine.gpus} are never started",
                workers_without_gpus(count, machine.gpus),
            )


def _ignored(key: Key, name: str) -> Finding:
    return Finding(
        severity="warning",
        check="claim-search",
        message=f"{'.'.join(key.path)} lists seeds, which the search takes and never reads",
        place=f"{name}:{key.line}",
        because=IGNORED_SEEDS,
        fix=f"give `{SEEDS}` alone",
    )


def _is_of_its_file(block: Block) -> bool:
    """Whether most of its outermost keys are known: words before a block may name a file that it is no part of."""
    outermost = {key.path[:1] for key in block.keys}
    strange = min((len(refused(outermost, loader.keys)) for loader in loaders_of(block.file)), default=0)
    return 2 * strange <= len(outermost)


def _crowded(key: Key, name: str, machine: OneMachine, said: str, because: str) -> Finding:
    is_seeds = key.path[-1] == SEEDS
    return Finding(
        severity="warning" if is_seeds else "note",
        check="claim-search",
        message=f"{key.value} {'seeds' if is_seeds else 'workers'} on machines of {machine.gpus} GPUs each: {said} "
        f"(lines {', '.join(map(str, sorted((machine.line, key.line))))})",
        place=f"{name}:{key.line}",
        because=f"the search runs on one machine; {because}",
        fix=f"`{key.path[-1]}: {machine.gpus}`, or a machine with {key.value} GPUs",
    )


def _blocks(text: str) -> Iterator[Block]:
    """Fenced blocks that hold keys, each with the last file named in a heading or on the line before it."""
    file, start = "", None
    lines = text.splitlines()
    for index, line in enumerate(lines):
        if line.lstrip().startswith(FENCES):
            if start is not None:
                yield Block(file, tuple(_keys(lines[start:index], first=start + 1)))
            start = index + 1 if start is None else None
        elif start is None and line.startswith("#"):
            file = next(iter(FILE.findall(line)), "")
        elif start is None and line.strip():
            file = next(iter(FILE.findall(line)), file)


def _keys(lines: Sequence[str], *, first: int) -> Iterator[Key]:
    """Keys by their indentation; lists and what stands in brackets are values."""
    above: list[tuple[int, str]] = []
    for number, line in enumerate(lines, start=first):
        match = KEY.match(line)
        if match:
            indent = len(match["indent"])
            above = [(column, key) for column, key in above if column < indent]
            path = (*(key for _, key in above), match["key"])
            above.append((indent, match["key"]))
            yield Key(path, (match["value"] or "").strip(), number)
