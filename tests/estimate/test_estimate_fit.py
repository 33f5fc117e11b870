"""GPUs x batches: the largest batch is the largest, copies share a card, an unknown footprint stays unknown."""

from __future__ import annotations

import pytest
from estimate_cases import A100, GPT2, H100, experiment, first_run, world

from gpuplan.errors import UserError
from gpuplan.estimate import estimate
from gpuplan.estimate.fit import MARGIN, fit, with_micro_batch
from gpuplan.model import Experiment, FootprintSource, Roles


def gpt2(**changes: object) -> Experiment:
    return experiment(footprint=FootprintSource(model=GPT2), **changes)


def test_the_largest_batch_fits_and_one_more_does_not() -> None:
    asked = gpt2()
    run, here = first_run(asked), world()
    for found in fit(run, asked, gpus=[A100, H100], batches=[1, 2], world=here):
        assert found.largest_batch
        for batch, fits in ((found.largest_batch, True), (found.largest_batch + 1, False)):
            memory = estimate(with_micro_batch(run, asked, batch), asked, found.gpu, here).memory
            assert (memory.device_bytes.p90 <= MARGIN * memory.capacity_bytes) is fits


def test_memory_grows_with_the_batch_and_copies_share_the_card() -> None:
    asked = gpt2()
    found = fit(first_run(asked), asked, gpus=[A100], batches=[1, 4, 16], world=world())[0]
    sizes = [memory.device_bytes.p50 for memory in found.at_batches]
    assert sizes == sorted(sizes)
    own = estimate(first_run(asked), asked, A100, world()).memory
    assert found.copies == int(MARGIN * own.capacity_bytes // own.device_bytes.p90)


def test_the_global_batch_follows_the_ranks() -> None:
    asked = gpt2(ranks=4, roles=Roles(batch="batch", sequence=128))
    assert with_micro_batch(first_run(asked), asked, 8).settings["batch"] == 32


def test_without_a_batch_role_it_says_so() -> None:
    asked = gpt2(roles=Roles(sequence=128))
    with pytest.raises(UserError, match="no role says which setting is the batch"):
        fit(first_run(asked), asked, gpus=[A100], batches=[1], world=world())
