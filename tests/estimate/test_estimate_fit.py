"""GPUs x batches: the largest batch is the largest, copies share a card, an unknown footprint stays unknown."""

from __future__ import annotations

import pytest
from estimate_cases import A100, GPT2, H100, experiment, first_run, world

from gpuplan.errors import UserError
from gpuplan.estimate import estimate
from gpuplan.estimate.fit import fit, with_micro_batch
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
            assert (memory.fits == "OK") is fits


def test_memory_and_doubt_grow_with_the_batch() -> None:
    asked = gpt2()
    found = fit(first_run(asked), asked, gpus=[A100], batches=[1, 16, 32, 48, 64, 128], world=world())[0]
    sizes = [memory.device_bytes.p50 for memory in found.at_batches]
    doubts = [memory.oom_probability or 0.0 for memory in found.at_batches]
    verdicts = [memory.fits for memory in found.at_batches]
    assert (sizes, doubts) == (sorted(sizes), sorted(doubts))
    assert verdicts == sorted(verdicts, key=["OK", "TIGHT", "NO FIT"].index)
    assert {"OK", "NO FIT"} <= set(verdicts)


def test_copies_share_a_card_each_with_its_own_context() -> None:
    asked = gpt2(settings=experiment().settings | {"batch": 4})
    run, here = first_run(asked), world()
    found = fit(run, asked, gpus=[A100], batches=[1], world=here)[0]
    assert found.copies
    together = {n: estimate(run.model_copy(update={"copies": n}), asked, A100, here).memory.fits for n in range(1, 12)}
    assert {n for n, fits in together.items() if fits == "OK"} == set(range(1, found.copies + 1))
    roomy = A100.model_copy(update={"context_bytes": 8 * 2**30})
    assert fit(run, asked, gpus=[roomy], batches=[1], world=here)[0].copies < found.copies  # type: ignore[operator]


def test_what_nobody_knows_has_no_largest_batch() -> None:
    asked = experiment(footprint=None)
    found = fit(first_run(asked), asked, gpus=[A100], batches=[1], world=world())[0]
    assert (found.own.fits, found.largest_batch, found.copies, found.ladder) == ("UNKNOWN", None, None, None)


def test_remedies_come_where_the_run_does_not_fit_and_only_if_asked() -> None:
    asked = gpt2(settings=experiment().settings | {"batch": 64})
    run, here = first_run(asked), world()
    with_them = fit(run, asked, gpus=[A100], batches=[1], world=here)[0]
    assert with_them.ladder is not None
    assert with_them.ladder.first is not None
    assert fit(run, asked, gpus=[A100], batches=[1], world=here, with_remedies=False)[0].ladder is None


def test_the_global_batch_follows_the_ranks() -> None:
    asked = gpt2(ranks=4, roles=Roles(batch="batch", sequence=128))
    assert with_micro_batch(first_run(asked), asked, 8).settings["batch"] == 32


def test_without_a_batch_role_it_says_so() -> None:
    asked = gpt2(roles=Roles(sequence=128))
    with pytest.raises(UserError, match="no role says which setting is the batch"):
        fit(first_run(asked), asked, gpus=[A100], batches=[1], world=world())
