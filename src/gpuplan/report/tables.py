"""What the runs gave, as rows: per configuration, per run, what failed, what exactly ran. Pure; it judges nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from gpuplan.report.groups import UNENDED, configurations, finished, measured, spread, value_of, varied
from gpuplan.report.measures import MEASURES, ordered_metrics
from gpuplan.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gpuplan.model import Experiment, Finding, Measurement, RunRecord
    from gpuplan.report.groups import Configuration
    from gpuplan.report.table import Cell, Kind

__all__ = ["doubts", "failures", "marginals", "provenance", "results", "runs", "setting_columns"]

T = TypeVar("T")

MOST_METRICS = 4
MOST_BEST = 2
MOST_NAMES = 3


class Field(NamedTuple, Generic[T]):
    """One column and how a record, or a configuration, fills it."""

    column: Column
    value: Callable[[T], Cell]


def results(experiment: Experiment, records: Sequence[RunRecord]) -> Table:
    """Mean and deviation over the finished runs of each configuration."""
    groups = configurations(varied(experiment, records), records)
    fields = _result_fields(experiment, records)
    rows = tuple(tuple(field.value(group) for field in fields) for group in groups)
    left_out = ordered_metrics(experiment, records)[MOST_METRICS:]
    notes = [f"\u00b1 is the standard deviation over the seeds. {_counts(records)}."]
    notes += [f"{len(left_out)} more metrics are in runs.csv: {', '.join(left_out[:8])}."] if left_out else []
    return Table("results", "Results per configuration", tuple(field.column for field in fields), rows, tuple(notes))


def marginals(experiment: Experiment, records: Sequence[RunRecord]) -> Table:
    """For sweeps too large to list: the mean for each value of each setting, over everything else."""
    metrics = ordered_metrics(experiment, records)[:MOST_METRICS]
    means = [_mean_field(Column(f"final_{name}", name, "number", 9), _final(name)) for name in metrics]
    means.append(_mean_field(Column("duration_s", "duration", "duration", 6), MEASURES["duration"].value))
    columns = (
        Column("setting", "setting", "text", 9),
        Column("value", "value", "setting", 9),
        Column("finished", "finished", "count", 7),
        *(field.column for field in means),
    )
    points = [record for record in records if record.run.control is None]
    rows = [
        (name, group.values[name], len(finished(group.records)), *(field.value(group) for field in means))
        for name in varied(experiment, records)
        for group in configurations((name,), points)
    ]
    return Table("marginals", "Means by setting", columns, tuple(rows), ("Each row is the mean over all else.",))


def runs(experiment: Experiment, records: Sequence[RunRecord]) -> Table:
    """Every run with all that is known of it; `differing` makes it fit a page."""
    fields = _run_fields(experiment, records)
    rows = tuple(tuple(field.value(record) for field in fields) for record in records)
    return Table("runs", "Runs", tuple(field.column for field in fields), rows)


def failures(records: Sequence[RunRecord]) -> Table:
    """The runs that ended without a result, those with the same reason in one row."""
    columns = (
        Column("runs", "runs", "text", 9),
        Column("count", "count", "count", 7),
        Column("status", "what", "text", 8),
        Column("because", "why", "text", 6),
        Column("advice", "what to do", "text", 5),
    )
    groups: dict[tuple[str, str, str], list[str]] = {}
    for record in records:
        if record.state != "finished" and record.state not in UNENDED:
            outcome = record.outcome
            key = (record.state, outcome.because if outcome else "", outcome.advice if outcome else "")
            groups.setdefault(key, []).append(record.run.name)
    rows = tuple((_names(names), len(names), *key) for key, names in groups.items())
    return Table("failures", "Runs without a result", columns, rows)


def doubts(records: Sequence[RunRecord], findings: Sequence[Finding] = ()) -> Table:
    """What makes measurements doubtful: what the reader of the logs flagged, and what `findings` say of single runs."""
    columns = (
        Column("doubt", "doubt", "text", 9),
        Column("runs", "runs", "text", 8),
        Column("count", "count", "count", 7),
    )
    groups: dict[str, list[str]] = {}
    for record in records:
        for flag in record.measurement.flags if record.measurement else ():
            groups.setdefault(flag, []).append(record.run.name)
    for finding in findings:
        groups.setdefault(f"{finding.message}: {finding.fix}", []).append(finding.place)
    rows = tuple((flag, _names(names), len(names)) for flag, names in groups.items())
    return Table("doubts", "What makes figures doubtful", columns, rows)


def provenance(records: Sequence[RunRecord]) -> Table:
    """Code, interpreter and versions, each value with the number of runs that had it."""
    columns = (
        Column("what", "what", "text", 9),
        Column("value", "value", "text", 9),
        Column("runs", "runs", "count", 8),
    )
    counted: dict[tuple[str, str], int] = {}
    for record in records:
        for pair in _facts(record):
            counted[pair] = counted.get(pair, 0) + 1
    differ = [what for what in dict.fromkeys(what for what, _ in counted) if sum(what == one for one, _ in counted) > 1]
    notes = (f"The runs differ in: {', '.join(differ)}.",) if differ else ()
    rows = tuple((what, value, count) for (what, value), count in sorted(counted.items()))
    return Table("provenance", "What exactly ran", columns, rows, notes)


def setting_columns(names: Sequence[str], records: Iterable[RunRecord]) -> tuple[Column, ...]:
    """A column for each varied setting, to the right if all its values are numbers."""
    among = [record.run for record in records if record.run.control is None]
    numeric = {
        name: all(isinstance(value_of(run, name), int | float | None) for run in among) and bool(among)
        for name in names
    }
    return tuple(Column(name, name, "setting" if numeric[name] else "text", 10) for name in names)


def _best_differs(name: str, records: Iterable[RunRecord]) -> bool:
    measurements = [record.measurement for record in finished(records) if record.measurement]
    return any(one.best.get(name, one.final.get(name)) != one.final.get(name) for one in measurements)


def _counts(records: Sequence[RunRecord]) -> str:
    done = sum(record.state == "finished" for record in records)
    return f"{done:,} of {len(records):,} runs finished"


def _result_fields(experiment: Experiment, records: Sequence[RunRecord]) -> list[Field[Configuration]]:
    metrics = ordered_metrics(experiment, records)[:MOST_METRICS]
    best = [name for name in metrics[:MOST_BEST] if _best_differs(name, records)]
    settings = setting_columns(varied(experiment, records), records)
    fields: list[Field[Configuration]] = [Field(column, _point(column.title)) for column in settings]
    if any(record.run.control for record in records):
        fields.append(Field(Column("control", "control", "text", 9), lambda group: group.control))
    fields += [
        *(
            _mean_field(Column(f"final_{name}", name, "number", 9 - (index > 0)), _final(name))
            for index, name in enumerate(metrics)
        ),
        *(_mean_field(Column(f"best_{name}", f"best {name}", "number", 3), _best(name)) for name in best),
        _mean_field(Column("duration_s", "duration", "duration", 6), MEASURES["duration"].value),
    ]
    counts: list[Field[Configuration]] = [
        Field(Column("finished", "finished", "count", 7), lambda group: len(finished(group.records))),
        Field(Column("runs", "runs", "count", 6), lambda group: len(group.records)),
    ]
    return [*fields, *_memory_fields(records), *counts]


def _memory_fields(records: Sequence[RunRecord]) -> list[Field[Configuration]]:
    """Device memory where any run has it, else host memory: never both in one column."""
    kinds = (("peak_device_bytes", "device memory"), ("peak_host_bytes", "host memory"))
    for key, title in kinds:
        if measured(records, _attribute(key)):
            return [_mean_field(Column(key, title, "bytes", 5), _attribute(key))]
    return []


def _mean_field(column: Column, value: Callable[[Measurement], float | None]) -> Field[Configuration]:
    return Field(column, lambda group: spread(measured(group.records, value)))


def _point(name: str) -> Callable[[Configuration], Cell]:
    return lambda group: group.values.get(name)


def _run_fields(experiment: Experiment, records: Sequence[RunRecord]) -> list[Field[RunRecord]]:
    names = varied(experiment, records)
    fields: list[Field[RunRecord]] = [Field(Column("run", "run", "text", 9), lambda record: record.run.name)]
    fields += [Field(column, _setting(column.title)) for column in setting_columns(names, records)]
    fields += [
        Field(Column("seed", "seed", "setting", 4), lambda record: record.run.seed),
        Field(Column("control", "control", "text", 4), lambda record: record.run.control),
        Field(Column("state", "state", "text", 9), lambda record: record.state),
    ]
    for name in ordered_metrics(experiment, records):
        fields.append(_measured_field(Column(f"final_{name}", name, "number", 8), _final(name)))
        fields.append(_measured_field(Column(f"best_{name}", f"best {name}", "number", 2), _best(name)))
    return fields + [_measured_field(Column(key, title, kind, 4), _attribute(key)) for key, title, kind in RUN_FIGURES]


RUN_FIGURES: tuple[tuple[str, str, Kind], ...] = (
    ("duration_s", "duration", "duration"),
    ("step_s", "step", "duration"),
    ("epoch_s", "epoch", "duration"),
    ("samples_per_s", "samples/s", "number"),
    ("peak_device_bytes", "device memory", "bytes"),
    ("peak_reserved_bytes", "reserved memory", "bytes"),
    ("peak_allocated_bytes", "allocated memory", "bytes"),
    ("peak_host_bytes", "host memory", "bytes"),
    ("steps", "steps", "count"),
    ("epochs", "epochs", "count"),
    ("parameters", "parameters", "count"),
    ("checkpoint_bytes", "checkpoint", "bytes"),
    ("disk_bytes", "disk", "bytes"),
)
"""Field of the measurement, heading, kind."""


def _setting(name: str) -> Callable[[RunRecord], Cell]:
    return lambda record: value_of(record.run, name)


def _final(name: str) -> Callable[[Measurement], float | None]:
    return lambda one: one.final.get(name)


def _best(name: str) -> Callable[[Measurement], float | None]:
    return lambda one: one.best.get(name)


def _attribute(key: str) -> Callable[[Measurement], float | None]:
    def value(one: Measurement) -> float | None:
        figure: float | None = getattr(one, key)
        return figure

    return value


def _measured_field(column: Column, value: Callable[[Measurement], Cell]) -> Field[RunRecord]:
    return Field(column, lambda record: value(record.measurement) if record.measurement is not None else None)


def _names(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _facts(record: RunRecord) -> list[tuple[str, str]]:
    known = record.provenance
    if known is None:
        return []
    facts = [("commit", known.commit), ("interpreter", known.python), ("machine", known.machine or None)]
    if known.dirty is not None:
        facts.append(("uncommitted changes", "yes" if known.dirty else "no"))
    facts += list(known.versions.items())
    return [(what, value) for what, value in facts if value is not None]
