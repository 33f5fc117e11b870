"""Which figure of a measurement a word means: duration, step time, throughput, the kinds of memory. It computes none.

Allocated, reserved and device memory are three numbers and never stand in for each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuplan.model import Measurement
    from gpuplan.report.table import Kind

__all__ = ["MEASURES", "Measure", "metric_names", "peak_memory"]


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


def metric_names(measurements: list[Measurement]) -> tuple[str, ...]:
    """The metrics that these runs recorded, in order of appearance."""
    return tuple(dict.fromkeys(name for one in measurements for name in (*one.final, *one.best)))


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
