"""The ladder of remedies: each estimated again as a spec with that change would be, in the order that hurts least."""

from __future__ import annotations

from typing import Any

import pytest
from estimate_cases import A100, CPU, ENCODER, GIB, GPT2, experiment, fact, first_run, world

from gpuplan.data import find_gpu, gpus
from gpuplan.estimate import estimate
from gpuplan.estimate.remedies import SEVERITY, Ladder, Remedy, remedies
from gpuplan.footprint import Unknown, footprint_of
from gpuplan.model import Architecture, Experiment, FootprintSource, Gpu, Roles, World

LLAMA = Architecture(
    kind="decoder", layers=32, d_model=4096, heads=32, kv_heads=8, feedforward=14336, vocabulary=128_256, sequence=4096,
    gated=True, library="hf", library_version="4.48", storage="bf16",
)  # fmt: skip


def asked_of(model: Architecture, batch: int, **changes: Any) -> Experiment:
    settings = experiment().settings | {"batch": batch, "precision": "fp32", "accumulation": 1}
    return experiment(settings=settings, footprint=FootprintSource(model=model), **changes)


def ladder_of(asked: Experiment, gpu: Gpu = A100, here: World | None = None) -> Ladder:
    found = remedies(first_run(asked), asked, gpu, world=here or world())
    assert found is not None
    return found


def named(ladder: Ladder, name: str) -> Remedy:
    return next(one for one in ladder.remedies if one.name == name)


def as_if_written(asked: Experiment, gpu: Gpu = A100, **settings: Any) -> float:
    """The device's p50 of the experiment with those settings."""
    changed = asked.model_copy(update={"settings": asked.settings | settings})
    return estimate(first_run(changed), changed, gpu, world()).memory.device_bytes.p50


def test_what_fits_has_no_ladder_and_what_nobody_knows_neither() -> None:
    fits = asked_of(GPT2, 4)
    assert remedies(first_run(fits), fits, A100, world=world()) is None
    unknown = experiment(footprint=None)
    assert remedies(first_run(unknown), unknown, A100, world=world()) is None


def test_the_order_is_that_of_harm() -> None:
    found = ladder_of(asked_of(LLAMA, 8))
    harm = [SEVERITY.index(one.keeps) for one in found.remedies]
    assert harm == sorted(harm)
    assert found.remedies[0].name == "smaller micro-batch"
    assert found.remedies[-1].name == "LoRA"


def test_a_smaller_micro_batch_is_the_largest_part_that_fits() -> None:
    asked = asked_of(GPT2, 64)
    one = named(ladder_of(asked), "smaller micro-batch")
    assert one.change == "micro-batches of 32 and gradients accumulated over 2 in the program"
    assert one.memory is not None
    assert one.memory.fits == "OK"
    assert one.memory.device_bytes.p50 < as_if_written(asked, batch=32) + 0.6 * GIB  # and accumulated gradients


def test_settings_that_roles_name_are_what_to_write() -> None:
    roles = Roles(micro_batch="batch", accumulation="accumulation", precision="precision")
    asked = asked_of(GPT2, 64, roles=roles)
    found = ladder_of(asked)
    assert named(found, "smaller micro-batch").change == "`batch: 32` and `accumulation: 2`"
    assert named(found, "mixed precision").change == "`precision: bf16`"
    one = named(found, "smaller micro-batch").memory
    assert one is not None
    assert one.device_bytes.p50 == pytest.approx(as_if_written(asked, batch=32, accumulation=2))
    two = named(found, "mixed precision").memory
    assert two is not None
    assert two.device_bytes.p50 == pytest.approx(as_if_written(asked, precision="bf16"))


def test_checkpointing_is_the_closed_form_with_it_and_costs_a_third_of_the_layers() -> None:
    asked = asked_of(GPT2, 64)
    one = named(ladder_of(asked), "gradient checkpointing")
    with_it = asked_of(GPT2.model_copy(update={"checkpointing": True}), 64)
    assert one.memory is not None
    assert one.memory.device_bytes.p50 == pytest.approx(as_if_written(with_it))
    assert one.step_ratio is not None
    assert 1.1 < one.step_ratio < 4 / 3
    assert "one more forward" in one.because
    assert all(remedy.name != "gradient checkpointing" for remedy in ladder_of(with_it, A100).remedies)


def test_a_fused_loss_has_no_logits() -> None:
    one = named(ladder_of(asked_of(GPT2, 64)), "fused loss").memory
    assert one is not None
    assert one.components_bytes["logits"] == 0
    liger = LLAMA.model_copy(update={"fused": ("linear_loss",)})
    as_a_spec = estimate(first_run(asked_of(liger, 8)), asked_of(liger, 8), A100, world()).memory
    of_the_ladder = named(ladder_of(asked_of(LLAMA, 8)), "fused loss").memory
    assert of_the_ladder is not None
    assert of_the_ladder.device_bytes.p50 == pytest.approx(as_a_spec.device_bytes.p50)
    assert all(one.name != "fused loss" for one in ladder_of(asked_of(liger, 8)).remedies)


