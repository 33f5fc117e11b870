"""Checks of what the runs ask of the machine: devices, GPU kinds, threads, places. It never asks a driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuplan.data import gpu_readings, near_gpus
from gpuplan.data.places import places
from gpuplan.verify.case import groups, listed, near, ranks_at, role_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.model import Finding, Run, World
    from gpuplan.verify.case import Case

__all__ = ["gpu_names", "gpus_here", "places_built", "ranks_have_devices", "threads_have_cores"]

BUILT_PLACES = ("local",)
SLURM = "slurm"


def places_built(case: Case) -> Iterator[Finding]:
    """A place in `compute.on` that gpuplan cannot run on."""
    on = case.experiment.compute.on
    if set(on) <= set(BUILT_PLACES):
        return
    offered = {offer.place for offer in case.world.offers}
    known = sorted({*BUILT_PLACES, SLURM, *places(), *offered})
    for index, place in enumerate(on):
        if place not in known:
            meant = near(place, known)
            yield case.finding(
                "error",
                "place",
                message=f"gpuplan knows no place {place}",
                because="nothing is offered there, in no list of prices and in no table that was read",
                fix=f"did you mean {meant}?" if meant else "`gpuplan offers` lists the places; `--offers` takes yours",
                at=f"compute.on.{index}",
            )
        elif place not in BUILT_PLACES:
            yield case.finding(
                "warning",
                "place",
                message=f"gpuplan cannot run on {place} yet: it is planned and priced there",
                because="`gpuplan apply` runs on this machine only",
                fix="rent the machines of the plan yourself, or `compute: {on: [local]}`",
                at=f"compute.on.{index}",
            )


def gpu_names(case: Case) -> Iterator[Finding]:
    """A GPU that no row of the table is meant by."""
    wished = {name: f"compute.gpus.{i}" for i, name in enumerate(case.experiment.compute.gpus)}
    for index, stage in enumerate(case.experiment.stages):
        wished |= {name: f"stages.{index}.gpus.{i}" for i, name in enumerate(stage.gpus)}
    for name, at in wished.items():
        if not _meant(case.world, name):
            close = near_gpus(name)
            yield case.finding(
                "error",
                "gpu-unknown",
                message=f"{name} is not a GPU that gpuplan knows",
                because=f"alike: {', '.join(close)}" if close else "no name in the table is like it",
                fix=f"did you mean {close[0]}?" if close else "`gpuplan gpus` lists them",
                at=at,
            )


def gpus_here(case: Case) -> Iterator[Finding]:
    """GPUs are wished for, and this machine has none, or others: the runs would use what is there."""
    experiment, devices = case.experiment, case.world.machine.devices
    wished = {name for wish in experiment.compute.gpus for name in _meant(case.world, wish)}
    here = list(dict.fromkeys(device.gpu for device in devices))
    if "local" not in experiment.compute.on or not wished or wished & set(here):
        return
    has_gpu = any(_is_gpu(case.world, name) for name in here)
    yield case.finding(
        "warning" if has_gpu or len(experiment.compute.on) > 1 else "error",
        "gpu-missing",
        message=f"{listed(experiment.compute.gpus)} asked for, but this machine has {listed(here) or 'no device'}",
        because="local runs use the GPUs that are here" if has_gpu else "a local run would train on the CPU",
        fix="leave `compute.gpus` out to run on what is here, or plan on a machine that has them",
        at="compute.gpus",
    )


def ranks_have_devices(case: Case) -> Iterator[Finding]:
    """More ranks than this machine has devices: there would be nowhere to start the gang."""
    if "local" not in case.experiment.compute.on:
        return
    devices = len(case.world.machine.devices)
    for ranks, runs in groups(case, lambda run, _: run.ranks if run.ranks > devices else None).items():
        yield case.finding(
            "error",
            "ranks",
            message=f"{ranks} ranks, but this machine has {devices} device{'s' * (devices != 1)}",
            because="one rank has one device, and all of a run start together",
            fix=f"at most `ranks: {max(1, devices)}`",
            at=ranks_at(case.experiment),
            runs=runs,
        )


def threads_have_cores(case: Case) -> Iterator[Finding]:
    """CPU threads of all that runs at once against the cores."""
    machine, compute = case.world.machine, case.experiment.compute
    found: dict[tuple[int, int], list[Run]] = {}
    for run, shape in zip(case.runs, case.shapes, strict=True):
        threads = compute.threads or shape.threads
        if threads is not None and run.ranks <= len(machine.devices):
            at_once = min(len(case.todo), len(machine.devices) // run.ranks) or 1
            processes = at_once * run.ranks * run.copies
            if processes * threads > machine.cores:
                found.setdefault((processes, threads), []).append(run)
    for (processes, threads), runs in found.items():
        fitting = machine.cores // processes
        yield case.finding(
            "warning",
            "threads",
            message=f"up to {processes} processes x {threads} threads on {machine.cores} cores",
            because=f"{processes * threads} threads would take turns, and every step time would be longer",
            fix=f"`compute: {{threads: {fitting}}}`" if fitting else "fewer copies or ranks at once",
            at="compute.threads" if compute.threads else role_at(case.experiment, "threads"),
            runs=runs,
        )


def _meant(world: World, name: str) -> set[str]:
    """Every GPU that a name may mean."""
    return {gpu.name for gpu in gpu_readings(name)} | ({name} if name in world.gpus else set())


def _is_gpu(world: World, name: str) -> bool:
    return name not in world.gpus or world.gpus[name].kind == "gpu"
