"""A plan as tables and sentences: what runs where, for how long, with which memory, and on what that is based."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from gpuplan.expand import count
from gpuplan.place.failures import repeats_words
from gpuplan.report.table import Column, Table
from gpuplan.units import format_bytes, format_duration, format_range, format_usd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gpuplan.model import Assumption, Estimate, Finding, Plan, Quantity, Run

__all__ = ["assumptions", "finding_lines", "headline", "plan_table", "schedule_table", "totals_line"]

PLAN_COLUMNS = (
    Column("run", "Run", importance=10),
    Column("ranks", "Ranks", "count", importance=6),
    Column("memory_bytes", "Memory/rank", "bytes", importance=7),
    Column("fits", "Fits", importance=8),
    Column("step_s", "Step", "duration", importance=4),
    Column("duration_s", "Time/run", "duration", importance=9),
    Column("based_on", "Based on", importance=3),
)
SCHEDULE_COLUMNS = (
    Column("run", "Run", importance=10),
    Column("devices", "Devices", importance=9),
    Column("start_s", "Start", "duration", importance=8),
    Column("end_s", "End", "duration", importance=8),
)
SOURCE_WORDS = {"closed_form": "closed form"}
SYMBOLS = {"error": "x", "warning": "!", "note": "-"}


def headline(plan: Plan) -> str:
    """`agnews: 2 points x 3 seeds + 1 control = 7 runs, 2 of them done`."""
    done = f", {plan.totals.finished} of them done" if plan.totals.finished else ""
    return f"{plan.experiment.name}: {count(plan.experiment)}{done}"


def plan_table(plan: Plan) -> Table:
    """One row for the runs that differ by their seed alone."""
    estimates = {estimate.run: estimate for estimate in plan.estimates}
    rows = []
    for alike in _alike(plan.runs):
        first = alike[0]
        estimate = estimates[first.name]
        memory = estimate.memory
        name = first.name if len(alike) == 1 else f"{first.name} +{len(alike) - 1}"
        rows.append(
            (
                name,
                first.ranks * first.copies,
                memory.device_bytes,
                memory.fits,
                estimate.step_s,
                estimate.duration_s,
                _based_on(estimate),
            )
        )
    return Table("plan", "Plan", _plan_columns(plan.runs), tuple(rows))


def _plan_columns(runs: Sequence[Run]) -> tuple[Column, ...]:
    """Copies are no ranks: with them, both are called processes."""
    if all(run.copies == 1 for run in runs):
        return PLAN_COLUMNS
    titles = {"ranks": "Processes", "memory_bytes": "Memory/process"}
    return tuple(replace(column, title=titles.get(column.key, column.title)) for column in PLAN_COLUMNS)


def schedule_table(plan: Plan) -> Table:
    """Every placement, in the order of starting."""
    rows = tuple(
        (placed.run, ", ".join(map(str, placed.devices)), placed.start_s, placed.end_s) for placed in plan.placements
    )
    repeats = plan.totals.repeats
    title = f"Schedule, without {repeats_words(repeats)} that are to be expected" if repeats else "Schedule"
    return Table("schedule", title, SCHEDULE_COLUMNS, rows)


def totals_line(plan: Plan) -> str:
    """`2 devices of this machine  3m05s (2m40s-4m10s)  $0.00  31 MiB on disk`."""
    totals = plan.totals
    if not plan.placements and totals.finished < totals.runs:
        return "nothing is placed: no time, no cost"
    return "   ".join(
        [
            _where(plan),
            f"makespan {_range(totals.makespan_s, format_duration)}",
            f"cost {_range(totals.cost_usd, format_usd)}",
            f"disk {_range(totals.disk_bytes, format_bytes)}",
        ]
    )


def assumptions(plan: Plan) -> tuple[str, ...]:
    """What the estimates take for granted, each once, with what changes it and how many runs it concerns."""
    runs_by_text: dict[str, int] = {_changed(assumption): len(plan.estimates) for assumption in plan.assumptions}
    for estimate in plan.estimates:
        for assumption in estimate.assumptions:
            text = _changed(assumption)
            runs_by_text[text] = runs_by_text.get(text, 0) + 1
    total = len(plan.estimates)
    return tuple(text if runs == total else f"{text} ({runs} of {total} runs)" for text, runs in runs_by_text.items())


def finding_lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Each finding in three lines: what and where, because, fix."""
    for finding in findings:
        place = f"{finding.place}: " if finding.place else ""
        yield f"{SYMBOLS[finding.severity]} {finding.severity}: {place}{finding.message}  [{finding.check}]"
        if finding.because:
            yield f"    because {finding.because}"
        if finding.fix:
            yield f"    -> {finding.fix}"


def _changed(assumption: Assumption) -> str:
    return f"{assumption.text}{f' -> {assumption.change}' if assumption.change else ''}"


def _alike(runs: Sequence[Run]) -> list[list[Run]]:
    groups: dict[str, list[Run]] = {}
    for run in runs:
        identity = repr((run.stage, run.control, run.ranks, run.copies, sorted(run.settings.items()), run.command))
        groups.setdefault(identity, []).append(run)
    return list(groups.values())


def _where(plan: Plan) -> str:
    """`2 x L40`, of this machine or of what the plan rents."""
    chosen = next((option for option in plan.options if option.chosen), None)
    if chosen is not None:
        at_once: Counter[str] = Counter()
        for stage in dict.fromkeys(machine.stage for machine in chosen.machines):
            of_stage = [machine for machine in chosen.machines if machine.stage == stage]
            at_once |= sum((Counter({one.gpu: one.machines * one.gpu_count}) for one in of_stage), Counter())
        return " + ".join(f"{count} x {gpu}" for gpu, count in at_once.items())
    if plan.options:
        return "no plan within the limits"
    device = plan.machine.devices[0].gpu if plan.machine.devices else plan.machine.cpu
    return f"{len(plan.machine.devices)} x {device}"


def _based_on(estimate: Estimate) -> str:
    source = estimate.duration_s.source
    return SOURCE_WORDS.get(source, source)


def _range(quantity: Quantity, show: Callable[[float], str]) -> str:
    return format_range(show(quantity.p10), show(quantity.p50), show(quantity.p90))
