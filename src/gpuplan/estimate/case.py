"""One run on one GPU with all that its estimate is made from, gathered once. It estimates nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuplan.expand import shape_of
from gpuplan.footprint import Unknown, footprint_of
from gpuplan.footprint.gang import in_gang

if TYPE_CHECKING:
    from gpuplan.expand import Shape
    from gpuplan.model import Experiment, Footprint, Gpu, Run, World

__all__ = ["Case", "case_of"]

MOST_ROWS = 10**9
MOST_EPOCHS = 10**6
MOST_STEPS = 10**12
"""Larger ones are typing errors, which `check` reports; an estimate of them would overflow."""


@dataclass(frozen=True, slots=True)
class Case:
    """A run on a GPU: its shape by the roles, what its step needs, and the threads of one rank."""

    run: Run
    experiment: Experiment
    gpu: Gpu
    world: World
    shape: Shape
    footprint: Footprint | Unknown
    threads: int

    @property
    def known(self) -> Footprint | None:
        """The footprint, if there is one."""
        return None if isinstance(self.footprint, Unknown) else self.footprint

    @property
    def rows(self) -> int | None:
        """Rows of one forward pass on one rank."""
        micro_batch = self.shape.micro_batch
        return micro_batch if micro_batch and micro_batch <= MOST_ROWS else None

    @property
    def passes(self) -> int:
        """Forward passes of one optimizer step."""
        return min(max(1, self.shape.accumulation), MOST_ROWS)

    @property
    def epochs(self) -> float | None:
        """Passes over the training rows."""
        epochs = self.shape.epochs
        return epochs if epochs is not None and epochs <= MOST_EPOCHS else None

    @property
    def eval_rows(self) -> int | None:
        """Rows of one evaluation; a zero says nothing, as in programs where it stands for all."""
        rows = self.shape.eval_rows
        return rows if rows and rows <= MOST_STEPS else None

    @property
    def steps(self) -> int | None:
        """Optimizer steps of the whole run."""
        steps = self.shape.steps
        return steps if steps is not None and steps <= MOST_STEPS else None


def case_of(run: Run, experiment: Experiment, *, gpu: Gpu, world: World, threads: int | None = None) -> Case:
    """The case of `run` on `gpu`; `threads` are those that were recorded, where no role says it."""
    shape = shape_of(run, experiment)
    footprint = footprint_of(run, experiment, world, runtime=gpu.kind)
    if not isinstance(footprint, Unknown):
        footprint = in_gang(footprint, ranks=run.ranks, accumulation=shape.accumulation)
    planned = experiment.compute.threads or world.machine.threads_per_rank
    return Case(run, experiment, gpu, world, shape, footprint, shape.threads or threads or planned)
