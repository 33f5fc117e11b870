"""The three memory numbers of one rank from its footprint, and a device's capacity. It never looks at evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data.contexts import context_for
from gpuplan.estimate.allocator import Step, held_by
from gpuplan.estimate.answers import Width, around, weakest
from gpuplan.model import Quantity
from gpuplan.units import GIB, MIB, format_bytes

if TYPE_CHECKING:
    from gpuplan.estimate.case import Case
    from gpuplan.model import Footprint, Gpu

__all__ = ["Peaks", "capacity_bytes", "context_of", "device_from", "predicted", "reserved_from"]

ALLOCATED = {"traced": Width(0.95, 1.10), "closed_form": Width(0.85, 1.30), "measured": Width(0.99, 1.01)}
"""Of tensors. Traced: 23 published GPU runs, 4.7 % mean error, with other library versions up to 20 % (trace.md).
Closed form: 0.2 % against the models it describes, 15-30 % low for an eager attention or an unfused GELU."""

RESERVED = Width(1.05, 1.45)
RESERVED_MIDDLE = 1.16
"""The caching allocator's share where nothing but the tensors' sum is known: (nvidia-smi - 0.5 GiB) / allocated of 101
one-GPU runs on an A100, p10, p50, p90 (foundation-model-stack/fms-acceleration, scripts/benchmarks/refs, read November
2026). With a footprint `estimate.allocator` goes by the step's instants."""
SLACK = Width(0.5, 2.0)
"""Of what the allocator keeps beside an unknown program's instants (equal runs differ by up to 18 %, memory.md)."""
CACHED_SHARE = 0.43
"""Of the bytes of logits: 5.5 to 6.2 bytes a logit beside 12 to 14 (data/kernels.toml, the stock losses)."""
SEGMENT_BYTES = 20 * MIB
"""The caching allocator takes memory in segments of this size, so that small models reserve at least one more."""

CONTEXT_BYTES = (0.15 * GIB, 0.23 * GIB, 0.5 * GIB)
"""Of a CPU: 0.22 GiB after `import torch` and one product, torch 2.13, measured here in November 2026."""
CURRENT_TORCH = "2.13"
"""For a run that names none: whoever plans a run today has a torch whose CUDA loads kernels lazily."""

HEAP_BASE_BYTES = (80e6, 160e6, 300e6)
HEAP_SHARE = (0.10, 0.45, 0.90)
"""A CPU process's resident set beyond Python with torch and its tensors, as a base and a share of the tensors: code
pages of the kernels, libraries, data, and freed blocks that glibc keeps. Fitted to 12 trainings by bare scripts
(110 MB at 38 MB of tensors, 864 MB at 1.3 GB, 157 MB at 1.1 GB of few large ones) and 4 runs of the agnews workload
(100 MB more), torch 2.13, measured here in November 2026."""


class Peaks(NamedTuple):
    """Tensors; what the allocator holds for them; what the driver, or on a CPU the kernel, shows."""

    allocated: Quantity
    reserved: Quantity
    device: Quantity


def predicted(case: Case) -> Peaks | None:
    """The peaks that the footprint gives at the run's micro-batch, or at one row if none is known."""
    footprint = case.known
    if footprint is None:
        return None
    rows = case.rows or 1
    moment = footprint.peak(rows)
    because = (
        f"{format_bytes(moment.total_bytes(rows))} of tensors in the {moment.phase} at micro-batch {rows:,}: "
        f"{footprint.because}"
    )
    allocated = around(moment.total_bytes(rows), _width(footprint), source=footprint.source, because=because)
    reserved = (
        _reserved_by(footprint, rows, allocated) if case.gpu.kind == "gpu" else reserved_from(allocated, case.gpu)
    )
    return Peaks(allocated, reserved, device_from(reserved, case.gpu))


def _reserved_by(footprint: Footprint, rows: int, allocated: Quantity) -> Quantity:
    """What the caching allocator holds through the instants of the step."""
    held = held_by(Step(footprint.moments, rows, cached_share=CACHED_SHARE))
    extra = held.reserved - held.allocated
    return Quantity(
        p10=allocated.p10 + SLACK.low * extra,
        p50=allocated.p50 + extra,
        p90=allocated.p90 + SLACK.high * extra,
        source=allocated.source,
        because=f"{format_bytes(allocated.p50)} of tensors, and {format_bytes(extra)} that the caching allocator keeps",
    )


def reserved_from(allocated: Quantity, gpu: Gpu) -> Quantity:
    """What the allocator holds for tensors of this size."""
    if gpu.kind == "cpu":
        because = f"{format_bytes(allocated.p50)} of tensors, and what glibc keeps beside them"
        slack = [base + share * allocated.p50 for base, share in zip(HEAP_BASE_BYTES, HEAP_SHARE, strict=True)]
    else:
        because = f"{format_bytes(allocated.p50)} of tensors, x{RESERVED_MIDDLE} for the caching allocator"
        factors = (RESERVED.low, RESERVED_MIDDLE, RESERVED.high)
        slack = [(factor - 1) * allocated.p50 for factor in factors]
        slack[2] += SEGMENT_BYTES
    return Quantity(
        p10=allocated.p10 + slack[0],
        p50=allocated.p50 + slack[1],
        p90=allocated.p90 + slack[2],
        source=allocated.source,
        because=because,
    )


def device_from(reserved: Quantity, gpu: Gpu) -> Quantity:
    """What the device shows for a process that holds `reserved`."""
    context = context_of(gpu)
    return Quantity(
        p10=reserved.p10 + context.p10,
        p50=reserved.p50 + context.p50,
        p90=reserved.p90 + context.p90,
        source=weakest(reserved.source, "closed_form") if gpu.context_bytes is None else reserved.source,
        because=f"{format_bytes(reserved.p50)} reserved ({reserved.because}), and {context.because}",
    )


def context_of(gpu: Gpu) -> Quantity:
    """What a process holds before its first tensor."""
    if gpu.context_bytes is not None:
        because = f"{format_bytes(gpu.context_bytes)} before the first tensor"
        return around(float(gpu.context_bytes), Width(0.95, 1.05), source="measured", because=because)
    low, middle, high = CONTEXT_BYTES if gpu.kind == "cpu" else _context_of_its_kind(gpu)
    because = f"an assumed {format_bytes(middle)} before the first tensor"
    return Quantity(p10=low, p50=middle, p90=high, source="assumed", because=because)


def _context_of_its_kind(gpu: Gpu) -> tuple[float, float, float]:
    found = context_for(gpu.compute_capability or "", torch=CURRENT_TORCH)
    return found.low, found.middle, found.high


def capacity_bytes(case: Case) -> int:
    """Memory of one device: the card's, or the device's share of a CPU machine's."""
    shares = [device.memory_bytes for device in case.world.machine.devices if device.gpu == case.gpu.name]
    return min(shares) if shares and case.gpu.kind == "cpu" else case.gpu.memory_bytes


def _width(footprint: Footprint) -> Width:
    return ALLOCATED.get(footprint.source, ALLOCATED["closed_form"])
