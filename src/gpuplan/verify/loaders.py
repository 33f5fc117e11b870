"""Checks of the processes that load data against the CPU cores. It never starts one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuplan.verify.case import MOST, role_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.model import Finding, Run
    from gpuplan.verify.case import Case

__all__ = ["loaders_have_cores"]


def loaders_have_cores(case: Case) -> Iterator[Finding]:
    """Fewer CPU cores than ranks x (loader workers + 1): loaders take turns, and the GPUs wait for data."""
    machine = case.world.machine
    found: dict[tuple[int, int], list[Run]] = {}
    for run in case.runs:
        workers = _workers(case, run)
        if workers is not None and run.train and run.ranks <= len(machine.devices):
            at_once = min(len(case.todo), len(machine.devices) // run.ranks) or 1
            ranks = at_once * run.ranks * run.copies
            if ranks * (workers + 1) > machine.cores:
                found.setdefault((ranks, workers), []).append(run)
    for (ranks, workers), runs in found.items():
        fitting = machine.cores // ranks - 1
        yield case.finding(
            "warning",
            "loaders",
            message=f"{ranks} rank{'s' * (ranks != 1)} at once x ({_loaders(workers)} + 1) on {machine.cores} cores",
            because=f"{ranks * (workers + 1)} processes would take turns, and each step would wait for its data",
            fix=f"at most {_loaders(fitting)} a rank" if fitting >= 0 else "fewer ranks or copies at once",
            at=role_at(case.experiment, "workers"),
            runs=runs,
        )


def _workers(case: Case, run: Run) -> int | None:
    """What the role says, if it is a count; no role says nothing."""
    value = run.value_of(case.experiment.roles.workers)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST:
        return None
    return int(value) if value == int(value) else None


def _loaders(workers: int) -> str:
    return f"{workers} loader worker{'s' * (workers != 1)}"
