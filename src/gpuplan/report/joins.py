"""The value of an expression for every configuration: calls select and average runs, arithmetic joins them.

Pure. What cannot be known stays as a row with its reason; nothing is dropped.
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.command import render
from gpuplan.report.grammar import Absolute, Binary, Negative, Number, meant
from gpuplan.report.groups import (
    UNENDED,
    configurations,
    finished,
    identity,
    label,
    matches,
    measured,
    state_words,
    tied,
    value_of,
)
from gpuplan.report.measures import MEASURES, Measure, metric_names
from gpuplan.report.table import show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gpuplan.model import Experiment, Run, RunRecord, Scalar
    from gpuplan.report.grammar import Call, Node
    from gpuplan.report.groups import Configuration

__all__ = ["Facts", "Row", "Rows", "join", "known_values", "rows_of"]

ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


class Row(NamedTuple):
    """The values of one configuration, or why there are none."""

    where: dict[str, Scalar | None]
    values: tuple[float, ...]
    missing: str = ""
    remark: str = ""


class Rows(NamedTuple):
    """A row for each configuration; all of them have these names."""

    names: tuple[str, ...]
    rows: tuple[Row, ...]


class Facts(NamedTuple):
    """What the lines are held against: the experiment, the names that vary, and every run."""

    experiment: Experiment
    names: tuple[str, ...]
    records: tuple[RunRecord, ...]


def rows_of(node: Node, facts: Facts) -> Rows:
    """The node's figure for every configuration."""
    match node:
        case Number(value=value):
            return Rows((), (Row({}, (value,)),))
        case Negative(of=of):
            return _each(rows_of(of, facts), lambda values: -values[0])
        case Absolute(of=of):
            return _each(rows_of(of, facts), lambda values: abs(values[0]))
        case Binary(operator=symbol, left=left, right=right):
            both = join(rows_of(left, facts), rows_of(right, facts))
            return _each(both, lambda values: ARITHMETIC[symbol](*values))
    return _call(node, facts)


def join(left: Rows, right: Rows) -> Rows:
    """The rows that agree in the names they share, with the values of both; a row without a partner says so."""
    shared = [name for name in left.names if name in right.names]
    partners: dict[object, list[Row]] = {}
    for row in right.rows:
        partners.setdefault(_shared_key(row, shared), []).append(row)
    met = {_shared_key(row, shared) for row in left.rows}
    joined = [_together(row, partner) for row in left.rows for partner in partners.get(_shared_key(row, shared), [])]
    joined += [_alone(row, shared) for row in left.rows if _shared_key(row, shared) not in partners]
    joined += [_alone(row, shared) for row in right.rows if _shared_key(row, shared) not in met]
    return Rows((*left.names, *(name for name in right.names if name not in shared)), tuple(joined))


def known_values(filters: Mapping[str, Scalar], runs: Iterable[Run]) -> str:
    """The values that the filtered settings do have: `size: small, large`."""
    among = [run for run in runs if (run.control is None) == ("control" not in filters)]
    parts = []
    for name in filters:
        values = dict.fromkeys(render(value) for run in among if (value := value_of(run, name)) is not None)
        parts.append(f"{name}: {', '.join(list(values)[:12])}{', ...' if len(values) > 12 else ''}")
    return "there is " + "; ".join(parts) if parts else "the experiment has no such runs"


def _each(rows: Rows, compute: Callable[[tuple[float, ...]], float]) -> Rows:
    return Rows(rows.names, tuple(_computed(row, compute) for row in rows.rows))


def _computed(row: Row, compute: Callable[[tuple[float, ...]], float]) -> Row:
    if row.missing:
        return row
    try:
        figure = compute(row.values)
    except ZeroDivisionError:
        return row._replace(values=(), missing=f"division by zero{_at(row.where)}")
    if not math.isfinite(figure):
        return row._replace(values=(), missing=f"no finite figure{_at(row.where)}")
    return row._replace(values=(figure,))


def _at(where: Mapping[str, Scalar | None], control: str | None = None) -> str:
    if control:
        return f" at control {control}"
    return f" at {label(where)}" if where else ""


def _shared_key(row: Row, shared: Sequence[str]) -> object:
    return identity({name: row.where.get(name) for name in shared})


