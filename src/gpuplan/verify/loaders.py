"""Checks of the processes that load data against the CPU cores of where the runs are planned. It never starts one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.verify.case import MOST, groups, role_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.model import Finding, Run
    from gpuplan.verify.case import Case

__all__ = ["loaders_have_cores"]

LOCAL = "local"


class _Load(NamedTuple):
    """Loader workers of one rank, the gang, and the GPU kinds that the run is planned on."""

    workers: int
    ranks: int
    copies: int
    gpus: frozenset[str]


class _Host(NamedTuple):
    """A machine: its devices, its cores, and how these are called."""

    devices: int
    cores: int
    words: str


class _Crowd(NamedTuple):
    """How many ranks with so many workers run on a machine at once."""

    ranks: int
    workers: int
    host: _Host

    @property
    def processes(self) -> int:
        """Each rank and its loader workers."""
        return self.ranks * (self.workers + 1)


def loaders_have_cores(case: Case) -> Iterator[Finding]:
    """Fewer CPU cores than ranks x (loader workers + 1): loaders take turns, and the GPUs wait for data."""
    found: dict[_Crowd, list[Run]] = {}
    for load, runs in groups(case, lambda run, _: _load(case, run)).items():
        crowds = [_crowd(load, host, runs_to_do=len(case.todo)) for host in _hosts(case, load)]
        least = min(crowds, key=lambda crowd: crowd.processes / crowd.host.cores, default=None)
        if least is not None and least.processes > least.host.cores:
            found.setdefault(least, []).extend(runs)
    for crowd, runs in found.items():
        fitting = crowd.host.cores // crowd.ranks - 1
        ranks = f"{crowd.ranks} rank{'s' * (crowd.ranks != 1)}"
        yield case.finding(
            "warning",
            "loaders",
            message=f"{ranks} at once x ({_loaders(crowd.workers)} + 1) on {crowd.host.words}",
            because=f"{crowd.processes} processes would take turns, and each step would wait for its data",
            fix=f"at most {_loaders(fitting)} a rank" if fitting >= 0 else "fewer ranks or copies at once",
            at=role_at(case.experiment, "workers"),
            runs=runs,
        )


def _load(case: Case, run: Run) -> _Load | None:
    workers = _workers(case, run)
    if workers is None or not run.train:
        return None
    return _Load(workers, run.ranks, run.copies, frozenset(one.gpu for one in case.estimates.get(run.name, ())))


def _hosts(case: Case, load: _Load) -> list[_Host]:
    """The machines that a run may be planned on; none where the cores of one of them are not known."""
    machine, offers = case.world.machine, case.world.offers
    if set(case.experiment.compute.on) == {LOCAL} and all(offer.place == LOCAL for offer in offers):
        hosts = [_Host(len(machine.devices), machine.cores, f"{machine.cores} cores")]
        return [host for host in hosts if host.devices >= load.ranks]
    possible = [offer for offer in offers if offer.gpu in load.gpus and offer.gpu_count >= load.ranks]
    known = [
        _Host(offer.gpu_count, offer.vcpus, f"the {offer.vcpus} vCPUs of {offer.id}, the offer with the most room")
        for offer in possible
        if offer.vcpus
    ]
    return known if len(known) == len(possible) else []


def _crowd(load: _Load, host: _Host, *, runs_to_do: int) -> _Crowd:
    at_once = min(runs_to_do, host.devices // load.ranks) or 1
    return _Crowd(at_once * load.ranks * load.copies, load.workers, host)


def _workers(case: Case, run: Run) -> int | None:
    """What the role says, if it is a count; no role says nothing."""
    value = run.value_of(case.experiment.roles.workers)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST:
        return None
    return int(value) if value == int(value) else None


def _loaders(workers: int) -> str:
    return f"{workers} loader worker{'s' * (workers != 1)}"
