"""Shares: each row once an epoch, the same global batches for every number of ranks, and the bug on request."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gpuplan.workloads.agnews.sharding import Share, derived_seed, epoch_order, shares, steps_per_epoch


class Case(NamedTuple):
    rows: int
    rank_batch: int
    world_size: int
    seed: int
    epoch: int


CASES = st.builds(
    Case, st.integers(1, 200), st.integers(1, 12), st.integers(1, 6), st.integers(0, 2**31), st.integers(0, 50)
)


def all_ranks(case: Case, *, world_size: int | None = None, shard: bool = True, first: int = 0) -> list[list[Share]]:
    """The shares of each rank, with the global batch of the case."""
    ranks = world_size or case.world_size
    return [
        list(
            shares(
                case.rows,
                epoch=case.epoch,
                batch_size=case.rank_batch * case.world_size,
                seed=case.seed,
                rank=rank,
                world_size=ranks,
                shard=shard,
                first=first,
            )
        )
        for rank in range(ranks)
    ]


def global_batches(ranks: list[list[Share]]) -> list[list[int]]:
    """The rows of each step over all ranks, sorted."""
    return [sorted(row for share in step for row in share.rows.tolist()) for step in zip(*ranks, strict=True)]


@given(CASES)
def test_an_epoch_has_every_row_exactly_once(case: Case) -> None:
    rows = [row for batch in global_batches(all_ranks(case)) for row in batch]
    assert sorted(rows) == list(range(case.rows))


@given(CASES)
def test_the_global_batches_do_not_depend_on_the_ranks(case: Case) -> None:
    assert global_batches(all_ranks(case)) == global_batches(all_ranks(case, world_size=1))


@given(CASES)
def test_every_rank_takes_part_in_every_step(case: Case) -> None:
    steps = steps_per_epoch(case.rows, case.rank_batch * case.world_size)
    assert [len(rank) for rank in all_ranks(case)] == [steps] * case.world_size


@given(CASES)
def test_shares_are_even_and_know_the_whole(case: Case) -> None:
    for step in zip(*all_ranks(case), strict=True):
        sizes = [len(share.rows) for share in step]
        assert max(sizes) <= case.rank_batch
        assert max(sizes) - min(sizes) <= 1
        assert {share.global_rows for share in step} == {sum(sizes)}


@given(CASES)
def test_without_sharding_every_rank_trains_on_all_rows(case: Case) -> None:
    for rank in all_ranks(case, shard=False):
        assert sorted(row for share in rank for row in share.rows.tolist()) == list(range(case.rows))
        assert all(share.global_rows == len(share.rows) * case.world_size for share in rank)


@given(CASES, st.integers(0, 30), st.booleans())
def test_an_epoch_can_be_entered_anywhere(case: Case, first: int, shard: bool) -> None:
    whole, rest = all_ranks(case, shard=shard), all_ranks(case, shard=shard, first=first)
    for all_of_it, from_there in zip(whole, rest, strict=True):
        expected = [share.rows.tolist() for share in all_of_it[first:]]
        assert [share.rows.tolist() for share in from_there] == expected


def test_the_order_changes_with_epoch_and_seed_only() -> None:
    order = epoch_order(100, seed=1, epoch=0, owner="all")
    assert torch.equal(order, epoch_order(100, seed=1, epoch=0, owner="all"))
    assert not torch.equal(order, epoch_order(100, seed=1, epoch=1, owner="all"))
    assert not torch.equal(order, epoch_order(100, seed=2, epoch=0, owner="all"))


def test_ranks_without_sampler_have_orders_of_their_own() -> None:
    one, other = all_ranks(Case(rows=50, rank_batch=25, world_size=2, seed=0, epoch=0), shard=False)
    assert one[0].rows.tolist() != other[0].rows.tolist()


def test_neighbouring_seeds_share_nothing() -> None:
    seeds = [derived_seed(seed, "order", epoch) for seed in range(30) for epoch in range(30)]
    assert len(set(seeds)) == 900
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize(("rows", "batch", "steps"), [(64, 32, 2), (65, 32, 3), (1, 32, 1)])
def test_steps_of_an_epoch(rows: int, batch: int, steps: int) -> None:
    assert steps_per_epoch(rows, batch) == steps
