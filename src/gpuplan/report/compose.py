"""An experiment and its runs -> a report: words first, then tables and figures. Pure; it writes and draws nothing."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuplan.report import figures, predictions, scaling, tables
from gpuplan.report.curves import bands
from gpuplan.report.doubted import doubted
from gpuplan.report.expect import evaluate
from gpuplan.report.groups import UNENDED, all_runs, configurations, measured, spread, state_words, varied
from gpuplan.report.measures import ordered_metrics
from gpuplan.report.table import clean, differing, limited, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuplan.model import Experiment, Finding, RunRecord
    from gpuplan.report.curves import Curves
    from gpuplan.report.expect import Check
    from gpuplan.report.groups import Configuration
    from gpuplan.report.table import Spread, Table
    from gpuplan.report.vega import Spec

__all__ = ["Counts", "Figure", "Report", "Section", "build"]

MOST_ROWS = 60
MOST_DETAIL_ROWS = 100
MOST_CURVES = 4
MOST_SPEEDUPS = 4
MOST_HEADLINES = 2
MOST_SUSPICIONS = 3
MOST_KEY = 60
UNSAFE = re.compile(r"[^a-z0-9_]+")


@dataclass(frozen=True, slots=True)
class Figure:
    """A Vega-Lite dict and what it is called: `key` names its file."""

    key: str
    title: str
    spec: Spec


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page; `details` are tables that are folded away."""

    key: str
    title: str
    text: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    details: tuple[Table, ...] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """How the runs stand; all of them are `finished`, `failed` or `unended`."""

    runs: int
    finished: int
    failed: int
    unended: int


@dataclass(frozen=True, slots=True)
class Report:
    """All that is said of an experiment. `data` are the whole tables, by name, for files and JSON."""

    experiment: str
    as_of: str | None
    counts: Counts
    summary: tuple[str, ...]
    checks: tuple[Check, ...]
    sections: tuple[Section, ...]
    data: dict[str, Table]


def build(experiment: Experiment, records: Sequence[RunRecord], curves: Curves, *, as_of: str | None = None) -> Report:
    """The report as a value; runs that have no record yet count as waiting. `as_of` is printed as it is."""
    everything = all_runs(experiment, records)
    checks = evaluate(experiment, records)
    found = predictions.predictions(everything)
    scaled = scaling.scaled(experiment, everything)
    suspected = doubted(everything, curves)
    data = {
        "results": tables.results(experiment, everything),
        "runs": tables.runs(experiment, everything),
        "accuracy": predictions.accuracy(found),
        "predictions": predictions.together(found),
        "scaling": scaling.table(scaled),
        "failures": tables.failures(everything),
        "doubts": tables.doubts(everything, suspected),
        "provenance": tables.provenance(everything),
    }
    sections = (
        _results(experiment, everything, curves, data),
        _predictions(found, data),
        _scaling(scaled, data),
        Section("failures", "Failures and doubts", tables=(data["failures"], data["doubts"])),
        Section("provenance", "Provenance", tables=(data["provenance"],)),
        Section("runs", "All runs", details=(_folded(differing(data["runs"], keep=("run", "state"))),)),
    )
    return Report(
        experiment=experiment.name,
        as_of=as_of,
        counts=_counts(everything),
        summary=(*_summary(experiment, everything, checks, found, scaled), *_suspicions(suspected)),
        checks=checks,
        sections=tuple(section for section in sections if _has_content(section)),
        data=data,
    )


def _has_content(section: Section) -> bool:
    has_rows = any(table.rows for table in (*section.tables, *section.details))
    return bool(section.text or section.figures or has_rows)


def _counts(records: Sequence[RunRecord]) -> Counts:
    done = sum(record.state == "finished" for record in records)
    unended = sum(record.state in UNENDED for record in records)
    return Counts(len(records), done, len(records) - done - unended, unended)


# ---------------------------------------------------------------- the words


def _summary(
    experiment: Experiment,
    records: Sequence[RunRecord],
    checks: Sequence[Check],
    found: Sequence[predictions.Prediction],
    scaled: Sequence[scaling.Scaled],
) -> list[str]:
    sentences = [
        _progress(records),
        *scaling.sentences(scaled),
        *(_headline(experiment, records, metric) for metric in _headlines(experiment, records)),
        _met(checks),
        predictions.sentence(found),
        _doubts(records),
    ]
    return [sentence for sentence in sentences if sentence]


def _progress(records: Sequence[RunRecord]) -> str:
    counts = _counts(records)
    states = Counter(record.state for record in records if record.state != "finished")
    listed = ", ".join(f"{number:,} {state_words(state)}" for state, number in states.most_common())
    text = f"{counts.finished:,} of {counts.runs:,} run{'s' * (counts.runs != 1)} finished"
    return f"{text}; {listed}." if listed else f"{text}."


def _headlines(experiment: Experiment, records: Sequence[RunRecord]) -> tuple[str, ...]:
    return ordered_metrics(experiment, records)[:MOST_HEADLINES]


def _headline(experiment: Experiment, records: Sequence[RunRecord], metric: str) -> str:
    """Where a metric ended: at one figure, or from the lowest configuration to the highest; then the controls."""
    ends = [
        (end, group)
        for group in configurations(varied(experiment, records), records)
        if (end := spread(measured(group.records, lambda one: one.final.get(metric))))
    ]
    points = sorted(((end, group) for end, group in ends if not group.control), key=lambda pair: pair[0].mean)
    controls = [f"{_end(end)} ({clean(group.label)})" for end, group in ends if group.control]
    text = f"{clean(metric)} ended {_range(points)}" if points else f"{clean(metric)}: no run but controls has it"
    return f"{text}; {', '.join(controls[:3])}." if controls else f"{text}."


