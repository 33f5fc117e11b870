"""A trace as text and tables: what is alive at the peak, what is behind it, what is reserved. It traces nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gpuplan.report.table import Column, Table
from gpuplan.units import format_bytes, format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuplan.flow.trace import TracedRun
    from gpuplan.trace import Behind, Largest, Part, Traced

__all__ = ["Memory", "alike", "as_json", "behind_table", "headline", "largest_line", "memory_of", "peak_table"]

BEHIND_SHOWN = 10
PEAK_COLUMNS = (
    Column("component", "Alive at the peak", importance=10),
    Column("alive_bytes", "Bytes", "bytes", importance=9),
)
BEHIND_COLUMNS = (
    Column("alive_bytes", "Bytes", "bytes", importance=10),
    Column("count", "Tensors", "count", importance=5),
    Column("component", "Component", importance=6),
    Column("operator", "Operator", importance=7),
    Column("place", "Your line", importance=9),
)


class Memory(NamedTuple):
    """Bytes at one micro-batch: of tensors at the peak, and of what the caching allocator holds for them on a GPU."""

    micro_batch: int
    allocated_bytes: float
    reserved_bytes: int | None
    reserved_bytes_expandable_segments: int | None


def memory_of(traced: Traced, batch: int) -> Memory:
    """Both numbers at `batch`, which was traced or lies on the lines of two traces."""
    peak = _part(traced, batch).footprint.peak(batch)
    reserved = [traced.reserved(batch, expandable_segments=expands) for expands in (False, True)]
    return Memory(batch, peak.total_bytes(batch), *(found and found.reserved_bytes for found in reserved))


def headline(traced: Traced, memory: Memory) -> str:
    """`124M parameters; peak 12.3 GiB in backward at micro-batch 8, reserved 13.1 GiB; 7.15 TFLOP a step`."""
    batch = memory.micro_batch
    found = _part(traced, batch).footprint
    kernels = sum(operators.kernels for operators in found.operators)
    reserved = ""
    if memory.reserved_bytes is not None and memory.reserved_bytes_expandable_segments is not None:
        expandable = format_bytes(memory.reserved_bytes_expandable_segments)
        reserved = f", reserved {format_bytes(memory.reserved_bytes)} ({expandable} with expandable segments)"
    return (
        f"{format_count(found.parameters)} parameters; peak {format_bytes(memory.allocated_bytes)} in "
        f"{found.peak(batch).phase} at micro-batch {batch}{reserved}; {format_count(found.flops(batch))}FLOP and "
        f"{kernels:,} kernels a step; checkpoint {format_bytes(found.checkpoint_bytes)}"
    )


def alike(found: Sequence[TracedRun]) -> list[list[TracedRun]]:
    """The traced runs, those together of which a screen would show the same: a setting that changes no tensor."""
    groups: dict[object, list[TracedRun]] = {}
    for one in found:
        traced, batch = one.traced, one.micro_batch
        shown = headline(traced, memory_of(traced, batch)), peak_table(traced, batch), behind_table(traced, batch)
        groups.setdefault((*shown, one.largest), []).append(one)
    return list(groups.values())


def largest_line(largest: Largest) -> str:
    """`largest micro-batch in 24 GiB: 37 (...)`, with how it was found."""
    room = format_bytes(largest.room_bytes)
    answer = f"largest micro-batch in {room}: {largest.micro_batch:,}"
    if not largest.micro_batch:
        answer = f"not even one row fits in {room}"
    elif not largest.exact:
        answer = f"a micro-batch of {largest.micro_batch:,} fits in {room}, and more may"
    count = len(largest.traced_at)
    how = f", found by bisection with {count} further trace{'s' * (count != 1)}" if count else ""
    return f"{answer}{how}: {largest.because}"


def peak_table(traced: Traced, batch: int) -> Table:
    """The components at the moment that is the peak at `batch`."""
    part = _part(traced, batch)
    peak = part.footprint.peak(batch)
    sizes = sorted(((line.at(batch), name) for name, line in peak.alive_bytes.items()), reverse=True)
    rows = tuple((name, size) for size, name in sizes if size > 0)
    notes = list(part.assumptions)
    if traced.difference:
        notes.insert(0, f"no lines in the batch, each batch is traced by itself: {traced.difference}")
    return Table("peak", f"{traced.target} at micro-batch {batch}", PEAK_COLUMNS, rows, tuple(notes))


def behind_table(traced: Traced, batch: int) -> Table:
    """The largest tensors at that moment, with the line of the user's program that made them."""
    peak = max(_part(traced, batch).peaks, key=lambda one: one.moment.total_bytes(batch))
    behind = sorted(peak.behind, key=lambda one: -one.alive_bytes.at(batch))[:BEHIND_SHOWN]
    rows = tuple((one.alive_bytes.at(batch), one.tensors, one.component, one.operator, _place(one)) for one in behind)
    return Table("behind", "Behind the peak", BEHIND_COLUMNS, rows)


def as_json(found: TracedRun) -> dict[str, Any]:
    """One traced run for `--json`."""
    traced, batch = found.traced, found.micro_batch
    part = _part(traced, batch)
    return {
        "run": found.run.name,
        "micro_batch": batch,
        "ranks": found.run.ranks,
        "holds_at_every_batch": traced.is_linear,
        "difference": traced.difference,
        "memory": memory_of(traced, batch)._asdict(),
        "largest": found.largest._asdict() if found.largest else None,
        "footprint": part.footprint.model_dump(mode="json"),
        "assumptions": list(part.assumptions),
        "unknown_kernels": list(part.unknown),
        "versions": dict(traced.versions),
    }


def _part(traced: Traced, batch: int) -> Part:
    part = traced.part(batch)
    assert part is not None, "trace_runs traces the run's own batch"
    return part


def _place(one: Behind) -> str | None:
    place = one.place or one.library
    if place is None:
        return None
    path, here = Path(place.path), Path.cwd()
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    return f"{shown}:{place.line} in {place.function}"
