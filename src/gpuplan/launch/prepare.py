"""Makes a run ready to start: its folder, environment, newest checkpoint, command line. It never starts it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from gpuplan.errors import UserError
from gpuplan.launch.base import Job, writing
from gpuplan.launch.checkpoints import newest_checkpoint
from gpuplan.launch.folder import run_folder
from gpuplan.launch.provenance import capture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuplan.model import Plan, Provenance, Run

__all__ = ["ArgvOf", "Prepared", "Site", "make_state", "prepare"]

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
TORCHRUN_SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")


class ArgvOf(Protocol):
    """The command line of a run in its folder, resumed from `checkpoint` if there is one."""

    def __call__(self, run: Run, run_dir: Path, checkpoint: Path | None) -> tuple[str, ...]:
        """Words, the program first."""


@dataclass(frozen=True, slots=True)
class Site:
    """What all runs of one plan on this machine share."""

    plan: Plan
    state: Path
    argv_of: ArgvOf
    gpus: frozenset[int]
    """Indices of `plan.machine.devices` that are GPUs; the rest are shares of the CPU."""
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)


class Prepared(NamedTuple):
    """A run ready to start, and the record of what exactly it is."""

    job: Job
    provenance: Provenance
    checkpoint: Path | None


def make_state(state: Path) -> Path:
    """Make the state folder, which git is told to leave alone."""
    with writing(state):
        (state / "runs").mkdir(parents=True, exist_ok=True)
        ignore = state / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", "utf-8")
    return state.resolve()


def prepare(site: Site, run: Run, *, devices: tuple[int, ...], attempt: int) -> Prepared:
    """All that has to stand before `run` can start on `devices` as its attempt `attempt`."""
    experiment = site.plan.experiment
    folder = run_folder(site.state, run.name)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint = newest_checkpoint(folder, experiment.checkpoint.files)
        signal = experiment.checkpoint.signal
        job = Job(
            run=run.name,
            key=run.key,
            attempt=attempt,
            folder=folder,
            argv=site.argv_of(run, folder, checkpoint),
            workdir=Path(os.path.normpath(Path(site.plan.base) / experiment.environment.workdir)),
            environment=_environment(site, run, devices=devices)
            | _protocol(site, run, folder=folder, checkpoint=checkpoint, attempt=attempt)
            | experiment.environment.variables,
            stop_signal="SIGTERM" if signal == "none" else signal,
            grace_s=experiment.limits.grace,
            timeout_s=experiment.limits.run,
        )
        return Prepared(job, capture(job), checkpoint)


def _protocol(site: Site, run: Run, *, folder: Path, checkpoint: Path | None, attempt: int) -> dict[str, str | None]:
    """What gpuplan tells a program that asks."""
    signal = site.plan.experiment.checkpoint.signal
    return {
        "GPUPLAN_RUN": run.name,
        "GPUPLAN_RUN_DIR": str(folder),
        "GPUPLAN_ATTEMPT": str(attempt),
        "GPUPLAN_SEED": None if run.seed is None else str(run.seed),
        "GPUPLAN_RESUME": str(checkpoint) if checkpoint else "",
        "GPUPLAN_STOP_SIGNAL": "SIGTERM" if signal == "none" else signal,
    }


def _environment(site: Site, run: Run, *, devices: tuple[int, ...]) -> dict[str, str | None]:
    """The share of the machine that the run has, for its libraries."""
    experiment = site.plan.experiment
    threads = experiment.compute.threads or site.plan.machine.threads_per_rank
    wanted: dict[str, str | None] = dict.fromkeys(THREAD_VARIABLES, str(threads))
    wanted |= _visible(site, run, devices=devices)
    # What a program prints should be in its log at once, and not be lost when it is killed.
    wanted["PYTHONUNBUFFERED"] = "1"
    if run.ranks > 1:
        # torchrun dies of signals that it was not told to pass on, and kills its workers after a time of its own
        # (torch 2.13: run.py reads its options from PET_*; the first name is for those who start the agent themselves).
        signals = ",".join(dict.fromkeys([*TORCHRUN_SIGNALS, *{experiment.checkpoint.signal} - {"none"}]))
        wanted |= {"TORCHELASTIC_SIGNALS_TO_HANDLE": signals, "PET_SIGNALS_TO_HANDLE": signals}
        wanted["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(max(1, int(experiment.limits.grace)))
    return wanted


def _visible(site: Site, run: Run, *, devices: tuple[int, ...]) -> dict[str, str | None]:
    """The run's GPUs, named as the mask that gpuplan itself was started under names them."""
    gpus = [index for index in devices if index in site.gpus]
    mask = site.environment.get("CUDA_VISIBLE_DEVICES")
    if mask is None:
        # Without it CUDA counts the fastest first, and not as nvidia-smi does.
        order = site.environment.get("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        return {"CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus)), "CUDA_DEVICE_ORDER": order}
    names = [name.strip() for name in mask.split(",") if name.strip()]
    if any(index >= len(names) for index in gpus):
        raise UserError(
            f"run {run.name!r} is planned on GPU {max(gpus)}, but CUDA_VISIBLE_DEVICES={mask!r} shows {len(names)}",
            hint="unset CUDA_VISIBLE_DEVICES or plan again under it",
        )
    return {"CUDA_VISIBLE_DEVICES": ",".join(names[index] for index in gpus)}
