"""Runs that differ only by their seed, together: which settings vary, which runs exist. It never judges a result."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from gpuplan.command import render
from gpuplan.expand import GANG_AXES, axes, expand
from gpuplan.model import RunRecord
from gpuplan.report.table import Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gpuplan.model import Experiment, Measurement, Run, Scalar, State

__all__ = [
    "UNENDED",
    "Configuration",
    "all_runs",
    "configurations",
    "finished",
    "identity",
    "label",
    "matches",
    "measured",
    "spread",
    "state_words",
    "tied",
    "value_of",
    "varied",
]

UNENDED = frozenset({"waiting", "starting", "running", "stopping"})
"""States after which a run may still measure something."""

STATE_WORDS = {"oom_device": "out of GPU memory", "oom_host": "out of host memory"}

STATE_WORDS = {"oom_device": "out of GPU memory", "oom_host": "out of host memory"}

SAME_RUN: tuple[Callable[[Run], tuple[str | None, ...]], ...] = (
    lambda run: (run.name, run.key),
    lambda run: (run.key, run.control),  # `names:` was changed since
    lambda run: (run.name,),  # its command or environment was changed since
)
"""How a run of the spec finds its record, the surest way first."""

Identity: TypeAlias = tuple[tuple[str, str, "Scalar | None"], ...]


class Configuration(NamedTuple):
    """One point of the experiment with all its runs: the seeds, and the repeats of a stage."""

    values: dict[str, Scalar | None]
    control: str | None
    records: tuple[RunRecord, ...]

    @property
    def label(self) -> str:
        """`size=small, ranks=2`, or the control's name."""
        return f"control {self.control}" if self.control else label(self.values)


def all_runs(experiment: Experiment, records: Sequence[RunRecord]) -> tuple[RunRecord, ...]:
    """Every run of the experiment in the order of the spec, those without a record as waiting; then any others."""
    runs, left = expand(experiment), list(records)
    found: dict[int, RunRecord] = {}
    for same in SAME_RUN:
        open_records = {same(record.run): record for record in reversed(left)}
        for index, run in enumerate(runs):
            if index not in found and same(run) in open_records:
                found[index] = open_records.pop(same(run))
        matched = {id(record) for record in found.values()}
        left = [record for record in left if id(record) not in matched]
    return (*(found.get(index) or _waiting(experiment, run) for index, run in enumerate(runs)), *left)


def varied(experiment: Experiment, records: Iterable[RunRecord]) -> tuple[str, ...]:
    """The names that tell configurations apart, in the order of the spec; controls are told apart by name."""
    runs = [record.run for record in records if record.run.control is None]
    names = dict.fromkeys((*axes(experiment), *GANG_AXES, "stage"))
    names |= dict.fromkeys(name for run in runs for name in run.settings)
    return tuple(name for name in names if len({_canonical(value_of(run, name)) for run in runs}) > 1)


def configurations(names: Sequence[str], records: Iterable[RunRecord]) -> tuple[Configuration, ...]:
    """The records grouped by the values of `names`, controls each for itself, in order of appearance."""
    groups: dict[tuple[str | None, Identity], list[RunRecord]] = {}
    for record in records:
        values = {} if record.run.control else {name: value_of(record.run, name) for name in names}
        groups.setdefault((record.run.control, identity(values)), []).append(record)
    return tuple(
        Configuration({} if control else {name: value_of(group[0].run, name) for name in names}, control, tuple(group))
        for (control, _), group in groups.items()
    )


def value_of(run: Run, name: str) -> Scalar | None:
    """A setting's value, or that of ranks, copies, stage, seed and control."""
    own: dict[str, Scalar | None] = {
        "ranks": run.ranks, "copies": run.copies, "stage": run.stage, "seed": run.seed, "control": run.control
    }  # fmt: skip
    return own[name] if name in own else run.settings.get(name)


def matches(run: Run, filters: Mapping[str, Scalar]) -> bool:
    """Has the run all these values? A control only matches if it is asked for by name."""
    if "control" not in filters and run.control is not None:
        return False
    return all(_same(value_of(run, name), wanted) for name, wanted in filters.items())


def tied(experiment: Experiment, names: Iterable[str]) -> frozenset[str]:
    """What `zip` fixes once these names have a value: a batch that goes with the number of ranks."""
    fixing = [name for name in names if name in experiment.zip]
    if any(_is_unique(experiment.zip[name]) for name in fixing):
        return frozenset(experiment.zip) - frozenset(fixing)
    return frozenset()


def identity(values: Mapping[str, Scalar | None]) -> Identity:
    """A key under which 1 and 1.0 are one value and 1 and true are two."""
    return tuple((name, *_canonical(value)) for name, value in values.items())


def label(values: Mapping[str, Scalar | None]) -> str:
    """`size=small, ranks=2`; `all runs` where nothing varies."""
    return ", ".join(f"{name}={render(value)}" for name, value in values.items() if value is not None) or "all runs"


def finished(records: Iterable[RunRecord]) -> tuple[RunRecord, ...]:
    """Those that ended well and left a measurement."""
    return tuple(record for record in records if record.state == "finished" and record.measurement is not None)


def measured(records: Iterable[RunRecord], value: Callable[[Measurement], float | None]) -> list[float]:
    """One figure of every finished run that has it; NaN and infinities are no figures."""
    figures = (value(record.measurement) for record in finished(records) if record.measurement is not None)
    return [figure for figure in figures if figure is not None and math.isfinite(figure)]


def spread(values: Sequence[float]) -> Spread | None:
    """Their mean and sample standard deviation; None of no values."""
    if not values:
        return None
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


def state_words(state: State) -> str:
    """A state as people say it."""
    return STATE_WORDS.get(state, state.replace("_", " "))


def _waiting(experiment: Experiment, run: Run) -> RunRecord:
    return RunRecord(experiment=experiment.name, run=run, folder="", state="waiting")


def _same(value: Scalar | None, wanted: Scalar) -> bool:
    if isinstance(value, str) or isinstance(wanted, str):
        return value is not None and render(value) == render(wanted)
    return _canonical(value) == _canonical(wanted)


def _is_unique(values: Sequence[Scalar]) -> bool:
    return len({_canonical(value) for value in values}) == len(values)


def _canonical(value: Scalar | None) -> tuple[str, Scalar | None]:
    if value is None or isinstance(value, bool | str):
        return type(value).__name__, value
    return "number", value
