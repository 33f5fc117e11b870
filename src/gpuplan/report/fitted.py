"""Tables of GPUs and batches, and of what to do where a run does not fit. They estimate nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuplan.report.table import Column, Table
from gpuplan.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuplan.estimate.fit import Fit
    from gpuplan.estimate.remedies import Ladder, Remedy
    from gpuplan.model import MemoryEstimate, Run

__all__ = ["because_lines", "fit_table", "ladder_json", "remedies_table"]

CERTAIN = 0.995
"""From here on a percentage would say 100."""
MARKS = {"OK": "", "TIGHT": " TIGHT", "NO FIT": " NO", "UNKNOWN": " ?"}


def fit_table(run: Run, found: Sequence[Fit], batches: Sequence[int], *, own_batch: int | None = None) -> Table:
    """One row a GPU, one column a micro-batch; on a narrow screen `own_batch`, the run's own, stays longest."""
    columns = (
        Column("gpu", "GPU", importance=10),
        Column("capacity_bytes", "Memory", "bytes", importance=6),
        Column("largest_batch", "Largest", "count", importance=9),
        Column("copies", "Runs/card", "count", importance=8),
        *(Column(f"batch_{batch}", f"Batch {batch}", importance=9 if batch == own_batch else 7) for batch in batches),
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
    one = "rank" if run.copies == 1 else f"copy, and whether {run.copies} fit on the card together"
    notes = (
        f"Device memory of one {one}, in the median, with the probability of OOM where it is in doubt.",
        "NO from 50 % on; TIGHT from 5 % on, or where it fits only once the allocator has given its free blocks back.",
        "Largest: the largest micro-batch below 5 %. Runs/card: processes at the run's own batch, by memory alone.",
    )
    return Table("fit", f"{run.name}{_gang(run)}: what fits", columns, rows, notes)


def because_lines(found: Sequence[Fit]) -> Iterator[str]:
    """What the memory of one process is made of; where nothing is known of it, what would tell."""
    yield found[0].own.device_bytes.because
    if found[0].own.fits == "UNKNOWN":
        yield "-> say what a step needs: `footprint: {model: ...}` or `{trace: ...}`; or `gpuplan probe` measures it"


def _gang(run: Run) -> str:
    return f", {run.copies} copies" if run.copies > 1 else ""


def _cell(memory: MemoryEstimate) -> str:
    return f"{format_bytes(memory.device_bytes.p50)}{MARKS[memory.fits]}{_doubt(memory)}"


def _doubt(memory: MemoryEstimate) -> str:
    """The probability of OOM where it is neither nothing nor certain."""
    oom = memory.oom_probability
    return f" {oom:.0%}" if oom is not None and memory.fits != "OK" and oom < CERTAIN else ""


def remedies_table(run: Run, ladder: Ladder) -> Table:
    """One row a remedy, in the order that hurts least; what could not be estimated is said below."""
    columns = (
        Column("name", "Remedy", importance=10),
        Column("keeps", "Keeps", importance=7),
        Column("device_bytes", "Memory", importance=9),
        Column("step_ratio", "Step time", "ratio", importance=8),
        Column("change", "What to change", importance=9),
    )
    every = (*ladder.remedies, *([ladder.pair] if ladder.pair else []))
    rows = tuple(
        (one.name, one.keeps, _cell(one.memory), one.step_ratio, one.change) for one in every if one.memory is not None
    )
    need, capacity = format_bytes(ladder.memory.device_bytes.p50), format_bytes(ladder.memory.capacity_bytes)
    times = f"{run.copies} x " if run.copies > 1 else ""
    title = f"{run.name} on {ladder.gpu}: {times}{need} of {capacity}, and what to do about it"
    return Table("remedies", title, columns, rows, tuple(_notes(ladder, every)))


def _notes(ladder: Ladder, every: Sequence[Remedy]) -> Iterator[str]:
    first = ladder.first
    if first is not None:
        yield f"First: {first.name}; {first.because}."
    elif not ladder.unknown:
        yield "Nothing of it alone, nor two together, makes it fit."
    if ladder.unknown:
        yield f"{ladder.unknown}."
    unknown: dict[str, list[str]] = {}
    for one in every:
        if one.memory is None:
            unknown.setdefault(one.because, []).append(one.name)
    yield from (f"Not estimated: {', '.join(names)}; {because}." for because, names in unknown.items())


def ladder_json(ladder: Ladder) -> dict[str, Any]:
    """All of it for programs; `first` is the name of the remedy to take."""
    return {
        "first": ladder.first.name if ladder.first else None,
        "remedies": [_remedy_json(one) for one in ladder.remedies],
        "pair": _remedy_json(ladder.pair) if ladder.pair else None,
        "unknown": ladder.unknown or None,
    }


def _remedy_json(remedy: Remedy) -> dict[str, Any]:
    memory = remedy.memory.model_dump(mode="json") if remedy.memory else None
    return {**remedy._asdict(), "memory": memory}
