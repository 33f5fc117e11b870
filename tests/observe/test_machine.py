"""What machine this is, from recorded files of /proc and /sys, from recorded driver answers, and for real."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

import pytest

from gpuplan.observe import nvml
from gpuplan.observe.gpus import survey
from gpuplan.observe.limits import (
    cgroup_mounts,
    cgroup_paths,
    cpu_name,
    cpu_quota,
    host_memory_bytes,
    memory_limit,
    read_limits,
)
from gpuplan.observe.machine import _describe, cpu_device_name, cpu_devices, find_machine
from gpuplan.observe.nvml import Seen
from gpuplan.units import GIB, MIB

if TYPE_CHECKING:
    from pathlib import Path

MEMINFO = "MemTotal:       24684092 kB\nMemFree:        23111111 kB\n"
CPUINFO = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) CPU @ 2.20GHz\n"
V2_MOUNT = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = (
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
    "32 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


# ---------------------------------------------------------------- cores and memory


def test_this_machine() -> None:
    limits = read_limits()
    assert 1 <= limits.cores <= len(os.sched_getaffinity(0))
    assert GIB // 8 < limits.memory_bytes <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert limits.cpu


def test_a_cgroup_of_version_2_limits_both(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            "proc/cpuinfo": CPUINFO,
            "proc/self/cgroup": "0::/user.slice/job_7\n",
            "proc/self/mountinfo": V2_MOUNT,
            "sys/fs/cgroup/user.slice/cpu.max": "100000 100000\n",
            "sys/fs/cgroup/user.slice/memory.max": "4294967296\n",
            "sys/fs/cgroup/user.slice/job_7/memory.max": "max\n",
        },
    )
    limits = read_limits(root)
    assert limits.cores == 1
    assert limits.memory_bytes == 4 * GIB
    assert limits.cpu == "Intel Xeon @ 2.20GHz"


def test_a_cgroup_of_version_1_limits_both_also_inside_a_container(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            "proc/self/cgroup": "4:memory:/job\n1:cpu,cpuacct:/docker/abc\n",
            "proc/self/mountinfo": V1_MOUNTS,
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "150000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": str(2 * GIB),
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    assert read_limits(root)[1:] == (1, 2 * GIB)


def test_no_limits_mean_the_host(tmp_path: Path) -> None:
    root = write(tmp_path, {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/\n", "proc/self/mountinfo": V2_MOUNT})
    assert read_limits(root).memory_bytes == 24684092 * 1024
    assert read_limits(root).cores == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("text", ["", "garbage", "1:cpu", "::::", "0::/../../etc\n", "\x00\xff"])
def test_broken_cgroup_files_limit_nothing(tmp_path: Path, text: str) -> None:
    root = write(tmp_path, {"proc/meminfo": MEMINFO, "proc/self/cgroup": text, "proc/self/mountinfo": V2_MOUNT + text})
    assert read_limits(root).memory_bytes == 24684092 * 1024


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000", None),
        ("250000 100000", 2.5),
        ("", None),
        ("5", None),
        ("0 0", None),
        ("a b", None),
        ("--5 1", None),
        ("² 1", None),
    ],
)
def test_cpu_quota(tmp_path: Path, text: str, cores: float | None) -> None:
    assert cpu_quota(write(tmp_path, {"cpu.max": text})) == cores


def test_parsers_of_proc() -> None:
    assert cgroup_paths("4:memory:/a\n1:cpu,cpuacct:/b:c\n0::/d\n") == {
        "memory": "/a",
        "cpu": "/b:c",
        "cpuacct": "/b:c",
        "": "/d",
    }
    assert [mount.point for mount in cgroup_mounts(V1_MOUNTS)] == [
        "/sys/fs/cgroup/memory",
        "/sys/fs/cgroup/cpu,cpuacct",
    ]
    assert host_memory_bytes("MemTotal: x kB\n") == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert cpu_name("nothing here") == os.uname().machine


# ---------------------------------------------------------------- CPU shares


@pytest.mark.parametrize(
    ("cores", "max_ranks", "threads", "count"),
    [(2, 1, 2, 1), (2, 2, 1, 2), (2, 4, 1, 2), (8, 3, 2, 4), (1, 1, 1, 1), (64, 8, 8, 8), (4, 0, 4, 1)],
)
def test_cpu_shares(cores: int, max_ranks: int, threads: int, count: int) -> None:
    shares = cpu_devices(cores, max_ranks, memory_bytes=16 * GIB, name="x")
    assert (shares.threads_per_rank, len(shares.devices)) == (threads, count)
    assert [device.index for device in shares.devices] == list(range(count))
    assert {device.memory_bytes for device in shares.devices} == {16 * GIB // count}


@pytest.mark.parametrize(("threads", "count"), [(1, 3), (2, 1), (3, 1), (8, 1)])
def test_cpu_shares_of_a_stated_size(threads: int, count: int) -> None:
    shares = cpu_devices(3, 1, memory_bytes=16 * GIB, threads=threads)
    assert (shares.threads_per_rank, len(shares.devices)) == (min(3, threads), count)
    assert {device.kind for device in shares.devices} == {"cpu"}


def test_this_machine_without_gpus_is_cpu_shares() -> None:
    found = find_machine({"CUDA_VISIBLE_DEVICES": ""}, max_ranks=2)
    machine = found.machine
    assert machine.threads_per_rank == max(1, machine.cores // 2)
    assert len(machine.devices) == machine.cores // machine.threads_per_rank
    row = found.gpus[machine.devices[0].gpu]
    assert row.kind == "cpu"
    assert row.name == cpu_device_name(machine.cpu, machine.threads_per_rank)
    assert row.checked == "assumed"
    assert not row.peak_flops


# ---------------------------------------------------------------- what the driver says


class Refused(Exception):  # noqa: N818  pynvml's own name is NVMLError
    """What pynvml raises for every answer it does not have."""


class Answer:
    """One structure of the driver, with these fields."""

    def __init__(self, **fields: object) -> None:
        self.__dict__.update(fields)


class RecordedDriver:
    """Answers of a driver with two GPUs, the first one cut into two slices; no such machine is here to ask."""

    NVMLError = Refused
    names: ClassVar[dict[str, str | bytes]] = {
        "gpu0": "NVIDIA A100-SXM4-80GB",
        "gpu1": b"NVIDIA A100-SXM4-80GB",
        "mig0": "NVIDIA A100-SXM4-80GB MIG 1g.10gb",
    }

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        return f"gpu{index}"

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        if not uuid.startswith("UUID-"):
            raise Refused
        return uuid.removeprefix("UUID-")

    def nvmlDeviceGetMigMode(self, handle: str) -> list[int]:  # noqa: N802
        if handle != "gpu0":
            raise Refused
        return [1, 1]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: str) -> int:  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: str, index: int) -> str:  # noqa: N802
        if index > 0:
            raise Refused
        return "mig0"

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Answer:  # noqa: N802
        size = 9728 * MIB if handle == "mig0" else 81920 * MIB
        return Answer(total=size, used=500 * MIB)

    def nvmlDeviceGetUUID(self, handle: str) -> str:  # noqa: N802
        return f"UUID-{handle}"

    def nvmlDeviceGetName(self, handle: str) -> str | bytes:  # noqa: N802
        return self.names[handle]

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[Answer]:  # noqa: N802
        if handle == "mig0":
            return []
        return [
            Answer(pid=10, usedGpuMemory=3 * GIB),
            Answer(pid=11, usedGpuMemory=None),
            Answer(pid=12, usedGpuMemory=GIB),
        ]

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Answer:  # noqa: N802
        if handle == "mig0":
            raise Refused
        return Answer(gpu=40, memory=10)


def test_the_drivers_devices_with_slices_in_the_place_of_their_gpu() -> None:
    first, second = nvml.devices(RecordedDriver())
    assert first == Seen(0, "UUID-mig0", "NVIDIA A100-SXM4-80GB MIG 1g.10gb", 9728 * MIB, 500 * MIB)
    assert second == Seen(1, "UUID-gpu1", "NVIDIA A100-SXM4-80GB", 81920 * MIB, 500 * MIB)


def test_what_processes_use() -> None:
    driver = RecordedDriver()
    assert nvml.use(driver, ["UUID-gpu1"], {10, 12}) == nvml.Use(4 * GIB, 0.4)
    assert nvml.use(driver, ["UUID-gpu1", "1"], {10}) == nvml.Use(3 * GIB, 0.4)
    assert nvml.use(driver, ["UUID-gpu1"], {11}) == nvml.Use(None, 0.4)
    assert nvml.use(driver, ["UUID-mig0"], {10}) == nvml.Use(None, None)
    assert nvml.use(driver, ["gone"], {10}) == nvml.Use(None, None)


def test_no_driver_here_is_no_error() -> None:
    if nvml.library() is None:
        assert survey(None).devices == ()
    else:
        assert survey(None).devices


@pytest.mark.parametrize("text", ["garbage", "--5", "²", "0", "-1", "max", "9" * 5000])
def test_a_memory_limit_that_is_none(tmp_path: Path, text: str) -> None:
    assert memory_limit(write(tmp_path, {"memory.max": text})) is None


def test_a_known_device_is_its_row() -> None:
    assert _describe(Seen(0, "u", "NVIDIA H100 80GB HBM3", 81559 * MIB)).name == "H100 SXM 80GB"
    assert _describe(Seen(0, "u", "Tesla V100-SXM2-16GB", 16160 * MIB)).name == "V100 SXM2 16GB"
    assert _describe(Seen(0, "u", "NVIDIA A100", 81920 * MIB)).name == "A100 SXM 80GB"


def test_a_device_with_other_memory_has_a_row_of_its_own() -> None:
    row = _describe(Seen(0, "u", "NVIDIA GeForce RTX 4090", 49140 * MIB))
    assert row.name == "GeForce RTX 4090, 48 GiB"
    assert row.memory_bytes == 49140 * MIB
    assert row.peak_flops["bf16"] == pytest.approx(165.2e12)


def test_a_slice_has_its_share() -> None:
    row = _describe(Seen(0, "u", "NVIDIA A100-SXM4-80GB MIG 1g.10gb", 9728 * MIB))
    assert row.name == "A100 SXM 80GB MIG 1g.10gb"
    assert row.memory_bytes == 9728 * MIB
    assert row.peak_flops["bf16"] == pytest.approx(312e12 / 7)
    assert row.bandwidth_bytes_per_s == pytest.approx(2039e9 / 8)
    assert row.checked == "assumed"
    half = _describe(Seen(0, "u", "NVIDIA H100 80GB HBM3 MIG 1c.3g.40gb", 40 * GIB))
    assert half.peak_flops["bf16"] == pytest.approx(989e12 / 7)


def test_an_unknown_device_has_only_its_memory() -> None:
    row = _describe(Seen(0, "u", "NVIDIA Frobnicator 9000", 7 * GIB))
    assert (row.name, row.memory_bytes, row.checked, row.peak_flops) == ("Frobnicator 9000", 7 * GIB, "assumed", {})
