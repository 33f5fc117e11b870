"""Which figure of a measurement a word means: duration, step time, throughput, the kinds of memory. It computes none.

Allocated, reserved and device memory are three numbers and never stand in for each other.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.errors import SpecError
from gpuplan.report.grammar import parse
from gpuplan.report.groups import finished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gpuplan.model import Experiment, Measurement, RunRecord
    from gpuplan.report.table import Kind

__all__ = ["MEASURES", "Measure", "metric_names", "ordered_metrics", "peak_memory"]


class Measure(NamedTuple):
    """One figure of a run, and what it is called where a run lacks it."""

    value: Callable[[Measurement], float | None]
    name: str
    kind: Kind = "number"


def peak_memory(measurement: Measurement) -> float | None:
    """Device memory as the driver counts it; of a run without a GPU, the resident memory of its largest rank."""
    has_gpu = measurement.peak_allocated_bytes is not None or measurement.peak_reserved_bytes is not None
    if measurement.peak_device_bytes is not None or has_gpu:
        return measurement.peak_device_bytes
    return measurement.peak_host_bytes


def ordered_metrics(experiment: Experiment, records: Iterable[RunRecord]) -> tuple[str, ...]:
    """The recorded metrics: those of `expect:` first, then those that get better or worse, then what never changes."""
    done = [record.measurement for record in finished(records) if record.measurement is not None]
    recorded = metric_names(done)
    wanted = [name for name in dict.fromkeys(_expected(experiment)) if name in recorded]
    constant = {name for name in recorded if len(done) > 1 and len({one.final.get(name) for one in done}) == 1}
    judged = {name for one in done for name in one.best}
    rest = sorted(recorded, key=lambda name: (name in constant, name not in judged))
    return tuple(dict.fromkeys((*wanted, *rest)))


def metric_names(measurements: list[Measurement]) -> tuple[str, ...]:
    """The metrics that these runs recorded, in order of appearance."""
    return tuple(dict.fromkeys(name for one in measurements for name in (*one.final, *one.best)))


def _expected(experiment: Experiment) -> list[str]:
    names: list[str] = []
    for text in experiment.expect:
        with contextlib.suppress(SpecError):  # `evaluate` says what is wrong with the line
            names += [call.metric for call in parse(text).calls() if call.metric]
    return names


MEASURES: dict[str, Measure] = {
    "duration": Measure(lambda one: one.duration_s, "duration", "duration"),
    "step_time": Measure(lambda one: one.step_s, "step time", "duration"),
    "throughput": Measure(lambda one: one.samples_per_s, "samples per second"),
    "peak_memory": Measure(peak_memory, "peak device memory", "bytes"),
    "peak_allocated": Measure(lambda one: one.peak_allocated_bytes, "peak allocated memory", "bytes"),
    "peak_reserved": Measure(lambda one: one.peak_reserved_bytes, "peak reserved memory", "bytes"),
    "peak_host": Measure(lambda one: one.peak_host_bytes, "peak host memory", "bytes"),
}
"""By the name that an `expect:` line uses."""