def test_eight_bits_of_states() -> None:
    wide = GPT2.model_copy(update={"layers": 48, "d_model": 2048, "heads": 16, "feedforward": 8192})
    asked = asked_of(wide, 4)
    found = ladder_of(asked, find_gpu("A100 SXM 40GB") or A100)
    one = named(found, "8-bit optimizer").memory
    assert one is not None
    per_parameter = one.components_bytes["optimizer"] / (found.memory.components_bytes["parameters"] / 4)
    assert per_parameter == pytest.approx(2.06, rel=0.01)
    assert all(
        each.name != "8-bit optimizer"
        for each in ladder_of(asked_of(wide.model_copy(update={"optimizer": "sgd"}), 32)).remedies
    )


def test_sharding_is_that_of_a_spec_with_it_and_keeps_the_samples_of_a_step() -> None:
    found = ladder_of(asked_of(LLAMA, 8))
    one = named(found, "sharding")
    assert one.change == "`ranks: 8` and FSDP (`sharding: fsdp`), micro-batches of 1"
    sharded = asked_of(LLAMA.model_copy(update={"sharding": "fsdp"}), 8, ranks=8)
    assert one.memory is not None
    assert one.memory.device_bytes.p50 == pytest.approx(as_if_written(sharded))
    assert one.memory.fits == "OK"


def test_a_larger_card_is_the_smallest_that_fits() -> None:
    asked = asked_of(GPT2, 64)
    one = named(ladder_of(asked), "a larger card")
    name = one.change.split(",")[0]
    for card in gpus().values():
        if A100.memory_bytes < card.memory_bytes < gpus()[name].memory_bytes and card.kind == "gpu":
            assert estimate(first_run(asked), asked, card, world()).memory.fits != "OK"


def test_what_has_no_closed_form_says_so() -> None:
    found = ladder_of(asked_of(GPT2, 64))
    for name in ("sharding", "LoRA"):
        assert named(found, name).memory is None
        assert "library" in named(found, name).because


def test_a_traced_program_is_not_guessed_at() -> None:
    asked = asked_of(GPT2, 64)
    run = first_run(asked)
    plain = world()
    footprint = footprint_of(run, asked, plain)
    assert not isinstance(footprint, Unknown)
    traced = footprint.model_copy(update={"source": "traced"})
    found = ladder_of(asked, here=plain.model_copy(update={"footprints": {run.key: traced}}))
    known = {one.name for one in found.remedies if one.memory is not None}
    assert known == {"smaller micro-batch", "a larger card"}
    assert "gpuplan trace" in named(found, "gradient checkpointing").because


def test_two_together_where_no_single_one_does() -> None:
    """One long row on a small card, with nothing larger to have."""
    card = A100.model_copy(update={"name": "a card", "memory_bytes": 8 * GIB})
    model = GPT2.model_copy(update={"layers": 24, "d_model": 1024, "heads": 16, "feedforward": 4096})
    asked = asked_of(model, 1)
    deep = asked.model_copy(update={"footprint": FootprintSource(model=model.model_copy(update={"sequence": 4096}))})
    found = remedies(first_run(deep), deep, card, world=world(), cards=())
    assert found is not None
    assert not [one for one in found.remedies if one.memory is not None and one.memory.fits == "OK"]
    assert found.pair is not None
    assert found.first == found.pair
    assert found.pair.memory is not None
    assert found.pair.memory.fits == "OK"


def test_what_was_measured_beyond_the_prediction_is_carried_over() -> None:
    asked = asked_of(GPT2, 64)
    run = first_run(asked)
    before = estimate(run, asked, A100, world()).memory.device_bytes.p50
    measured = fact(settings=run.settings, gpu=A100, measured={"peak_device_bytes": int(before) + 5 * GIB})
    plain, seen = (ladder_of(asked, here=world(facts)) for facts in ((), (measured,)))
    for name in ("gradient checkpointing", "mixed precision"):
        one, two = named(plain, name).memory, named(seen, name).memory
        assert one is not None
        assert two is not None
        assert two.device_bytes.p50 - one.device_bytes.p50 == pytest.approx(5 * GIB, rel=0.01)


def test_a_machine_without_gpus_has_two_remedies() -> None:
    asked = asked_of(ENCODER, 1 << 17)
    assert [one.name for one in ladder_of(asked, CPU).remedies] == ["smaller micro-batch", "gradient checkpointing"]


def test_measured_without_a_footprint_says_why_there_is_no_remedy() -> None:
    asked = experiment(footprint=None)
    too_much = fact(gpu=A100, measured={"peak_device_bytes": 90 * GIB})
    found = ladder_of(asked, here=world([too_much]))
    assert found.remedies == ()
    assert "no remedy can be estimated" in found.unknown
    assert found.first is None
