"""Seconds of one training step from its footprint and a GPU's rates alone. It never looks at evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.estimate.answers import Assumption
from gpuplan.units import format_count, format_duration, format_number

if TYPE_CHECKING:
    from gpuplan.estimate.case import Case
    from gpuplan.model import Footprint, Gpu, Operators

__all__ = ["Roofline", "step_seconds"]

DERATE = {"gpu": 1.9, "cpu": 1.6}
"""Measured time over roofline. GPUs: between two public families, 1.4 in the median for single layers (NeuSight's
runs: V100 1.17, A100 1.27-1.42, H100 1.45-1.51, L4 1.98, in time.md) and 2.5 for whole BERT trainings (116 rows of
lambdal/deeplearning-benchmark and NVIDIA/DeepLearningExamples on 17 GPUs, compared in November 2026). CPU: median of
11 encoders and decoders on one thread, torch 2.13, measured here in November 2026 (1.27-3.16, most for the smallest).
"""

KERNEL_OVERHEAD_S = {"gpu": 40e-6, "cpu": 2e-6}
"""For a row without one. GPUs: Python-driven eager training takes 40 us an operator (trace.md, LitGPT and HF logs).
CPU: an in-place addition to four numbers, torch 2.13, measured here in November 2026."""

STAND_INS = {
    "bf16": ("bf16", "tf32", "fp32"),
    "fp16": ("fp16", "fp32"),
    "tf32": ("tf32", "fp32"),
    "fp32": ("fp32",),
}
"""Whose peak a precision has on hardware without it: never a faster one."""


class Roofline(NamedTuple):
    """The step time that footprint and rates give."""

    seconds: float
    because: str
    assumptions: tuple[Assumption, ...]


def step_seconds(case: Case) -> Roofline | None:
    """The closed-form seconds of one optimizer step; None without a footprint, a batch or a rate."""
    footprint, rows = case.known, case.rows
    peak = _peak(case, footprint) if footprint else None
    if footprint is None or rows is None or (peak is None and not case.gpu.bandwidth_bytes_per_s):
        return None
    work = DERATE[case.gpu.kind] * sum(
        _passes(operators, case) * _seconds(operators, case.gpu, rows=rows, peak=peak)
        for operators in footprint.operators
    )
    kernels = sum(_passes(operators, case) * operators.kernels for operators in footprint.operators)
    overhead = case.gpu.kernel_overhead_s or KERNEL_OVERHEAD_S[case.gpu.kind]
    # A GPU's kernels are started while earlier ones run; the CPU does one after the other.
    seconds = max(work, kernels * overhead) if case.gpu.kind == "gpu" else work + kernels * overhead
    if not seconds:
        return None
    return Roofline(
        seconds, _because(case, footprint, work=work, launches=kernels * overhead), _assumptions(case, peak)
    )


def _passes(operators: Operators, case: Case) -> int:
    return 1 if operators.kind == "optimizer" else case.passes


def _seconds(operators: Operators, gpu: Gpu, *, rows: int, peak: float | None) -> float:
    compute = operators.flops.at(rows) / peak if peak else 0.0
    moving = operators.moved_bytes.at(rows) / gpu.bandwidth_bytes_per_s if gpu.bandwidth_bytes_per_s else 0.0
    return max(compute, moving)


def _peak(case: Case, footprint: Footprint) -> float | None:
    """FLOPs a second of one rank: on a CPU in proportion to its threads."""
    peaks = case.gpu.peak_flops
    peak = next((peaks[name] for name in STAND_INS.get(footprint.precision, ("fp32",)) if peaks.get(name)), None)
    if peak is None or case.gpu.kind == "gpu" or not case.gpu.threads:
        return peak
    return peak * case.threads / case.gpu.threads


def _because(case: Case, footprint: Footprint, *, work: float, launches: float) -> str:
    flops = format_count(footprint.flops(case.rows or 1) * case.passes)
    if case.gpu.kind == "gpu" and launches > work:
        kernels = f"{format_duration(launches)} to start its kernels, {format_duration(work)} of work"
        return f"closed form: launch-bound, {kernels} on {case.gpu.name}"
    return f"closed form: {flops}FLOP, {format_duration(work)} of work on {case.gpu.name}, {_rates(case.gpu)}"


def _rates(gpu: Gpu) -> str:
    return f"rates divided by {format_number(DERATE[gpu.kind])} as measured runs are slower"


def _assumptions(case: Case, peak: float | None) -> tuple[Assumption, ...]:
    found = []
    if peak is None:
        found.append(Assumption(text=f"no peak rate of {case.gpu.name} is known: time from its bandwidth alone"))
    if not case.gpu.bandwidth_bytes_per_s:
        found.append(Assumption(text=f"no bandwidth of {case.gpu.name} is known: time from its peak rate alone"))
    if case.gpu.kernel_overhead_s is None:
        overhead = f"{format_number(KERNEL_OVERHEAD_S[case.gpu.kind] * 1e6)} us to start a kernel are assumed"
        found.append(Assumption(text=overhead, change="`gpuplan probe` measures it"))
    return tuple(found)
