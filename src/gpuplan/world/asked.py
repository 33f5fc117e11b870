"""What a command line asks for beside the spec: where to look for machines. It looks at none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gpuplan.model import Experiment, Machine, Plan

__all__ = ["Asked", "asked_of", "is_asked", "is_for_gpus"]


class Asked(NamedTuple):
    """A table of offers, any place in place of those in `compute.on`, p90 durations; where answers are kept."""

    table: Path | None = None
    anywhere: bool = False
    cautious: bool = False
    cache: Path | None = None


def is_asked(experiment: Experiment, asked: Asked) -> bool:
    """Whether anything but this machine is to be looked at."""
    return asked.anywhere or asked.table is not None or set(experiment.compute.on) != {"local"}


def is_for_gpus(experiment: Experiment, machine: Machine, asked: Asked) -> bool:
    """Whether runs are planned on GPUs: this machine has one, GPUs are named, or another place is looked at."""
    has_gpu = any(device.kind == "gpu" for device in machine.devices)
    return has_gpu or is_asked(experiment, asked) or bool(experiment.compute.gpus)


def asked_of(plan: Plan) -> Asked:
    """What a plan was asked for beside its spec."""
    return Asked(table=Path(plan.offers_table) if plan.offers_table else None, cautious=plan.cautious)
