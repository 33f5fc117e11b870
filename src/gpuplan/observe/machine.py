"""What machine this is: CPU, usable cores, usable memory, and the devices that ranks can have.

It measures no speed (probe.py does) and never uses a GPU.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data import find_gpu, gpu_readings
from gpuplan.model import Device, Finding, Gpu, Machine
from gpuplan.observe.gpus import survey
from gpuplan.observe.limits import Limits, read_limits
from gpuplan.units import GIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuplan.observe.nvml import Seen

__all__ = ["Found", "cpu_device_name", "cpu_devices", "find_machine"]

SLICE = re.compile(r"(.+) MIG (?:(\d)c\.)?(\d)g\.(\d+)gb\S*")
COMPUTE_SLICES = 7
MEMORY_SLICES = 8
SAME_MEMORY = 0.02
"""Drivers differ by this much in what they count as a card's memory."""


class Found(NamedTuple):
    """The machine, the facts on devices of it that the packaged data does not have, and what is odd about it."""

    machine: Machine
    gpus: dict[str, Gpu]
    findings: tuple[Finding, ...]


class Shares(NamedTuple):
    """The CPU cut into devices."""

    devices: tuple[Device, ...]
    threads_per_rank: int


def find_machine(environment: Mapping[str, str], *, max_ranks: int = 1, threads: int | None = None) -> Found:
    """This machine as a program with this `environment` would find it.

    Its devices are the GPUs that CUDA_VISIBLE_DEVICES shows, numbered as the program numbers them; `identity` is what
    to put into CUDA_VISIBLE_DEVICES for one of them. Without GPUs they are shares of the CPU: of `threads` threads
    each, else of as many as `max_ranks` ranks leave.
    """
    limits = read_limits()
    found = survey(environment.get("CUDA_VISIBLE_DEVICES"))
    usable = [seen for seen in found.devices if _memory_bytes(seen)]
    described = [_describe(seen) for seen in usable]
    shares = _gpu_places(limits, usable, described) if usable else _cpu_shares(limits, max_ranks, threads=threads)
    machine = Machine(
        cpu=limits.cpu,
        cores=limits.cores,
        memory_bytes=limits.memory_bytes,
        devices=shares.devices,
        threads_per_rank=shares.threads_per_rank,
    )
    rows = described or [_unmeasured_cpu(limits, shares)]
    odd = tuple(_no_memory(seen) for seen in found.devices if not _memory_bytes(seen))
    return Found(machine, {row.name: row for row in rows if find_gpu(row.name) != row}, found.findings + odd)


def cpu_devices(
    cores: int, max_ranks: int, *, memory_bytes: int, name: str = "cpu", threads: int | None = None
) -> Shares:
    """The CPU as devices: as many threads a rank as `max_ranks` ranks leave, and as many devices as that gives.

    A device has an equal share of the machine's memory; what other programs use of it is not taken off.
    """
    threads_per_rank = min(cores, threads) if threads else max(1, cores // max(1, max_ranks))
    count = max(1, cores // threads_per_rank)
    devices = tuple(
        Device(index=index, gpu=name, kind="cpu", memory_bytes=memory_bytes // count) for index in range(count)
    )
    return Shares(devices, threads_per_rank)


def cpu_device_name(cpu: str, threads: int) -> str:
    """How a share of this CPU is called where a GPU's name would stand."""
    return f"{cpu}, {threads} thread{'s' if threads > 1 else ''}"


def _gpu_places(limits: Limits, usable: list[Seen], described: list[Gpu]) -> Shares:
    devices = tuple(
        Device(
            index=index, gpu=gpu.name, memory_bytes=gpu.memory_bytes, used_bytes=seen.used_bytes, identity=seen.identity
        )
        for index, (seen, gpu) in enumerate(zip(usable, described, strict=True))
    )
    return Shares(devices, max(1, limits.cores // len(devices)))


def _cpu_shares(limits: Limits, max_ranks: int, *, threads: int | None) -> Shares:
    shares = cpu_devices(limits.cores, max_ranks, memory_bytes=limits.memory_bytes, threads=threads)
    name = cpu_device_name(limits.cpu, shares.threads_per_rank)
    devices = tuple(device.model_copy(update={"gpu": name}) for device in shares.devices)
    return Shares(devices, shares.threads_per_rank)


def _unmeasured_cpu(limits: Limits, shares: Shares) -> Gpu:
    return Gpu(
        name=cpu_device_name(limits.cpu, shares.threads_per_rank),
        kind="cpu",
        memory_bytes=shares.devices[0].memory_bytes,
        source="this machine",
        checked="assumed",
        notes="rates not measured yet: `gpuplan probe` measures them",
    )


def _memory_bytes(seen: Seen) -> int:
    """As the driver states it, else as the packaged data has it; 0 where neither does."""
    known = None if SLICE.fullmatch(seen.name) else find_gpu(seen.name)
    return seen.memory_bytes or (known.memory_bytes if known else 0)


def _describe(seen: Seen) -> Gpu:
    """The facts on a device: of the packaged data, with the memory that its driver states."""
    memory_bytes = _memory_bytes(seen)
    part = SLICE.fullmatch(seen.name)
    readings = gpu_readings(part[1] if part else seen.name)
    if not readings:
        return _unknown(seen)
    if part:
        return _slice(readings[0], seen, compute=int(part[2] or part[3]), memory_gb=int(part[4]))
    whole = min(readings, key=lambda gpu: abs(gpu.memory_bytes - memory_bytes))
    if abs(memory_bytes - whole.memory_bytes) < SAME_MEMORY * whole.memory_bytes:
        return whole
    return whole.model_copy(
        update={"name": f"{_plain(seen.name)}, {format_bytes(memory_bytes)}", "memory_bytes": memory_bytes}
    )


def _slice(whole: Gpu, seen: Seen, *, compute: int, memory_gb: int) -> Gpu:
    """A MIG slice: its sevenths of the compute, its eighths of the bandwidth."""
    eighths = min(MEMORY_SLICES, max(1, round(memory_gb * GIB / whole.memory_bytes * MEMORY_SLICES)))
    bandwidth = whole.bandwidth_bytes_per_s
    return whole.model_copy(
        update={
            "name": f"{whole.name} MIG {seen.name.rsplit(' ', 1)[1]}",
            "memory_bytes": seen.memory_bytes or memory_gb * GIB,
            "bandwidth_bytes_per_s": bandwidth and bandwidth * eighths / MEMORY_SLICES,
            "peak_flops": {key: peak * compute / COMPUTE_SLICES for key, peak in whole.peak_flops.items()},
            "link_bytes_per_s": None,
            "checked": "assumed",
            "notes": f"a slice of {whole.name}: {compute}/7 of its compute, {eighths}/8 of its bandwidth",
        }
    )


def _unknown(seen: Seen) -> Gpu:
    return Gpu(
        name=_plain(seen.name),
        memory_bytes=seen.memory_bytes or 0,
        source="the NVIDIA driver of this machine",
        checked="assumed",
        notes="not in gpuplan's data: only its memory is known",
    )


def _plain(name: str) -> str:
    return name.removeprefix("NVIDIA ")[:80]


def _no_memory(seen: Seen) -> Finding:
    return Finding(
        severity="warning",
        check="machine.memory",
        message=f"GPU {seen.number} ({seen.name[:80]}) is left out: nobody says how much memory it has",
        place="NVIDIA driver",
        because="the driver does not state it, and gpuplan's data has no row of this name",
        fix="run `nvidia-smi -q` to see what the driver says; `gpuplan gpus` lists the known names",
    )
