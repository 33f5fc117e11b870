"""What the readers of Slurm's tools share: the texts of jobs, their state, what to say where nothing was measured.

It never asks Slurm itself.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from gpuplan.observe.logs.formats import Facts, Found, Refusal
from gpuplan.observe.logs.stream import chunks, opened
from gpuplan.observe.records import Doubts, number

if TYPE_CHECKING:
    from gpuplan.observe.logs.formats import Source
    from gpuplan.observe.logs.machine import Shares

__all__ = ["job_state", "job_texts", "percent", "run_or_refusal"]

MOST_TEXT_BYTES = 8 * 1024 * 1024
ANSI = re.compile(r"\x1b\[[\d;]*m")
PERCENT = re.compile(r"([\d.]{1,8})%")


def job_texts(source: Source) -> list[str]:
    """The parts of a text that each begin with a job's number, of a very long text the first 8 MiB; at least one."""
    text = _text(source)
    starts = [found.start() for found in re.finditer(r"^\s*Job ID:", text, re.MULTILINE)]
    return [text[start:end] for start, end in pairwise([*starts, len(text)])] or [""]


def percent(text: str, shares: Shares) -> None:
    """Add the first percentage in the text, if it is a share."""
    found = PERCENT.search(text)
    share = number(found.group(1)) if found else None
    if share is not None:
        shares.add(share / 100)


def job_state(state: str, name: str, doubts: Doubts) -> None:
    """A job that did not end well counts against its figures."""
    word = state.partition(" ")[0].upper()
    if word and word != "COMPLETED":
        doubts[f"{name}: the job's state is {word[:30]}"] += 1


def run_or_refusal(facts: Facts, doubts: Doubts) -> Found:
    """The job as a run, where anything of it was measured."""
    if not any(facts.figures.values()):
        return Refusal(str(facts.path), f"{facts.name.strip()}: nothing was measured")
    return facts.run(doubts)


def _text(source: Source) -> str:
    doubts, kept = Doubts(), bytearray()
    with opened(source.path) as file:
        for chunk in chunks(file, source.path.name, doubts):
            kept += chunk.data
            if len(kept) > MOST_TEXT_BYTES:
                break
    return ANSI.sub("", kept.decode("utf-8", "replace"))