def _range(points: Sequence[tuple[Spread, Configuration]]) -> str:
    (low, lowest), (high, highest) = points[0], points[-1]
    if len(points) == 1:
        return f"at {_end(low)} ({low.n} run{'s' * (low.n != 1)})"
    return f"between {_end(low)} ({clean(lowest.label)}) and {_end(high)} ({clean(highest.label)})"


def _end(end: Spread) -> str:
    return show(end, "number")


def _doubts(records: Sequence[RunRecord]) -> str:
    flagged = [record.measurement.flags[0] for record in records if record.measurement and record.measurement.flags]
    if not flagged:
        return ""
    return f"The figures of {len(flagged):,} run{'s' * (len(flagged) != 1)} are doubtful: {clean(flagged[0])}."


def _suspicions(suspected: Sequence[Finding]) -> list[str]:
    """The gravest of what is odd, in a sentence each."""
    errors = [finding for finding in suspected if finding.severity == "error"]
    return [f"{clean(finding.place)}: {clean(finding.message)}." for finding in errors[:MOST_SUSPICIONS]]


def _met(checks: Sequence[Check]) -> str:
    if not checks:
        return ""
    counted = Counter(check.status for check in checks)
    parts = [f"{counted['pass']} of {len(checks)} expectation{'s' * (len(checks) != 1)} met"]
    parts += [f"{counted['fail']} not met"] if counted["fail"] else []
    parts += [f"{counted['unknown']} unknown"] if counted["unknown"] else []
    return ", ".join(parts) + "."


# ---------------------------------------------------------------- the sections


def _results(experiment: Experiment, records: Sequence[RunRecord], curves: Curves, data: dict[str, Table]) -> Section:
    whole = data["results"]
    shown = [limited(whole, MOST_ROWS, rest="each run is in runs.csv")]
    if len(whole.rows) > MOST_ROWS:
        shown.insert(0, tables.marginals(experiment, records))
    drawn = [*_curves(experiment, records, curves), *_durations(experiment, records)]
    return Section("results", "Results", tables=tuple(shown), figures=tuple(drawn))


def _curves(experiment: Experiment, records: Sequence[RunRecord], curves: Curves) -> list[Figure]:
    recorded = dict.fromkeys(metric for record in records for metric in curves.get(record.run.name, {}))
    wanted = [*ordered_metrics(experiment, records), *recorded]
    drawn = []
    for metric in [name for name in dict.fromkeys(wanted) if name in recorded]:
        lines = bands(experiment, records, curves, metric=metric)
        if any(len(line) > 1 for line in lines.lines.values()):
            title = f"{metric} by configuration" if len(lines.lines) > 1 else metric
            drawn.append(Figure(_key("curve", metric), title, figures.curve(title, metric, lines)))
    return drawn[:MOST_CURVES]


def _durations(experiment: Experiment, records: Sequence[RunRecord]) -> list[Figure]:
    bars = []
    for group in configurations(varied(experiment, records), records):
        seconds = spread(measured(group.records, lambda one: one.duration_s))
        estimates = [record.estimate.duration_s for record in group.records if record.estimate is not None]
        if seconds is not None:
            predicted = estimates[0] if estimates else None
            bars.append(
                figures.Bar(
                    group.label,
                    seconds.mean,
                    predicted.p10 if predicted else None,
                    predicted.p90 if predicted else None,
                )
            )
    title = "Duration by configuration"
    return [Figure("durations", title, figures.durations(title, bars))] if bars else []


def _predictions(found: Sequence[predictions.Prediction], data: dict[str, Table]) -> Section:
    drawn = []
    for name in predictions.HEADLINES:
        quantity = predictions.QUANTITIES[name]
        points = [
            figures.Compared(one.predicted.p10, one.predicted.p50, one.predicted.p90, one.measured)
            for one in found
            if one.quantity == name
        ]
        if points:
            title = f"{quantity.title.capitalize()}, predicted and measured"
            drawn.append(Figure(_key("predicted", name), title, figures.compared(title, points, kind=quantity.kind)))
    return Section(
        "predictions",
        "Predicted against measured",
        tables=(data["accuracy"],) if found else (),
        figures=tuple(drawn),
        details=tuple(_folded(table, rest="all are in predictions.csv") for table in predictions.tables(found)),
    )


def _scaling(scaled: Sequence[scaling.Scaled], data: dict[str, Table]) -> Section:
    curves = scaling.speeds(scaled)
    drawn = []
    for where, points in list(curves.items())[:MOST_SPEEDUPS]:
        title = f"Speed-up, {where}" if len(curves) > 1 else "Speed-up"
        drawn.append(Figure(_key("speedup", where), title, figures.speedup(title, points)))
    return Section("scaling", "Scaling and sharding", scaling.sentences(scaled), (data["scaling"],), tuple(drawn))


def _folded(table: Table, *, rest: str = "all are in runs.csv") -> Table:
    return limited(table, MOST_DETAIL_ROWS, rest=rest)


def _key(*parts: str) -> str:
    """A file name of letters, digits and dashes; a hash keeps apart what the letters do not."""
    text = "-".join(parts)
    key = UNSAFE.sub("-", text.lower()).strip("-")[:MOST_KEY]
    return key if key == text else f"{key}-{hashlib.sha256(text.encode('utf-8', 'backslashreplace')).hexdigest()[:6]}"
