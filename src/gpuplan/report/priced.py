"""The ways to run a sweep: cost, time, GPUs, utilization, catches, the bill of one. It chooses none."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gpuplan.report.table import Column, Table, clean
from gpuplan.units import format_duration, format_range, format_usd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuplan.model import Finding, Option, Quantity, RentedMachine
    from gpuplan.place.shown import Draft

__all__ = [
    "advice_lines",
    "bill_table",
    "bound_line",
    "catch_lines",
    "draft_line",
    "gpus_table",
    "is_of_offers",
    "machines_words",
    "options_table",
]

OPTION_COLUMNS = (
    Column("chosen", "", importance=10),
    Column("option", "Option", importance=10),
    Column("cost_usd", "Cost", importance=10),
    Column("makespan_s", "Time", importance=9),
    Column("machines", "On", importance=8),
    Column("gpus", "GPUs", "count", importance=7),
    Column("utilization", "Busy", importance=6),
)
BILL_COLUMNS = (Column("what", "What", importance=10), Column("cost_usd", "Cost", importance=10))
GPU_COLUMNS = (
    Column("gpu", "GPU", importance=10),
    *(one for one in OPTION_COLUMNS[2:] if one.key != "gpus"),
    Column("catch", "Catch", importance=5),
)
OF_OFFERS = frozenset({"offers", "gpu-unknown", "unstated", "deadline", "budget", "memory", "memory-tight"})
MOST_SHOWN = 3
"""Kinds of machines in a line; the table has them all."""
TICK = "\N{CHECK MARK}"


def is_of_offers(finding: Finding) -> bool:
    """Whether it says why something has no price."""
    return finding.check in OF_OFFERS or (finding.check == "place" and finding.severity == "error")


def options_table(options: Sequence[Option]) -> Table:
    """One row an option, the chosen one first and ticked."""
    rows = tuple(
        (
            TICK if option.chosen else "",
            option.title,
            _usd(option.cost_usd),
            _time(option.makespan_s),
            machines_words(option.machines, shown=None if option.chosen else MOST_SHOWN),
            option.gpus,
            f"{option.utilization:.0%}",
        )
        for option in options
    )
    notes = () if any(option.chosen for option in options) else ("None of them keeps the limits.",)
    return Table("options", "Ways to run it", OPTION_COLUMNS, rows, notes if rows else ())


def gpus_table(options: Sequence[Option]) -> Table:
    """One row a GPU kind, the cheapest first."""
    rows = tuple(
        (
            option.title,
            _usd(option.cost_usd),
            _time(option.makespan_s),
            machines_words(option.machines, shown=None if option.chosen else MOST_SHOWN),
            f"{option.utilization:.0%}",
            "; ".join(option.catches),
        )
        for option in options
    )
    return Table("gpus", "The cheapest on each GPU alone", GPU_COLUMNS, rows)


def bill_table(option: Option) -> Table:
    """The bill line by line."""
    rows = [(line.what, _usd(line.cost_usd)) for line in option.bill.lines]
    return Table("bill", "The bill", BILL_COLUMNS, (*rows, ("total", _usd(option.bill.total_usd))))


def draft_line(draft: Draft) -> str:
    """`$3.40 in 5h10m on 2 x RTX 4090 at vast, 4.1 % above the least possible`; of the first, that it is the first."""
    known = "first plan" if draft.gap is None else f"{100 * draft.gap:.1f} % above the least possible"
    on = machines_words(draft.machines, shown=MOST_SHOWN)
    return clean(f"{format_usd(draft.cost_usd)} in {format_duration(draft.makespan_s)} on {on}, {known}")


def bound_line(options: Sequence[Option], *, prices_as_of: str | None) -> str:
    """`machines 0.6 % above the least possible, $7.16; oldest price 2026-11-16`."""
    chosen = next((option for option in options if option.chosen), None)
    dated = f"oldest price {prices_as_of}" if prices_as_of else ""
    if chosen is None or chosen.gap is None:
        return dated
    above = f"machines {100 * chosen.gap:.1f} % above the least possible, {format_usd(chosen.bound_usd)}"
    return f"{above}; {dated}" if dated else above


def catch_lines(options: Sequence[Option]) -> list[str]:
    """What is to be said against all options, then against each; never in a column that a narrow screen leaves out."""
    of_all = [catch for catch in (options[0].catches if options else ()) if _is_of_all(catch, options)]
    whose = "all of them" if len(options) > 1 else "the only way"
    lines = [f"! {whose}: {'; '.join(of_all)}"] if of_all else []
    for option in options:
        own = [catch for catch in option.catches if catch not in of_all]
        lines += [f"! {option.title}: {'; '.join(own)}"] if own else []
    return lines


def _is_of_all(catch: str, options: Sequence[Option]) -> bool:
    return all(catch in option.catches for option in options)


def advice_lines(advice: Sequence[str]) -> list[str]:
    """What would change the choice."""
    return [f"> {text}" for text in advice]


def machines_words(machines: Sequence[RentedMachine], *, shown: int | None = None) -> str:
    """`2 x (4 RTX 4090) at vast, spot`: the most at a time; with many kinds, those after the first `shown` as a number.

    Offers that differ only in what is not said here count together; stages rent one after the other.
    """
    most: Counter[tuple[int, str, str, bool | None]] = Counter()
    for stage in dict.fromkeys(machine.stage for machine in machines):
        at_once: Counter[tuple[int, str, str, bool | None]] = Counter()
        for one in machines:
            if one.stage == stage:
                at_once[one.gpu_count, one.gpu, one.place, one.spot] += one.machines
        most |= at_once
    kinds = [_kind(count, *kind) for kind, count in most.items()]
    if shown is None or len(kinds) <= shown + 1:
        return ", ".join(kinds)
    return f"{', '.join(kinds[:shown])} and {len(kinds) - shown} more kinds"


def _kind(machines: int, gpu_count: int, gpu: str, place: str, spot: bool | None) -> str:
    gpus = f"({gpu_count} {gpu})" if gpu_count > 1 else gpu
    return f"{machines} x {gpus} at {place}{', spot' if spot else ''}"


def _usd(quantity: Quantity) -> str:
    return format_range(*(format_usd(value) for value in (quantity.p10, quantity.p50, quantity.p90)))


def _time(quantity: Quantity) -> str:
    return format_range(*(format_duration(value) for value in (quantity.p10, quantity.p50, quantity.p90)))
