"""Will it fit, with which batch, how many on a card: one run over GPUs and batches. It decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.errors import UserError
from gpuplan.estimate import estimate
from gpuplan.estimate.remedies import remedies
from gpuplan.expand import shape_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuplan.estimate.remedies import Ladder
    from gpuplan.model import Experiment, Gpu, MemoryEstimate, Run, World

__all__ = ["BATCHES", "Fit", "fit", "with_micro_batch"]

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
LARGEST_BATCH = 1 << 20
MOST_COPIES = 1 << 10


class Fit(NamedTuple):
    """One GPU: the run's own memory, that at each batch, the largest batch that is OK, and how many share the card.

    `copies` counts processes at the run's own batch, each with its own context. `ladder` is what to do where the run
    does not fit, or hardly does; None where it does or nobody asked.
    """

    gpu: Gpu
    own: MemoryEstimate
    at_batches: tuple[MemoryEstimate, ...]
    largest_batch: int | None
    copies: int | None
    ladder: Ladder | None


def fit(
    run: Run,
    experiment: Experiment,
    *,
    gpus: Sequence[Gpu],
    batches: Sequence[int],
    world: World,
    with_remedies: bool = True,
) -> list[Fit]:
    """The memory of one rank of `run` on each GPU at each micro-batch. Raises UserError without a batch role."""
    found = [_on(gpu, run, experiment, batches, world) for gpu in gpus]
    if not with_remedies:
        return found
    return [one._replace(ladder=remedies(run, experiment, one.gpu, world=world)) for one in found]


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

    def together(copies: int) -> MemoryEstimate:
        return estimate(run.model_copy(update={"copies": copies}), experiment, gpu, world).memory

    own = estimate(run, experiment, gpu, world).memory
    known = own.fits != "UNKNOWN"
    return Fit(
        gpu=gpu,
        own=own,
        at_batches=tuple(memory(batch) for batch in batches),
        largest_batch=_largest(lambda batch: memory(batch).fits == "OK", LARGEST_BATCH) if known else None,
        copies=_largest(lambda copies: together(copies).fits == "OK", MOST_COPIES) if known else None,
        ladder=None,
    )


def _largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` that fits, by doubling and halving; 0 if not even one does."""
    if not fits(1):
        return 0
    low, high = 1, 2
    while high <= most and fits(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
