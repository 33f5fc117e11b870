"""Will it fit, with which batch, how many on a card: one run over GPUs and batches. It decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.errors import UserError
from gpuplan.estimate import estimate
from gpuplan.expand import shape_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuplan.model import Experiment, Gpu, MemoryEstimate, Run, World

__all__ = ["BATCHES", "Fit", "fit", "with_micro_batch"]

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
LARGEST_BATCH = 1 << 20
MARGIN = 0.92
"""Of a card's memory; the rest is for what nobody counted (memory.md section 5, trace.md section 7)."""


class Fit(NamedTuple):
    """One GPU: the memory at each batch, the largest batch whose p90 fits, and how many runs share the card there."""

    gpu: Gpu
    at_batches: tuple[MemoryEstimate, ...]
    largest_batch: int | None
    copies: int | None
    """Runs on one card at the run's own batch, each with its own context."""


def fit(run: Run, experiment: Experiment, *, gpus: Sequence[Gpu], batches: Sequence[int], world: World) -> list[Fit]:
    """The memory of one rank of `run` on each GPU at each micro-batch. Raises UserError without a batch role."""
    return [_on(gpu, run, experiment, batches, world) for gpu in gpus]


def with_micro_batch(run: Run, experiment: Experiment, micro_batch: int) -> Run:
    """The same run with another micro-batch: through the setting that the roles name. Raises UserError."""
    roles = experiment.roles
    if isinstance(roles.micro_batch, str):
        return run.model_copy(update={"settings": run.settings | {roles.micro_batch: micro_batch}})
    if isinstance(roles.batch, str):
        batch = micro_batch * run.ranks * shape_of(run, experiment).accumulation
        return run.model_copy(update={"settings": run.settings | {roles.batch: batch}})
    raise UserError(
        "no role says which setting is the batch", hint="roles: {micro_batch: SETTING}, or {batch: SETTING}"
    )


def _on(gpu: Gpu, run: Run, experiment: Experiment, batches: Sequence[int], world: World) -> Fit:
    def memory(batch: int) -> MemoryEstimate:
        return estimate(with_micro_batch(run, experiment, batch), experiment, gpu, world).memory

    own = estimate(run, experiment, gpu, world).memory
    room_bytes = MARGIN * own.capacity_bytes
    known = own.fits != "UNKNOWN"
    return Fit(
        gpu=gpu,
        at_batches=tuple(memory(batch) for batch in batches),
        largest_batch=_largest(lambda batch: memory(batch).device_bytes.p90 <= room_bytes) if known else None,
        copies=int(room_bytes // own.device_bytes.p90) if known and own.device_bytes.p90 > 0 else None,
    )


def _largest(fits: Callable[[int], bool]) -> int:
    """The largest batch that fits, by doubling and halving; 0 if not even one row does. Memory grows with the batch."""
    if not fits(1):
        return 0
    low, high = 1, 2
    while high <= LARGEST_BATCH and fits(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
