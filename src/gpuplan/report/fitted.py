"""The table of GPUs and batches: what fits, the largest batch, how many share a card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuplan.report.table import Column, Table
from gpuplan.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuplan.estimate.fit import Fit
    from gpuplan.model import MemoryEstimate, Run

__all__ = ["fit_table"]

MARKS = {"OK": "", "TIGHT": " TIGHT", "NO FIT": " NO", "UNKNOWN": " ?"}


def fit_table(run: Run, found: Sequence[Fit], batches: Sequence[int]) -> Table:
    """One row a GPU, one column a micro-batch."""
    columns = (
        Column("gpu", "GPU", importance=10),
        Column("capacity_bytes", "Memory", "bytes", importance=6),
        Column("largest_batch", "Largest", "count", importance=9),
        Column("copies", "Runs/card", "count", importance=5),
        *(Column(f"batch_{batch}", f"Batch {batch}", importance=8) for batch in batches),
    )
    rows = tuple(
        (
            one.gpu.name,
            one.at_batches[0].capacity_bytes if one.at_batches else one.gpu.memory_bytes,
            one.largest_batch,
            one.copies,
            *(_cell(memory) for memory in one.at_batches),
        )
        for one in found
    )
    notes = (
        "Device memory of one rank, in the median; NO: over the card, TIGHT: p90 over 92 % of it.",
        "Largest: the micro-batch whose p90 stays below 92 %. Runs/card: at the run's own batch, by memory alone.",
    )
    return Table("fit", f"{run.name}: what fits", columns, rows, notes)


def _cell(memory: MemoryEstimate) -> str:
    return f"{format_bytes(memory.device_bytes.p50)}{MARKS[memory.fits]}"
