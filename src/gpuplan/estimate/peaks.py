"""The three memory numbers of one rank from its footprint, and a device's capacity. It never looks at evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data.contexts import context_for
from gpuplan.estimate.allocator import USABLE, Step, held_by, least_of
from gpuplan.estimate.answers import Width, around, total, weakest
from gpuplan.footprint.declared import SHARDED
from gpuplan.model import Architecture, Quantity
from gpuplan.units import GIB, MIB, format_bytes

if TYPE_CHECKING:
    from gpuplan.estimate.allocator import Held
    from gpuplan.estimate.case import Case
    from gpuplan.model import Footprint, Gpu

__all__ = ["Peaks", "capacity_bytes", "context_of", "device_from", "predicted", "reserved_from", "usable_bytes"]

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


COMMUNICATION_BYTES = {"ddp": (0.1 * GIB, 0.5 * GIB, 1.5 * GIB), "sharded": (1.8 * GIB, 2.3 * GIB, 3.0 * GIB)}
"""NCCL's buffers on each rank's device, outside of PyTorch's allocator. DDP: a communicator with its connections takes
484 MiB by default (NVIDIA/nccl pull request 2366, 2026) and with an all-reduce on a large machine 1.6 GB (issue 864,
2023); a few channels of 4 MiB at the least (issue 391). Sharded: `allocator.FITTED`, with the streams' own blocks."""


class Peaks(NamedTuple):
    """Tensors; what the allocator holds for them; what the driver, or on a CPU the kernel, shows.

    `least` is what the device has to have: less than it shows, where the allocator can give free blocks back.
    """

    allocated: Quantity
    reserved: Quantity
    device: Quantity
    least: Quantity


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
    if case.gpu.kind == "cpu":
        reserved = reserved_from(allocated, case.gpu)
        device = device_from(reserved, case)
        return Peaks(allocated, reserved, device, device)
    held = held_by(_step(case, footprint, rows))
    reserved = _reserved_by(held, allocated)
    outside_bytes = _outside(case).p50 - (held.process - held.reserved)
    least = least_of(allocated, held, context_bytes=outside_bytes, usable_bytes=usable_bytes(case))
    return Peaks(allocated, reserved, device_from(reserved, case), least)


def _step(case: Case, footprint: Footprint, rows: int) -> Step:
    """What the allocator sees; ranks that share parameters keep more beside them."""
    sharding = footprint.versions.get(SHARDED)
    source = case.experiment.footprint
    full = source is not None and isinstance(source.model, Architecture) and source.model.method == "full"
    return Step(
        footprint.moments,
        rows,
        cached_share=CACHED_SHARE,
        ranks=case.run.ranks if sharding else 1,
        shards_everything=full and sharding in {"fsdp", "zero3"},
        replayed=footprint.reserved_bytes.get(rows),
    )


def _reserved_by(held: Held, allocated: Quantity) -> Quantity:
    """What the caching allocator holds through the instants of the step."""
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


def device_from(reserved: Quantity, case: Case) -> Quantity:
    """What the device shows for one process of `case` that holds `reserved`: every process has a context of its own."""
    outside = _outside(case)
    return Quantity(
        p10=reserved.p10 + outside.p10,
        p50=reserved.p50 + outside.p50,
        p90=reserved.p90 + outside.p90,
        source=weakest(reserved.source, "closed_form") if case.gpu.context_bytes is None else reserved.source,
        because=f"{format_bytes(reserved.p50)} reserved ({reserved.because}), and {outside.because}",
    )


def _outside(case: Case) -> Quantity:
    """What a rank holds beside PyTorch's allocator."""
    context = context_of(case.gpu)
    if case.run.ranks == 1 or case.gpu.kind == "cpu":
        return context
    between = _communication(case)
    return total([context, between], because=f"{context.because}, and {between.because}")


def _communication(case: Case) -> Quantity:
    """What NCCL holds on the device of one of several ranks."""
    sharded = case.known is not None and SHARDED in case.known.versions
    low, middle, high = COMMUNICATION_BYTES["sharded" if sharded else "ddp"]
    because = f"{format_bytes(middle)} of NCCL between ranks"
    return Quantity(p10=low, p50=middle, p90=high, source="assumed", because=because)


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


def usable_bytes(case: Case) -> float:
    """What processes can have of one device: a card keeps some for itself."""
    return capacity_bytes(case) * (USABLE if case.gpu.kind == "gpu" else 1.0)


def _width(footprint: Footprint) -> Width:
    return ALLOCATED.get(footprint.source, ALLOCATED["closed_form"])
