"""The processes of a run and what they tell each other.

It never decides anything: each function is one exchange that every rank must join, and with one rank it is free.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.distributed as dist

from gpuplan.workloads.agnews.errors import DivergedError, WorkloadError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class Ranks(NamedTuple):
    """This process among its fellows, as torchrun numbers them."""

    rank: int
    world_size: int
    device: torch.device


def identify(environ: Mapping[str, str]) -> Ranks:
    """This process's place and device, from torchrun's environment; alone without it."""
    local_rank = int(environ.get("LOCAL_RANK", "0"))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        if local_rank >= torch.cuda.device_count():
            raise WorkloadError(
                f"rank {local_rank} of this machine has no GPU: {torch.cuda.device_count()} visible",
                hint="start one process a GPU: --nproc-per-node must not exceed the visible GPUs",
            )
        device = torch.device("cuda", local_rank)
    return Ranks(int(environ.get("RANK", "0")), int(environ.get("WORLD_SIZE", "1")), device)


@contextmanager
def joined(ranks: Ranks) -> Iterator[None]:
    """Hold the process group of a run.

    After an unexpected error the group is left as it is: closing it could wait for ranks that wait for this one.
    """
    if ranks.device.type == "cuda":
        torch.cuda.set_device(ranks.device)
    if ranks.world_size == 1:
        yield
        return
    cuda = ranks.device.type == "cuda"
    dist.init_process_group("nccl" if cuda else "gloo", device_id=ranks.device if cuda else None)
    try:
        yield
    except (SystemExit, DivergedError):
        _part()
        raise
    _part()


def _part() -> None:
    """Close the process group, all ranks at once and with nothing left that uses it.

    A rank that ends while a fellow's threads still talk to it has been seen to abort that fellow ("terminate called
    without an active exception", torch 2.13 with gloo, once in some twenty runs).
    """
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


def total(values: Sequence[float], ranks: Ranks) -> list[float]:
    """Sums over the ranks, element by element."""
    return _reduced(values, ranks, maximum=False)


def highest(values: Sequence[float], ranks: Ranks) -> list[float]:
    """Maxima over the ranks, element by element."""
    return _reduced(values, ranks, maximum=True)


def gathered(value: object, ranks: Ranks) -> list[object]:
    """The value of each rank, in order."""
    if ranks.world_size == 1:
        return [value]
    values: list[object] = [None] * ranks.world_size
    dist.all_gather_object(values, value)
    return values


def wait(ranks: Ranks) -> None:
    """Go on when every rank is here."""
    if ranks.world_size > 1:
        dist.barrier()


def _reduced(values: Sequence[float], ranks: Ranks, *, maximum: bool) -> list[float]:
    if ranks.world_size == 1:
        return list(values)
    numbers = torch.tensor(values, dtype=torch.float64, device=ranks.device)
    dist.all_reduce(numbers, dist.ReduceOp.MAX if maximum else dist.ReduceOp.SUM)
    return [float(number) for number in numbers.tolist()]
