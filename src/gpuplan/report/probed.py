"""Tables of single facts: devices, accelerators, what a probe measured, one run's record."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gpuplan.report.table import Column, Table
from gpuplan.units import format_bytes, format_count, format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gpuplan.model import Estimate, Evidence, Gpu, RunRecord, World
    from gpuplan.report.table import Cell

__all__ = ["device_table", "gpu_table", "probe_tables", "record_table"]

GPU_COLUMNS = (
    Column("name", "Accelerator", importance=10),
    Column("memory_bytes", "Memory", "bytes", importance=9),
    Column("bandwidth", "Bandwidth", importance=6),
    Column("peaks", "Dense FLOP/s", importance=7),
    Column("compute_capability", "Capability", importance=4),
    Column("checked", "Checked", importance=5),
    Column("source", "Source", importance=2),
)
DEVICE_COLUMNS = (
    Column("index", "Device", "count", importance=10),
    Column("gpu", "What", importance=10),
    Column("memory_bytes", "Memory", "bytes", importance=9),
    Column("used_bytes", "Used", "bytes", importance=7),
    Column("rates", "Rates", importance=6),
)
EVIDENCE_COLUMNS = (
    Column("run", "Command of run", importance=10),
    Column("step_s", "Step", "duration", importance=9),
    Column("samples_per_s", "Samples/s", "number", importance=8),
    Column("startup_s", "Start-up", "duration", importance=7),
    Column("memory_bytes", "Memory of a rank", "bytes", importance=8),
    Column("steps", "Steps seen", "count", importance=5),
)
FACT_COLUMNS = (Column("what", "What", importance=10), Column("value", "Value", importance=10))


def gpu_table(gpus: Iterable[Gpu]) -> Table:
    """Facts on accelerators, with how far they were checked."""
    rows = tuple(
        (gpu.name, gpu.memory_bytes, _bandwidth(gpu), _peaks(gpu), gpu.compute_capability, gpu.checked, gpu.source)
        for gpu in gpus
    )
    return Table("gpus", "Accelerators", GPU_COLUMNS, rows)


def device_table(world: World) -> Table:
    """The devices of this machine."""
    machine = world.machine
    rows = tuple(
        (device.index, device.gpu, device.memory_bytes, device.used_bytes, _rates(world.gpus.get(device.gpu)))
        for device in machine.devices
    )
    title = f"{machine.cpu}: {machine.cores} cores, {format_bytes(machine.memory_bytes)}"
    return Table("devices", title, DEVICE_COLUMNS, rows, tuple(oddity.message for oddity in world.oddities))


def probe_tables(gpu: Gpu, evidence: Sequence[Evidence]) -> tuple[Table, ...]:
    """What was measured of a device and of the commands on it; of commands no table, if none could be."""
    facts: list[tuple[Cell, ...]] = [("rates", _rates(gpu))]
    if gpu.context_bytes is not None:
        facts.append(("a rank before its first tensor", format_bytes(gpu.context_bytes)))
    if gpu.startup_s is not None:
        facts.append(("start-up with the framework", format_duration(gpu.startup_s)))
    if gpu.kernel_overhead_s is not None:
        facts.append(("one small operation", f"{gpu.kernel_overhead_s * 1e6:.1f} us"))
    rows = tuple(_evidence_row(fact) for fact in evidence)
    commands = (Table("probes", "Commands", EVIDENCE_COLUMNS, rows),) if rows else ()
    return (Table("device", gpu.name, FACT_COLUMNS, tuple(facts)), *commands)


def record_table(record: RunRecord) -> Table:
    """One run's record, a fact a row."""
    rows = tuple((what, value) for what, value in _record_facts(record) if value)
    return Table("run", record.run.name, FACT_COLUMNS, rows)


def _evidence_row(fact: Evidence) -> tuple[Cell, ...]:
    found = fact.measurement
    memory = found.peak_device_bytes or found.peak_reserved_bytes or found.peak_host_bytes
    return (fact.run, found.step_s, found.samples_per_s, found.startup_s, memory, found.steps)


def _record_facts(record: RunRecord) -> Iterator[tuple[str, str | None]]:
    yield "state", record.state
    if record.outcome:
        yield "because", record.outcome.because
        yield "next", record.outcome.advice
    yield "folder", record.folder
    yield "key", record.run.key
    yield "settings", ", ".join(f"{name}={value}" for name, value in record.run.settings.items())
    yield "attempt", str(record.attempt)
    yield "started", _time(record.started_at)
    yield "ended", _time(record.ended_at)
    yield from _provenance_facts(record)
    yield from _figures(record)


def _provenance_facts(record: RunRecord) -> Iterator[tuple[str, str | None]]:
    found = record.provenance
    if found is None:
        return
    yield "command", " ".join(found.argv)
    yield "commit", f"{found.commit}{' with uncommitted changes' if found.dirty else ''}" if found.commit else None
    yield "diff", found.diff
    yield "python", found.python
    yield "versions", ", ".join(f"{name} {version}" for name, version in found.versions.items())
    yield "environment", ", ".join(f"{name}={value}" for name, value in found.environment.items())


def _figures(record: RunRecord) -> Iterator[tuple[str, str | None]]:
    if record.estimate:
        duration = record.estimate.duration_s
        yield "predicted time", f"{format_duration(duration.p50)} ({duration.because})"
        memory = record.estimate.memory.device_bytes
        yield "predicted memory of a rank", f"{format_bytes(memory.p50)} ({memory.because})"
        yield "predicted throughput", ", ".join(_pace(record.estimate)) or None
    found = record.measurement
    if found:
        yield "measured time", format_duration(found.duration_s) if found.duration_s is not None else None
        yield "step", format_duration(found.step_s) if found.step_s is not None else None
        yield "peak resident of a rank", format_bytes(found.peak_host_bytes) if found.peak_host_bytes else None
        yield "final", ", ".join(f"{name}={value:.4g}" for name, value in found.final.items()) or None
        yield "doubts", "; ".join(found.flags) or None


def _pace(estimate: Estimate) -> Iterator[str]:
    """What is known of: samples and tokens a second, what rules, how busy the device is, and MFU."""
    for per_s, what in ((estimate.throughput_samples_per_s, "samples"), (estimate.throughput_tokens_per_s, "tokens")):
        if per_s is not None:
            yield f"{format_count(per_s)} {what}/s"
    if estimate.bound is not None:
        yield f"{estimate.bound} rules"
    if estimate.utilization is not None:
        yield f"device busy {estimate.utilization:.0%}"
    if estimate.mfu is not None:
        yield f"MFU {estimate.mfu:.1%}"


def _time(at: float | None) -> str | None:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds") if at is not None else None


def _bandwidth(gpu: Gpu) -> str | None:
    return f"{format_count(gpu.bandwidth_bytes_per_s)}B/s" if gpu.bandwidth_bytes_per_s else None


def _peaks(gpu: Gpu) -> str:
    return ", ".join(f"{precision} {format_count(peak)}" for precision, peak in gpu.peak_flops.items())


def _rates(gpu: Gpu | None) -> str:
    if gpu is None or not gpu.peak_flops:
        return "not measured: gpuplan probe"
    return f"{_peaks(gpu)} FLOP/s, {_bandwidth(gpu) or 'bandwidth unknown'}"
