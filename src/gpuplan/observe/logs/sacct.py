"""`sacct -P`: what Slurm's accounting says of jobs and their steps.

It tells how long a job took and what it used, never how fast a step was.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gpuplan.observe.logs.formats import Facts, Found, Refusal
from gpuplan.observe.logs.machine import Shares, slurm_bytes, slurm_seconds
from gpuplan.observe.logs.memory import plausible_bytes
from gpuplan.observe.logs.slurm import job_state, run_or_refusal
from gpuplan.observe.logs.stream import chunks, opened
from gpuplan.observe.records import Doubts, number, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.observe.logs.formats import Source

__all__ = ["Sacct"]

GPUS = re.compile(r"gres/gpu(?::([\w.-]+))?=(\d{1,6})")
USAGE = re.compile(r"gres/(gpumem|gpuutil)=([\d.]+[KMGT]?)")


class Sacct:
    """`sacct -P` (pipes between the columns): each job with its steps is a run."""

    name = "sacct"

    def fits(self, source: Source) -> bool:
        """Whether the first line names a job's columns."""
        first = source.head.splitlines()[:1]
        names = first[0].split(b"|") if first else []
        return len(names) > 1 and b"JobID" in names

    def read(self, source: Source) -> Iterator[Found]:
        """One run a job; raises Unreadable."""
        doubts, job, count = Doubts(), _Job(source), 0
        for cells in _rows(source, doubts):
            root = cells["JobID"].partition(".")[0]
            if job.root and root != job.root:
                yield job.run(doubts)
                job, count = _Job(source), count + 1
            job.take(root, cells)
        if job.root:
            yield job.run(doubts)
        elif not count:
            yield Refusal(str(source.path), "; ".join(("no job in it", *doubts.texts()))[:300])


class _Job:
    """One job of sacct: its first row, and the largest of what its steps used."""

    def __init__(self, source: Source) -> None:
        self.root = ""
        self._facts = Facts("sacct", source.path)
        self._state = ""

    def take(self, root: str, cells: dict[str, str]) -> None:
        """Take the job's row, or that of one of its steps."""
        self.root = root
        figures = self._facts.figures
        if "." not in cells["JobID"]:
            self._facts.name = cells.get("JobName") or f"job {root}"
            self._state = cells.get("State", "")
            self._facts.taken = _date(cells.get("Start", ""))
            figures["duration_s"] = slurm_seconds(cells.get("Elapsed", "")) or None
            figures["cpu_busy"] = _cpu_busy(cells)
            self._gpus(cells.get("AllocTRES", "") or cells.get("ReqTRES", ""))
        size = slurm_bytes(cells.get("MaxRSS", ""))
        if size:
            figures["peak_host_bytes"] = max(size, figures.get("peak_host_bytes") or 0)
        self._usage(cells.get("TRESUsageInMax", ""), cells.get("TRESUsageInAve", ""))

    def run(self, doubts: Doubts) -> Found:
        """The job as a run."""
        own = Doubts(doubts)
        job_state(self._state, self._facts.path.name, own)
        return run_or_refusal(self._facts, own)

    def _gpus(self, resources: str) -> None:
        found = GPUS.findall(resources)
        counts = [int(count) for _, count in found if 0 < int(count) <= 4096]
        self._facts.ranks = max(counts, default=None)
        self._facts.gpu = next((kind for kind, _ in found if kind), None)

    def _usage(self, largest: str, mean: str) -> None:
        for what, text in USAGE.findall(largest):
            size = slurm_bytes(text) if what == "gpumem" else None
            if size and plausible_bytes(size):
                figures = self._facts.figures
                figures["peak_device_bytes"] = max(size, figures.get("peak_device_bytes") or 0)
        for what, text in USAGE.findall(mean):
            share = Shares()
            if what == "gpuutil" and share.add((number(text) or 0.0) / 100):
                self._facts.figures["device_busy"] = share.mean()


def _rows(source: Source, doubts: Doubts) -> Iterator[dict[str, str]]:
    names: list[str] = []
    with opened(source.path) as file:
        for chunk in chunks(file, source.path.name, doubts):
            for line in chunk.data.decode("utf-8", "replace").splitlines():
                cells = [cell.strip() for cell in line.split("|")]
                if not names:
                    names = cells
                elif len(cells) == len(names) and chunk.whole and cells[names.index("JobID")][:1].isdigit():
                    yield dict(zip(names, cells, strict=True))
                elif line.strip() and cells != names:
                    doubts[f"{source.path.name}: a row has not the header's columns"] += 1


def _cpu_busy(cells: dict[str, str]) -> float | None:
    used, elapsed = slurm_seconds(cells.get("TotalCPU", "")), slurm_seconds(cells.get("Elapsed", ""))
    cores = whole(cells.get("AllocCPUS", "") or cells.get("NCPUS", ""))
    share = Shares()
    if used is None or not elapsed or not cores:
        return None
    return share.mean() if share.add(used / (elapsed * cores)) else None


def _date(text: str) -> str | None:
    return text[:10] if re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}", text) else None
