"""How many cores and how much memory this process may use: the host's, its affinity's and its cgroup's limits.

It reads /proc and /sys on Linux and asks the standard library elsewhere; it never changes a limit.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

__all__ = ["Limits", "read_limits"]

ROOT = Path("/")
POSITIVE = re.compile(r"[1-9][0-9]{0,18}")


class Limits(NamedTuple):
    """What this process may use, with the CPU's name."""

    cpu: str
    cores: int
    memory_bytes: int


class Mount(NamedTuple):
    """Where a cgroup hierarchy is mounted, and which folder of it stands there."""

    point: str
    root: str
    controllers: frozenset[str]


def read_limits(root: Path = ROOT) -> Limits:
    """The limits of this process, from the files below `root`.

    Cores: those of the affinity mask, fewer if a cgroup grants less CPU time (2.5 cores count as 2).
    Memory: the host's, or the smallest limit of this process's cgroup and those above it, in either version.
    """
    quotas = [cpu_quota(folder) for folder in _folders(root, "cpu")]
    limits = [memory_limit(folder) for folder in _folders(root, "memory")]
    memory_bytes = host_memory_bytes(_text(root / "proc/meminfo"))
    return Limits(
        cpu=cpu_name(_text(root / "proc/cpuinfo")),
        cores=max(1, min([usable_cores(), *(int(quota) for quota in quotas if quota is not None)])),
        memory_bytes=min([memory_bytes, *(limit for limit in limits if limit is not None)]),
    )


def usable_cores() -> int:
    """Cores that the scheduler may put this process on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name(cpuinfo: str) -> str:
    """The CPU's name in the text of /proc/cpuinfo, in one line without needless words."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"model name", "Model", "Hardware", "cpu model"} and value.strip():
            words = value.replace("(R)", "").replace("(TM)", "").replace("(tm)", "").split()
            return " ".join(word for word in words if word not in {"CPU", "Processor"})[:80]
    return os.uname().machine


def host_memory_bytes(meminfo: str) -> int:
    """Total memory in the text of /proc/meminfo, else as the C library counts it."""
    found = re.search(r"^MemTotal:\s+([0-9]{1,15}) kB", meminfo, re.MULTILINE)
    if found:
        return int(found[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def cpu_quota(folder: Path) -> float | None:
    """Cores' worth of time that a cgroup folder grants, by cpu.max (version 2) or cpu.cfs_quota_us (1)."""
    words = _text(folder / "cpu.max").split()
    if not words:
        words = [*_text(folder / "cpu.cfs_quota_us").split(), *_text(folder / "cpu.cfs_period_us").split()]
    numbers = [int(word) for word in words if POSITIVE.fullmatch(word)]
    return numbers[0] / numbers[1] if len(numbers) == 2 else None


def memory_limit(folder: Path) -> int | None:
    """Bytes that a cgroup folder grants, by memory.max (version 2) or memory.limit_in_bytes (1)."""
    text = (_text(folder / "memory.max") or _text(folder / "memory.limit_in_bytes")).strip()
    return int(text) if POSITIVE.fullmatch(text) else None


def cgroup_paths(cgroup: str) -> dict[str, str]:
    """Controller to this process's path, in the text of /proc/self/cgroup; version 2 has the controller ""."""
    paths = {}
    for line in cgroup.splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:
            paths.update(dict.fromkeys(parts[1].split(","), parts[2]))
    return paths


def cgroup_mounts(mountinfo: str) -> list[Mount]:
    """The cgroup hierarchies in the text of /proc/self/mountinfo; version 2 has the controller ""."""
    mounts = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        place, kind = before.split(), after.split()
        if len(place) >= 5 and len(kind) >= 3 and kind[0] in {"cgroup", "cgroup2"}:
            controllers = frozenset(kind[2].split(",")) if kind[0] == "cgroup" else frozenset({""})
            mounts.append(Mount(point=place[4], root=place[3], controllers=controllers))
    return mounts


def _folders(root: Path, controller: str) -> list[Path]:
    """This process's folder of a controller, and those above it, up to the mount."""
    paths = cgroup_paths(_text(root / "proc/self/cgroup"))
    folders = []
    for mount in cgroup_mounts(_text(root / "proc/self/mountinfo")):
        for name in {controller, ""} & mount.controllers & set(paths):
            point = root / mount.point.lstrip("/")
            inner = _below(paths[name], mount.root)
            folders += [point.joinpath(*inner.parts[:depth]) for depth in range(len(inner.parts) + 1)]
    return folders


def _below(path: str, mount_root: str) -> PurePosixPath:
    """The path inside the mount; a container may see its own folder as the mount's root."""
    inside = PurePosixPath(path.lstrip("/"))
    top = PurePosixPath(mount_root.lstrip("/"))
    if ".." in inside.parts:
        return PurePosixPath()
    return inside.relative_to(top) if inside.is_relative_to(top) else PurePosixPath()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
