"""Which rows each rank trains on: the same global batches for every number of ranks.

It never reads data and knows no process group: row numbers in, row numbers out.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


class Share(NamedTuple):
    """One rank's part of one step."""

    rows: torch.Tensor
    """Row numbers of this rank; may be empty in the last, short batch."""
    global_rows: int
    """Rows of this step over all ranks: the gradient is the mean over these."""


def shares(
    rows: int, *, epoch: int, batch_size: int, seed: int, rank: int, world_size: int, shard: bool, first: int = 0
) -> Iterator[Share]:
    """The shares of `rank` in the steps of an epoch, from step `first` on.

    With `shard` a global batch is `batch_size` rows of an order that all ranks agree on, and a rank takes every
    `world_size`-th of them. Without, each rank takes batches of `batch_size` from all rows in an order of its own,
    as a DataLoader without a DistributedSampler does.
    """
    order = epoch_order(rows, seed=seed, epoch=epoch, owner="all" if shard else rank)
    for start in range(first * batch_size, rows, batch_size):
        batch = order[start : start + batch_size]
        if shard:
            yield Share(batch[rank::world_size], len(batch))
        else:
            yield Share(batch, len(batch) * world_size)


def epoch_order(rows: int, *, seed: int, epoch: int, owner: int | str) -> torch.Tensor:
    """A permutation of the row numbers that depends on nothing but the arguments."""
    return torch.randperm(rows, generator=generator(seed, "order", epoch, owner))


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Steps of an epoch; the same with and without sharding, as a rank without a sampler sees every row."""
    return math.ceil(rows / batch_size)


def generator(*parts: int | str) -> torch.Generator:
    """A random generator of its own for each purpose."""
    return torch.Generator().manual_seed(derived_seed(*parts))


def derived_seed(*parts: int | str) -> int:
    """A seed that shares no numbers with its neighbours: (1, "order", 0) and (0, "order", 1) are unrelated."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
