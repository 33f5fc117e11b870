"""`seff JOBID`, once or several times in a text.

It tells how long a job took and what it used, never how fast a step was.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gpuplan.observe.logs.formats import Facts, Found
from gpuplan.observe.logs.machine import Shares, slurm_bytes, slurm_seconds
from gpuplan.observe.logs.slurm import job_state, job_texts, percent, run_or_refusal
from gpuplan.observe.records import Doubts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.observe.logs.formats import Source

__all__ = ["Seff"]

LINE = re.compile(r"^\s*(Job ID|State|CPU Efficiency|Job Wall-clock time|Memory Utilized): *(.*)$", re.MULTILINE)


class Seff:
    """What `seff JOBID` prints, once or several times."""

    name = "seff"

    def fits(self, source: Source) -> bool:
        """Whether its lines are there."""
        return b"Job Wall-clock time:" in source.head and b"Job ID:" in source.head

    def read(self, source: Source) -> Iterator[Found]:
        """One run a job; raises Unreadable."""
        for text in job_texts(source):
            stated = {key: value.strip() for key, value in LINE.findall(text)}
            doubts = Doubts()
            facts = Facts(self.name, source.path, name=f"job {stated.get('Job ID', '')}")
            job_state(stated.get("State", ""), source.path.name, doubts)
            busy, sizes = Shares(), slurm_bytes(stated.get("Memory Utilized", "").partition(" (")[0])
            percent(stated.get("CPU Efficiency", ""), busy)
            facts.figures = {
                "duration_s": slurm_seconds(stated.get("Job Wall-clock time", "")),
                "peak_tree_bytes": sizes or None,
                "cpu_busy": busy.mean(),
            }
            yield run_or_refusal(facts, doubts)
