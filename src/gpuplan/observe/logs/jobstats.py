"""`jobstats JOBID`: Princeton's summary of a job, with the use of its GPUs.

It tells how long a job took and what it used, never how fast a step was.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gpuplan.observe.logs.formats import Facts, Found
from gpuplan.observe.logs.machine import Shares, slurm_bytes, slurm_seconds
from gpuplan.observe.logs.memory import plausible_bytes
from gpuplan.observe.logs.slurm import job_state, job_texts, percent, run_or_refusal
from gpuplan.observe.records import Doubts, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.observe.logs.formats import Source

__all__ = ["Jobstats"]

LINE = re.compile(r"^\s*(Job ID|Job Name|State|GPUs|Run Time): *(.*)$", re.MULTILINE)
BAR = re.compile(r"^\s*(CPU utilization|GPU utilization) +\[[| ]*([\d.]+)%\]", re.MULTILINE)
GPU_MEMORY = re.compile(r"\(GPU \d+\): ([\d.]+ ?[KMGT]?B)/([\d.]+ ?[KMGT]?B) \(")
CPU_MEMORY = re.compile(r"^\s*[\w.-]+: ([\d.]+ ?[KMGT]?B)/[\d.]+ ?[KMGT]?B \([^\n]*per core", re.MULTILINE)


class Jobstats:
    """What `jobstats JOBID` prints."""

    name = "jobstats"

    def fits(self, source: Source) -> bool:
        """Whether its title is there."""
        return b"Slurm Job Statistics" in source.head

    def read(self, source: Source) -> Iterator[Found]:
        """One run a job; raises Unreadable."""
        for text in job_texts(source):
            stated = {key: value.strip() for key, value in LINE.findall(text)}
            doubts = Doubts()
            facts = Facts(self.name, source.path, name=f"job {stated.get('Job ID', '')}")
            facts.ranks = whole(stated.get("GPUs", "")) or None
            job_state(stated.get("State", ""), source.path.name, doubts)
            facts.figures = {"duration_s": slurm_seconds(stated.get("Run Time", "").partition(" (")[0])} | _usage(text)
            yield run_or_refusal(facts, doubts)


def _usage(text: str) -> dict[str, Any]:
    """What jobstats draws as bars, and its sizes by device and node."""
    shares = {"CPU utilization": Shares(), "GPU utilization": Shares()}
    for what, share in BAR.findall(text):
        percent(share + "%", shares[what])
    on_devices = [slurm_bytes(used) for used, _ in GPU_MEMORY.findall(text)]
    on_nodes = [slurm_bytes(used) for used in CPU_MEMORY.findall(text)]
    return {
        "cpu_busy": shares["CPU utilization"].mean(),
        "device_busy": shares["GPU utilization"].mean(),
        "peak_device_bytes": max((size for size in on_devices if size and plausible_bytes(size)), default=None),
        "peak_tree_bytes": sum(size for size in on_nodes if size) or None,
    }
