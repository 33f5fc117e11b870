"""What differs between two plans, as a table, as sentences and as JSON. It never compares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuplan.report.planned import finding_lines
from gpuplan.report.table import UNKNOWN, Column, Table, show
from gpuplan.units import format_bytes, format_duration, format_range, format_usd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gpuplan.model import Quantity
    from gpuplan.report.differences import Change, Differences, Moved, Moves, RunChange

__all__ = ["difference_json", "differences_table", "headline", "lines", "moves_table"]

LONGEST = 60
SHOWN = 5
DIFFERENCE_COLUMNS = (
    Column("what", "What", importance=10),
    Column("key", "Key", importance=9),
    Column("before", "Before", importance=8),
    Column("after", "After", importance=8),
)
MOVE_COLUMNS = (
    Column("run", "Run", importance=10),
    Column("gpu", "GPU", importance=3),
    Column("figure", "Figure", importance=9),
    Column("before", "Before", importance=7),
    Column("after", "After", importance=8),
    Column("ratio", "Change", "ratio", importance=6),
    Column("beyond", "Beyond p10-p90", importance=5),
)
FIGURES: dict[str, tuple[str, Callable[[float], str]]] = {
    "allocated_bytes": ("memory, allocated", format_bytes),
    "reserved_bytes": ("memory, reserved", format_bytes),
    "device_bytes": ("memory", format_bytes),
    "step_s": ("step", format_duration),
    "duration_s": ("time/run", format_duration),
    "disk_bytes": ("disk", format_bytes),
    "makespan_s": ("makespan", format_duration),
    "device_hours": ("device time", lambda hours: format_duration(3600 * hours)),
    "cost_usd": ("cost", format_usd),
}


def headline(found: Differences, *, before: str, after: str) -> str:
    """`a.json -> b.json: 2 keys of the spec, 3 runs, ...`, or that they are the same."""
    if found.same:
        return f"{before} and {after}: the same plan"
    parts = [
        _count(len(found.spec), "key of the spec", "keys of the spec"),
        _count(len(found.added), "run added", "runs added"),
        _count(len(found.removed), "run removed", "runs removed"),
        _count(len(found.renamed), "run renamed", "runs renamed"),
        _count(len(found.changed), "run changed", "runs changed"),
        _count(len(found.verdicts), "verdict on fit", "verdicts on fit"),
        _count(sum(len(one.runs) for one in _beyond(found)), "estimate beyond", "estimates beyond"),
        _count(len(found.prices), "price", "prices"),
        _count(len(found.options), "option", "options"),
        _count(len(found.placements), "run placed elsewhere", "runs placed elsewhere"),
        _count(len(found.new_findings), "new finding", "new findings"),
        _count(len(found.gone_findings), "finding gone", "findings gone"),
        _count(len(found.changed_findings), "finding with other figures", "findings with other figures"),
        _count(len(found.machine), "fact of the machine", "facts of the machine"),
        _count(len(found.inputs), "input", "inputs"),
    ]
    told = ", ".join(part for part in parts if part)
    return f"{before} -> {after}: {told or 'the same runs with other figures'}"


def differences_table(found: Differences) -> Table:
    """Everything but the estimates that moved, one row a value."""
    rows = [
        *_rows("spec", found.spec),
        *_group_row("runs added", found.added, side="after"),
        *_group_row("runs removed", found.removed, side="before"),
        *_rows("run renamed", [change._replace(key="") for change in found.renamed]),
        *_run_rows("run", found.changed),
        *_run_rows("fits", found.verdicts),
        *(("price", change.key, _price(change.before), _price(change.after)) for change in found.prices),
        *_run_rows("option", found.options),
        *_rows("placed", found.placements),
        *_rows("machine", found.machine),
        *_rows("input", found.inputs),
        *_rows("total", found.counts),
        *(_total_row(moved) for moved in found.totals),
    ]
    return Table("differences", "What differs", DIFFERENCE_COLUMNS, tuple(rows))


def moves_table(found: Differences) -> Table:
    """The estimates that moved, those beyond their old intervals first."""
    return Table("moves", "Estimates that moved", MOVE_COLUMNS, tuple(_move_row(one) for one in found.moves))


def lines(found: Differences) -> Iterator[str]:
    """Findings that are new or gone, or say something else now."""
    if found.new_findings:
        yield f"New findings ({len(found.new_findings)}):"
        yield from finding_lines(found.new_findings)
    if found.gone_findings:
        yield f"Findings gone ({len(found.gone_findings)}):"
        yield from finding_lines(found.gone_findings)
    if found.changed_findings:
        yield f"Findings with other figures ({len(found.changed_findings)}):"
        yield from finding_lines([one.after for one in found.changed_findings])


def difference_json(found: Differences, *, before: str, after: str) -> dict[str, Any]:
    """One document, `gpuplan.diff/1`; figures carry their unit in the name, an absent value is null."""
    return {
        "schema": "gpuplan.diff/1",
        "before": before,
        "after": after,
        "same": found.same,
        "spec": _json_changes(found.spec),
        "runs": {
            "added": list(found.added),
            "removed": list(found.removed),
            "renamed": [{"before": change.before, "after": change.after} for change in found.renamed],
            "changed": _json_runs(found.changed),
        },
        "fits": _json_runs(found.verdicts),
        "estimates": [{"runs": list(one.runs), "gpu": one.gpu, **_json_moved(one.moved)} for one in found.moves],
        "prices": _json_changes(found.prices),
        "options": _json_runs(found.options),
        "placements": _json_changes(found.placements),
        "totals": [_json_moved(moved) for moved in found.totals],
        "counts": _json_changes(found.counts),
        "findings": {
            "new": [finding.model_dump(mode="json") for finding in found.new_findings],
            "gone": [finding.model_dump(mode="json") for finding in found.gone_findings],
            "changed": [
                {"before": one.before.model_dump(mode="json"), "after": one.after.model_dump(mode="json")}
                for one in found.changed_findings
            ],
        },
        "machine": _json_changes(found.machine),
        "inputs": _json_changes(found.inputs),
    }


def _beyond(found: Differences) -> list[Moves]:
    return [one for one in found.moves if one.moved.beyond]


def _count(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}" if count else ""


def _rows(what: str, changes: Iterable[Change]) -> list[tuple[str, ...]]:
    return [(what, change.key, _text(change.before), _text(change.after)) for change in changes]


def _run_rows(what: str, changed: Iterable[RunChange]) -> list[tuple[str, ...]]:
    """Runs that change in the same way stand in one row."""
    alike: dict[str, tuple[Change, list[str]]] = {}
    for one in changed:
        for change in one.changes:
            alike.setdefault(repr(change), (change, []))[1].append(one.run)
    return [
        (f"{what} {_named(runs)}", change.key, _of_key(change.key, change.before), _of_key(change.key, change.after))
        for change, runs in alike.values()
    ]


def _group_row(what: str, names: Sequence[str], *, side: str) -> list[tuple[str, ...]]:
    if not names:
        return []
    text = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")
    return [(what, "", UNKNOWN, text) if side == "after" else (what, "", text, UNKNOWN)]


def _total_row(moved: Moved) -> tuple[str, ...]:
    name, form = FIGURES.get(moved.figure, (moved.figure, str))
    return ("total", name, _range(moved.before, form), _range(moved.after, form))


def _move_row(one: Moves) -> tuple[str | float | None, ...]:
    name, form = FIGURES.get(one.moved.figure, (one.moved.figure, str))
    before, after = _range(one.moved.before, form), _range(one.moved.after, form)
    return (_named(one.runs), one.gpu, name, before, after, one.moved.ratio, "yes" if one.moved.beyond else "")


def _named(runs: Sequence[str]) -> str:
    return runs[0] if len(runs) == 1 else f"{runs[0]} +{len(runs) - 1:,}"


def _range(quantity: Quantity, form: Callable[[float], str]) -> str:
    return format_range(form(quantity.p10), form(quantity.p50), form(quantity.p90))


def _price(value: object) -> str:
    return f"{format_usd(value)}/h" if isinstance(value, int | float) else _text(value)


def _of_key(key: str, value: object) -> str:
    form = FIGURES.get(key)
    return form[1](value) if form is not None and isinstance(value, int | float) else _text(value)


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        text = f"[{', '.join(_text(one) for one in value)}]"
    elif value is None or isinstance(value, bool | int | float | str):
        text = show(value, "setting") if value is not None else UNKNOWN
    else:
        text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _json_changes(changes: Iterable[Change]) -> list[dict[str, Any]]:
    return [change._asdict() for change in changes]


def _json_runs(changed: Iterable[RunChange]) -> list[dict[str, Any]]:
    return [{"name": one.run, "changes": _json_changes(one.changes)} for one in changed]


def _json_moved(moved: Moved) -> dict[str, Any]:
    return {
        "figure": moved.figure,
        "before": moved.before.model_dump(mode="json"),
        "after": moved.after.model_dump(mode="json"),
        "ratio": moved.ratio,
        "beyond": moved.beyond,
    }