def _together(left: Row, right: Row) -> Row:
    remarks = dict.fromkeys(remark for remark in (left.remark, right.remark) if remark)
    missing = left.missing or right.missing
    values = () if missing else (*left.values, *right.values)
    return Row(left.where | right.where, values, missing, "; ".join(remarks))


def _alone(row: Row, shared: Sequence[str]) -> Row:
    where = label({name: row.where.get(name) for name in shared})
    return row._replace(values=(), missing=row.missing or f"nothing to compare with at {where}")


# ---------------------------------------------------------------- calls


def _call(call: Call, facts: Facts) -> Rows:
    scaling = call.function in {"speedup", "efficiency"}
    filters = {name: value for name, value in call.filters.items() if not (scaling and name == "ranks")}
    selected = [record for record in facts.records if matches(record.run, filters)]
    if not any(matches(record.run, call.filters) for record in selected):
        reason = f"no run has {label(call.filters)}" if call.filters else "there is no run"
        return Rows((), (Row({}, (), reason),))
    fixed = {*call.filters, *tied(facts.experiment, call.filters)}
    names = () if "control" in filters else tuple(name for name in facts.names if name not in fixed)
    if scaling:
        return Rows(names, tuple(_scaling(call, group) for group in configurations(names, selected)))
    measure = _measure(call)
    return Rows(names, tuple(_mean(group, measure) for group in configurations(names, selected)))


def _measure(call: Call) -> Measure:
    if call.metric is None:
        return MEASURES[call.function]
    metric, function = call.metric, call.function
    return Measure(lambda one: (one.final if function == "final" else one.best).get(metric), metric)


def _mean(group: Configuration, measure: Measure) -> Row:
    """The mean over the group's finished runs, once all of its runs have ended."""
    where, total = group.values, len(group.records)
    done, figures = finished(group.records), measured(group.records, measure.value)
    unended = sum(record.state in UNENDED for record in group.records)
    if unended:
        so_far = f" (so far {show(math.fsum(figures) / len(figures), measure.kind)})" if figures else ""
        return Row(
            where,
            (),
            f"{unended} of {total} run{'s' * (total > 1)}{_at(group.values, group.control)} not ended{so_far}",
        )
    if not done:
        return Row(
            where, (), f"no run{_at(group.values, group.control)} finished: {state_words(group.records[0].state)}"
        )
    if len(figures) < len(done):
        return Row(where, (), _not_recorded(group, done, measure))
    remark = f"{total - len(done)} of {total} runs did not finish" if len(done) < total else ""
    return Row(where, (math.fsum(figures) / len(figures),), remark=remark)


def _not_recorded(group: Configuration, done: Sequence[RunRecord], measure: Measure) -> str:
    """A metric that no run has is probably a typing error: then the reason is the same for all configurations."""
    lacking = sum(not measured([record], measure.value) for record in done)
    if lacking < len(done):
        return f"{lacking} of {len(done)} runs{_at(group.values, group.control)} recorded no {measure.name}"
    if measure in MEASURES.values():
        return f"no {measure.name} was measured"
    recorded = metric_names([record.measurement for record in done if record.measurement is not None])
    return f"no run recorded {measure.name}: {meant(measure.name, recorded)}"


def _scaling(call: Call, group: Configuration) -> Row:
    """The throughput at `ranks` over that of the smallest rank count with the same other settings."""
    ranks = int(call.filters["ranks"])
    by_ranks = {int(one.values["ranks"] or 1): one for one in configurations(("ranks",), group.records)}
    usable = [count for count, one in by_ranks.items() if finished(one.records) or _unended(one)]
    base = min(usable, default=ranks)
    if ranks not in by_ranks or base >= ranks:
        return Row(
            group.values, (), f"no run at fewer than {ranks} ranks to compare with{_at(group.values, group.control)}"
        )
    rows = [_mean(by_ranks[count], MEASURES["throughput"]) for count in (ranks, base)]
    ideal = ranks / base if call.function == "efficiency" else 1.0
    both = _together(*(row._replace(missing=row.missing.partition(" (so far")[0]) for row in rows))
    both = both._replace(where=group.values)
    return _computed(both, lambda values: values[0] / values[1] / ideal)


def _unended(group: Configuration) -> bool:
    return any(record.state in UNENDED for record in group.records)
