"""Whole estimates: always an answer, the same answer, and no figure without its source and reason."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from estimate_cases import A100, BARE_CPU, CPU, ENCODER, GPT2, H100, experiment, fact, first_run, with_settings, world
from hypothesis import given
from hypothesis import strategies as st

from gpuplan.estimate import estimate
from gpuplan.estimate.case import case_of
from gpuplan.model import (
    SOURCES,
    Checkpoint,
    Compute,
    Estimate,
    Evidence,
    Experiment,
    FootprintSource,
    Gpu,
    Limits,
    Measurement,
    Roles,
)

if TYPE_CHECKING:
    from gpuplan.model import Quantity

NUMBERS = st.sampled_from([None, 0, 1, 7, 64, 10_000, 10**9, 10**15, 2.5, -3, "many", True])
SETTINGS = (
    "batch", "micro", "accumulation", "sequence", "steps", "epochs", "train_rows", "eval_rows", "precision", "workers",
    "load_s", "compile",
)  # fmt: skip
SOURCES_OF_STEPS = st.sampled_from(
    [
        None,
        FootprintSource(model=ENCODER),
        FootprintSource(model=GPT2),
        FootprintSource(model="config.json"),
        FootprintSource(trace="mine:make_step"),
        FootprintSource(logs="runs/*"),
    ]
)
CHECKPOINTS = st.builds(
    Checkpoint,
    every=st.sampled_from([None, "1000 steps", "0 steps", "1 epoch", "10 min", "sometimes", "0.5 epochs", "1e-300 s"]),
    keep=st.sampled_from([None, 1, 3, 10**30]),
)
BARE_GPU = Gpu(name="a card", memory_bytes=24 * 2**30, source="a test", checked="assumed")


@st.composite
def roles(draw: st.DrawFn) -> Roles:
    names = {name: draw(st.sampled_from([None, name])) for name in SETTINGS if name != "micro"}
    return Roles.model_validate(names | {"micro_batch": draw(st.sampled_from([None, "micro"]))})


@st.composite
def facts(draw: st.DrawFn) -> Evidence:
    size = st.one_of(st.none(), st.integers(1, 10**11))
    seconds = st.one_of(st.none(), st.floats(1e-6, 1e6))
    measured = Measurement(
        steps=draw(st.integers(0, 10_000)),
        epochs=draw(st.integers(0, 100)),
        step_s=draw(seconds),
        step_p10_s=draw(seconds),
        step_p90_s=draw(seconds),
        epoch_s=draw(seconds),
        startup_s=draw(seconds),
        other_s=draw(seconds),
        duration_s=draw(seconds),
        peak_host_bytes=draw(size),
        peak_allocated_bytes=draw(size),
        peak_reserved_bytes=draw(size),
        peak_device_bytes=draw(size),
        checkpoint_bytes=draw(size),
        device_busy=draw(st.sampled_from([None, 0.0, 0.01, 0.3, 0.49, 0.9, 1.0])),
    )
    changes: list[dict[str, Any]] = [{}, {"batch": 8}, {"batch": 64}, {"layers": 4}, {"colour": "red"}]
    return fact(
        draw(st.sampled_from("abcdef")),
        kind=draw(st.sampled_from(["run", "probe", "log"])),
        settings=draw(st.sampled_from(changes)),
        gpu=draw(st.sampled_from([CPU, A100, H100])),
        ranks=draw(st.sampled_from([1, 2])),
        threads=draw(st.sampled_from([None, 1, 2])),
        command=draw(st.sampled_from([experiment().command, "", "another"])),
        measured=measured.model_dump(),
    )


def quantities(found: Estimate) -> dict[str, Quantity]:
    return {
        "allocated": found.memory.allocated_bytes,
        "reserved": found.memory.reserved_bytes,
        "device": found.memory.device_bytes,
        "step": found.step_s,
        "duration": found.duration_s,
        "disk": found.disk_bytes,
    }


def check(found: Estimate) -> None:
    """What holds of every estimate. That intervals are ordered and finite, Quantity itself holds."""
    for name, quantity in quantities(found).items():
        assert quantity.p10 >= 0, name
        assert quantity.source in SOURCES
        assert any(letter.isdigit() for letter in quantity.because) or "assumed" in quantity.because, name
    memory = found.memory
    assert sum(memory.components_bytes.values()) == pytest.approx(memory.device_bytes.p50)
    assert all(math.isfinite(part) and part >= 0 for part in memory.components_bytes.values())
    for smaller, larger in (
        (memory.allocated_bytes, memory.reserved_bytes),
        (memory.reserved_bytes, memory.device_bytes),
    ):
        assert smaller.p10 <= larger.p10
        assert smaller.p50 <= larger.p50
        assert smaller.p90 <= larger.p90
    if memory.device_bytes.source == "assumed":
        assert memory.fits == "UNKNOWN"
    assert all(assumption.text for assumption in found.assumptions)
    assert found.utilization is None or 0 <= found.utilization <= 1
    assert found.mfu is None or 0 <= found.mfu <= 1
    tokens, samples = found.throughput_tokens_per_s, found.throughput_samples_per_s
    assert samples is None or (math.isfinite(samples) and samples > 0)
    assert tokens is None or (samples is not None and tokens >= samples)


@st.composite
def experiments(draw: st.DrawFn) -> Experiment:
    values = {name: draw(NUMBERS) for name in SETTINGS}
    ranks, copies = draw(st.sampled_from([(1, 1), (4, 1), (1, 8)]))
    return experiment(
        settings={name: value for name, value in values.items() if value is not None} | {"layers": 2},
        roles=draw(roles()),
        footprint=draw(SOURCES_OF_STEPS),
        checkpoint=draw(CHECKPOINTS),
        limits=Limits.model_validate({"run": draw(st.sampled_from([None, "5 min"]))}),
        ranks=ranks,
        copies=copies,
    )


@given(
    experiments(),
    st.lists(facts(), max_size=4, unique_by=lambda one: one.id),
    st.sampled_from([CPU, BARE_CPU, A100, BARE_GPU]),
)
def test_there_is_always_an_answer(asked: Experiment, evidence: list[Evidence], gpu: Gpu) -> None:
    check(estimate(first_run(asked), asked, gpu, world(evidence)))


@given(st.lists(facts(), max_size=6, unique_by=lambda one: one.id), st.sampled_from([CPU, A100]), st.randoms())
def test_equal_worlds_give_equal_bytes(evidence: list[Evidence], gpu: Gpu, shuffler: Any) -> None:
    asked = experiment()
    first = estimate(first_run(asked), asked, gpu, world(evidence))
    shuffler.shuffle(evidence)
    assert estimate(first_run(asked), asked, gpu, world(evidence)).model_dump_json() == first.model_dump_json()


@given(st.integers(1, 512), st.integers(1, 24), st.sampled_from([CPU, A100]))
def test_a_larger_batch_or_model_never_needs_less(batch: int, layers: int, gpu: Gpu) -> None:
    here = world()

    def of(**settings: int) -> Estimate:
        asked = with_settings(**settings)
        return estimate(first_run(asked), asked, gpu, here)

    small = of(batch=batch, layers=layers)
    for large in (of(batch=batch + 1, layers=layers), of(batch=batch, layers=layers + 1)):
        for name, quantity in quantities(small).items():
            assert quantity.p50 <= quantities(large)[name].p50, name


def test_nothing_known_at_all_is_said_in_full() -> None:
    asked = experiment(settings={"lr": 0.1}, roles=Roles(), footprint=None)
    found = estimate(first_run(asked), asked, A100, world())
    assert {quantity.source for quantity in quantities(found).values()} == {"assumed"}
    assert found.steps is None
    assert found.memory.fits == "UNKNOWN"
    changes = " ".join(assumption.change for assumption in found.assumptions)
    for remedy in ("`gpuplan probe`", "`footprint.model`", "`roles.steps`", "`checkpoint.every`"):
        assert remedy in changes


def test_a_closed_form_says_what_it_takes_for_granted() -> None:
    asked = experiment()
    found = estimate(first_run(asked), asked, A100, world())
    assert found.memory.device_bytes.source == "closed_form"
    assert found.step_s.source == "closed_form"
    assert "flash attention" in found.memory.allocated_bytes.because
    texts = " ".join(assumption.text for assumption in found.assumptions)
    assert "precision fp32 is assumed" in texts
    assert "not measured" in texts


def test_a_measured_run_leaves_nothing_to_assume_about_time_and_memory() -> None:
    asked = experiment(checkpoint=Checkpoint(every="50 steps", keep=1), compute=Compute(threads=1))
    measured = {
        "step_s": 0.1, "steps": 100, "duration_s": 14.0, "peak_host_bytes": 700_000_000, "checkpoint_bytes": 34_000_000,
    }  # fmt: skip
    found = estimate(first_run(asked), asked, CPU, world([fact("run-1", kind="run", measured=measured)]))
    assert found.memory.device_bytes.source == found.step_s.source == found.duration_s.source == "measured"
    assert found.duration_s.p50 == 14.0
    assert found.disk_bytes.source == "measured"
    assert found.assumptions == ()


# ---------------------------------------------------------------- what a step comes to


def test_an_estimate_says_how_fast_it_is_and_what_rules() -> None:
    roles = experiment().roles.model_copy(update={"sequence": 64, "accumulation": 2})
    asked = experiment(roles=roles, settings=experiment().settings | {"batch": 4096})
    found = estimate(first_run(asked), asked, A100, world())
    assert found.throughput_samples_per_s == pytest.approx(4096 / found.step_s.p50)
    assert found.throughput_tokens_per_s == pytest.approx(64 * 4096 / found.step_s.p50)
    assert found.bound == "compute"
    assert found.utilization == 1
    assert found.mfu is not None
    known = case_of(first_run(asked), asked, gpu=A100, world=world()).known
    assert known is not None
    flops = sum((1 if each.kind == "optimizer" else 2) * each.flops.at(2048) for each in known.operators)
    assert found.mfu == pytest.approx(flops / A100.peak_flops["fp32"] / found.step_s.p50)


def test_small_steps_are_bound_by_the_start_of_kernels_and_leave_the_device_idle() -> None:
    found = estimate(first_run(with_settings(batch=1)), with_settings(batch=1), A100, world())
    assert found.bound == "launch"
    assert found.utilization is not None
    assert found.utilization < 0.5


def test_ranks_that_mostly_exchange_are_bound_by_it() -> None:
    wide = GPT2.model_copy(update={"sequence": 8})
    settings = experiment().settings | {"batch": 8}
    eight = experiment(footprint=FootprintSource(model=wide), settings=settings, ranks=8)
    card = A100.model_copy(update={"name": "RTX 3090", "compute_capability": "8.6"})
    found = estimate(first_run(eight), eight, card, world(gpus=(card,)))
    assert found.bound == "communication"
    alone = eight.model_copy(update={"ranks": 1})
    assert estimate(first_run(alone), alone, card, world(gpus=(card,))).bound != "communication"


def test_a_measured_utilization_counts_before_a_computed_one() -> None:
    asked = with_settings(batch=4096)
    run = fact(kind="run", gpu=A100, settings={"batch": 4096}, measured={"step_s": 0.5, "device_busy": 0.62})
    found = estimate(first_run(asked), asked, A100, world([run]))
    assert found.utilization == 0.62
    copies = asked.model_copy(update={"copies": 2})
    probe = run.model_copy(update={"kind": "probe"})
    shared = estimate(first_run(copies), copies, A100, world([probe]))
    assert shared.utilization == pytest.approx(min(1.0, 2 * 0.62 * 0.5 / shared.step_s.p50))
    assert shared.throughput_samples_per_s == pytest.approx(2 * 4096 / shared.step_s.p50)


def test_what_is_not_known_is_none() -> None:
    asked = experiment(settings={"lr": 0.1}, roles=Roles(), footprint=None)
    found = estimate(first_run(asked), asked, A100, world())
    figures = (found.throughput_samples_per_s, found.throughput_tokens_per_s, found.bound, found.utilization, found.mfu)
    assert figures == (None, None, None, None, None)


def test_an_impossible_share_of_the_peak_is_not_shown() -> None:
    asked = with_settings(batch=4096)
    impossible = fact(gpu=A100, settings={"batch": 4096}, measured={"step_s": 1e-6})
    assert estimate(first_run(asked), asked, A100, world([impossible])).mfu is None
