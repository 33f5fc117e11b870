"""Seconds of one training step from its footprint and a GPU's rates alone. It never looks at evidence.

On a GPU: the roofline of the step on one well-measured card, times what steps like it took longer there, times the
transfer to the GPU in question (`estimate.transfer`); or the start of its kernels, if that takes longer. Rates alone
promise a card what no program gets from it, by a factor that is the card's own (docs/decisions/0006).
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from gpuplan.data import find_gpu
from gpuplan.data.derates import shipped_tables
from gpuplan.estimate.answers import Assumption
from gpuplan.estimate.transfer import FORMATS, chip_of, transfer
from gpuplan.units import format_count, format_duration, format_number

if TYPE_CHECKING:
    from gpuplan.data.derates import Regime, Tables
    from gpuplan.estimate.case import Case
    from gpuplan.model import Footprint, Gpu

__all__ = [
    "ANCHOR", "Anchored", "Bound", "Roofline", "Work", "anchored", "launch_seconds", "regime_of", "step_seconds",
    "work_of",
]  # fmt: skip

Bound = Literal["compute", "bandwidth", "launch"]

ANCHOR = "A100 SXM 80GB"
"""The card with most public step times in every regime."""

DERATE = {"gpu": 1.5, "cpu": 1.6}
"""Measured time over roofline where no way leads over the anchor. GPU: fp32 without TF32 takes 1.2 to 1.5 times its
roofline (single layers on V100, A100, H100: NeuSight's runs in time.md; whole BERT trainings on V100: 1.5). CPU: median
of 11 encoders and decoders on one thread, torch 2.13, measured here in November 2026 (1.27-3.16, the smallest most).
"""

KERNEL_OVERHEAD_S = {"gpu": 40e-6, "cpu": 2e-6}
"""For a row without one. GPUs: Python-driven eager training takes 40 us an operator (trace.md, LitGPT and HF logs).
CPU: an in-place addition to four numbers, torch 2.13, measured here in November 2026."""

DEPTHWISE = 5.0
"""What a depthwise convolution takes on a GPU over moving its bytes: it computes without tensor cores, with some
instructions for each of 9 to 25 taps. Chosen after EfficientNet's steps on V100 and A100, which show 5 to 10; no other
network of the kind was looked at (docs/decisions/0006)."""

RULES = {"compute": "arithmetic", "bandwidth": "memory", "launch": "the start of kernels"}

FLOPS_PER_BYTE = 4.0
"""Of a step. Below it no card computes longer than it moves bytes, tensor cores or none."""


class Roofline(NamedTuple):
    """The step time that footprint and rates give, and what rules it.

    `utilization` is the share of the step in which the device works; `mfu` the share of its peak rate that the step's
    FLOPs make up, None without a peak. `log_width` is half of the 80 % interval of its log, where programs like it
    were measured.
    """

    seconds: float
    because: str
    assumptions: tuple[Assumption, ...]
    bound: Bound = "compute"
    utilization: float = 1.0
    mfu: float | None = None
    log_width: float | None = None


class Anchored(NamedTuple):
    """Seconds of work, and half of the 80 % interval of their log that comes from the way between two GPUs."""

    seconds: float
    way: float


class Work(NamedTuple):
    """One optimizer step on a GPU: the least seconds that its rates allow, by what bounds an operator, and kernels."""

    compute_s: float
    memory_s: float
    kernels: int
    flops: float

    @property
    def seconds(self) -> float:
        """Arithmetic and memory one after the other, as operators are."""
        return self.compute_s + self.memory_s


def step_seconds(case: Case) -> Roofline | None:
    """The closed-form seconds of one optimizer step; None without a footprint, a batch or a rate."""
    footprint, rows = case.known, case.rows
    peak = _peak(case.gpu, footprint.precision, threads=case.threads) if footprint else None
    if footprint is None or rows is None or (peak is None and not case.gpu.bandwidth_bytes_per_s):
        return None
    least = work_of(footprint, case.gpu, rows=rows, passes=case.passes, threads=case.threads)
    found = anchored(footprint, case.gpu, rows=rows, passes=case.passes, tables=shipped_tables())
    # By way of the anchor a card may seem to do more than it can: V100s in fp32, whose peers have TF32.
    work = max(found.seconds, least.seconds) if found else DERATE[case.gpu.kind] * least.seconds
    launches = launch_seconds(footprint, case.gpu, kernels=least.kernels)
    # A GPU's kernels are started while earlier ones run; the CPU does one after the other.
    seconds = max(work, launches) if case.gpu.kind == "gpu" else work + launches
    if not seconds:
        return None
    bound: Bound = "launch" if launches > work else "compute" if least.compute_s >= least.memory_s else "bandwidth"
    return Roofline(
        seconds,
        _because(case, least, bound, work=work, launches=launches),
        _assumptions(case, peak),
        bound,
        work / seconds,
        least.flops / peak / seconds if peak else None,
        _log_width(found) if found and bound != "launch" else None,
    )


def launch_seconds(footprint: Footprint, gpu: Gpu, *, kernels: int) -> float:
    """What the host takes to start them: as measured on the machine, else as known of the program, else as usual."""
    return kernels * (gpu.kernel_overhead_s or footprint.kernel_overhead_s or KERNEL_OVERHEAD_S[gpu.kind])


def work_of(
    footprint: Footprint,
    gpu: Gpu,
    *,
    rows: float,
    passes: int = 1,
    threads: int | None = None,
    precision: str | None = None,
) -> Work:
    """What a step of `passes` micro-batches of `rows` needs of `gpu`, at the footprint's precision if none is named.

    `threads` of a CPU compute.
    """
    peak = _peak(gpu, precision or footprint.precision, threads=threads)
    compute = memory = flops = 0.0
    kernels = 0
    for operators in footprint.operators:
        times = 1 if operators.kind == "optimizer" else passes
        computing = operators.flops.at(rows) / peak if peak else 0.0
        moving = operators.moved_bytes.at(rows) / gpu.bandwidth_bytes_per_s if gpu.bandwidth_bytes_per_s else 0.0
        moving *= DEPTHWISE if operators.kind == "depthwise" and gpu.kind == "gpu" else 1.0
        compute += times * computing if computing >= moving else 0.0
        memory += times * moving if moving > computing else 0.0
        kernels += times * operators.kernels
        flops += times * operators.flops.at(rows)
    return Work(compute, memory, kernels, flops)


def _log_width(found: Anchored) -> float | None:
    longer = shipped_tables().longer
    return math.hypot(found.way, longer.log_width) if longer else None


def anchored(footprint: Footprint, gpu: Gpu, *, rows: float, tables: Tables, passes: int = 1) -> Anchored | None:
    """The work of a step on `gpu` as measured programs get it done: by way of the anchor, where most was measured.

    None where no rate of it is known, or nothing was measured at its precision: plain fp32 on cards with TF32.
    """
    target = chip_of(gpu, footprint.precision)
    if target is None or tables.longer is None or gpu.kind == "cpu":
        return None
    level = target.place.precision
    if level == "fp32" and gpu.peak_flops.get("tf32"):
        return None
    precision = "fp16" if level == "half" else "tf32"
    source = chip_of(_anchor(), precision)
    if source is None:
        return None
    work = work_of(footprint, _anchor(), rows=rows, passes=passes, precision=precision)
    there = tables.longer.compute * work.compute_s + tables.longer.memory * work.memory_s
    found = transfer(source, target, regime=regime_of(footprint, rows=rows), tables=tables)
    return Anchored(there * found.value, math.log(found.high / found.value))


def regime_of(footprint: Footprint, *, rows: float) -> Regime:
    """What kind of network it is: most of its FLOPs are of convolutions or of products, or it has few for its bytes."""
    flops = {operators.kind: 0.0 for operators in footprint.operators}
    for operators in footprint.operators:
        flops[operators.kind] += operators.flops.at(rows)
    products = flops.get("matmul", 0.0) + flops.get("attention", 0.0)
    convolutions = flops.get("convolution", 0.0) + flops.get("depthwise", 0.0)
    if FLOPS_PER_BYTE * footprint.moved_bytes(rows) > products + convolutions:
        return "bandwidth"
    return "convolution" if convolutions > products else "matmul"


@cache
def _anchor() -> Gpu:
    found = find_gpu(ANCHOR)
    if found is None:
        raise LookupError(ANCHOR)
    return found


def _peak(gpu: Gpu, precision: str, *, threads: int | None = None) -> float | None:
    """FLOPs a second of one rank: on a CPU in proportion to its threads."""
    names = FORMATS.get(precision, ("fp32",))
    peak = next((gpu.peak_flops[name] for name in names if gpu.peak_flops.get(name)), None)
    if peak is None or gpu.kind == "gpu" or not gpu.threads or not threads:
        return peak
    return peak * threads / gpu.threads


def _because(case: Case, least: Work, bound: Bound, *, work: float, launches: float) -> str:
    if bound == "launch" and case.gpu.kind == "gpu":
        kernels = f"{format_duration(launches)} to start its kernels, {format_duration(work)} of work"
        return f"closed form: launch-bound, {kernels} on {case.gpu.name}"
    told = f"closed form: {format_count(least.flops)}FLOP, {format_duration(work)} of work on {case.gpu.name}"
    longer = f"{format_number(work / least.seconds)} times its roofline, as measured steps take"
    return f"{told}, {longer}; {RULES[bound]} rules" if case.gpu.kind == "gpu" else f"{told}, {longer}"


def _assumptions(case: Case, peak: float | None) -> tuple[Assumption, ...]:
    found = []
    if peak is None:
        found.append(Assumption(text=f"no peak rate of {case.gpu.name} is known: time from its bandwidth alone"))
    if not case.gpu.bandwidth_bytes_per_s:
        found.append(Assumption(text=f"no bandwidth of {case.gpu.name} is known: time from its peak rate alone"))
    if case.gpu.kernel_overhead_s is None and case.known is not None:
        overhead_s = launch_seconds(case.known, case.gpu, kernels=1)
        overhead = f"{format_number(overhead_s * 1e6)} us to start a kernel are assumed"
        found.append(Assumption(text=overhead, change="`gpuplan probe` measures it"))
    return tuple(found)
