"""A trace as tables: what is alive at the peak, what is behind it, and the peak over the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuplan.report.table import Column, Table
from gpuplan.units import format_bytes, format_count

if TYPE_CHECKING:
    from gpuplan.trace import Behind, Traced

__all__ = ["behind_table", "headline", "peak_table"]

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


def headline(traced: Traced, batch: int) -> str:
    """`124M parameters; peak 12.3 GiB in backward at batch 8; 7.15 TFLOP and 1,276 kernels a step`."""
    found = traced.at(batch) or traced.footprint
    peak = found.peak(batch)
    kernels = sum(operators.kernels for operators in found.operators)
    return (
        f"{format_count(found.parameters)} parameters; peak {format_bytes(peak.total_bytes(batch))} in {peak.phase} "
        f"at micro-batch {batch}; {format_count(found.flops(batch))}FLOP and {kernels:,} kernels a step; "
        f"checkpoint {format_bytes(found.checkpoint_bytes)}"
    )


def peak_table(traced: Traced, batch: int) -> Table:
    """The components at the moment that is the peak at `batch`."""
    peak = (traced.at(batch) or traced.footprint).peak(batch)
    sizes = sorted(((line.at(batch), name) for name, line in peak.alive_bytes.items()), reverse=True)
    rows = tuple((name, size) for size, name in sizes if size > 0)
    notes = list(traced.assumptions)
    if traced.difference:
        notes.insert(0, f"the batches differ in more than size: {traced.difference}")
    return Table("peak", f"{traced.target} at micro-batch {batch}", PEAK_COLUMNS, rows, tuple(notes))


def behind_table(traced: Traced, batch: int) -> Table:
    """The largest tensors at that moment, with the line of the user's program that made them."""
    peak = max(traced.peaks, key=lambda one: one.moment.total_bytes(batch))
    behind = sorted(peak.behind, key=lambda one: -one.alive_bytes.at(batch))[:BEHIND_SHOWN]
    rows = tuple((one.alive_bytes.at(batch), one.tensors, one.component, one.operator, _place(one)) for one in behind)
    return Table("behind", "Behind the peak", BEHIND_COLUMNS, rows)


def _place(one: Behind) -> str | None:
    place = one.place or one.library
    return f"{place.path}:{place.line} in {place.function}" if place else None
