"""The closed form: known parameter counts, what it does with bad dimensions, and that more is never less."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from footprint_models import agnews, gpt2, known, llama_1b
from hypothesis import given
from hypothesis import strategies as st

from gpuplan.footprint import Unknown, closed_form
from gpuplan.model import Architecture, Footprint
from gpuplan.units import GIB

WIDTHS = st.sampled_from([64, 128, 256])
PRECISIONS = st.sampled_from(["fp32", "tf32", "fp16", "bf16"])
RUNTIMES = st.sampled_from(["gpu", "cpu"])


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    heads = draw(st.sampled_from([1, 2, 4, 8]))
    return Architecture(
        kind=draw(st.sampled_from(["encoder", "decoder"])),
        layers=draw(st.integers(1, 40)),
        d_model=draw(WIDTHS),
        heads=heads,
        kv_heads=draw(st.sampled_from([None, 1, heads])),
        feedforward=draw(st.integers(1, 4096)),
        vocabulary=draw(st.integers(1, 200_000)),
        sequence=draw(st.integers(1, 4096)),
        gated=draw(st.booleans()),
        tied=draw(st.booleans()),
        learned_positions=draw(st.booleans()),
        classes=draw(st.sampled_from([None, 2, 1000])),
        optimizer=draw(st.sampled_from(["sgd", "adam", "adamw"])),
        checkpointing=draw(st.booleans()),
    )


def peak(footprint: Footprint, batch: int) -> float:
    return footprint.peak(batch).total_bytes(batch)


# ---------------------------------------------------------------- parameters


def test_the_small_and_the_large_ag_news_model() -> None:
    assert known(agnews()).parameters == 2_825_476
    assert known(agnews(layers=4, d_model=256, heads=8, feedforward=1024)).parameters == 8_280_068


def test_gpt2_and_llama_as_published() -> None:
    assert known(gpt2()).parameters == 124_439_808
    assert known(llama_1b()).parameters == 1_235_814_400


def test_an_untied_head_counts_once_more() -> None:
    assert known(gpt2(tied=False)).parameters == 124_439_808 + 50_257 * 768


def test_what_follows_from_the_parameters() -> None:
    adamw, sgd = known(gpt2()), known(gpt2(optimizer="sgd"))
    assert adamw.gradient_bytes == 4 * 124_439_808
    assert adamw.checkpoint_bytes == 12 * 124_439_808
    assert sgd.checkpoint_bytes == 4 * 124_439_808


def test_16_bits_halve_activations_and_keep_weights_in_32() -> None:
    full, half = known(gpt2()), known(gpt2(), precision="bf16")
    assert half.gradient_bytes == full.gradient_bytes
    assert peak(half, 8) < peak(full, 8)
    assert half.peak(8).alive_bytes["parameters"] == full.peak(8).alive_bytes["parameters"]


def test_published_peaks_of_a_traced_llama() -> None:
    """AdamW, autocast bf16, 1024 tokens: traces of the real code gave 23.0 GiB for 1 row and 237 GiB for 64."""
    footprint = known(llama_1b(), precision="bf16")
    assert peak(footprint, 1) / GIB == pytest.approx(23.0, rel=0.05)
    assert peak(footprint, 64) / GIB == pytest.approx(237, rel=0.10)


# ---------------------------------------------------------------- the phases


def test_a_large_model_on_few_rows_peaks_in_the_optimizer_and_on_many_in_the_backward_pass() -> None:
    footprint = known(gpt2(layers=48, d_model=1600, heads=25, feedforward=6400, sequence=128))
    assert footprint.peak(1).phase == "optimizer"
    assert footprint.peak(64).phase == "backward"


def test_logits_are_the_largest_part_of_a_language_model_on_many_rows() -> None:
    alive = known(gpt2()).peak(16).alive_bytes
    logits = alive["logits"].at(16)
    assert logits == 16 * 16 * 1024 * 50_257  # logits, log-softmax and both gradients: 16 bytes each
    assert logits > alive["activations"].at(16)


def test_checkpointing_trades_memory_for_flops() -> None:
    plain, checkpointed = known(gpt2(vocabulary=500)), known(gpt2(vocabulary=500, checkpointing=True))
    assert peak(checkpointed, 16) < 0.5 * peak(plain, 16)
    assert checkpointed.flops(16) > 1.25 * plain.flops(16)


def test_a_cpu_keeps_the_scores_that_flash_attention_does_not() -> None:
    long = agnews().model_copy(update={"sequence": 256})
    gpu, cpu = known(long), known(long, runtime="cpu")
    scores = 2 * 64 * 3 * 4 * 4 * 256**2  # two layers of 64 rows: probabilities, mask and product of 4 heads in fp32
    assert peak(cpu, 64) > peak(gpu, 64) + scores
    without = known(long, {"dropout": 0.0}, runtime="cpu")
    assert peak(without, 64) < peak(cpu, 64) - scores
    assert "flash attention" in gpu.because
    assert "S x S attention scores kept" in cpu.because


# ---------------------------------------------------------------- dimensions of settings


def test_dimensions_and_sequence_by_the_names_of_settings() -> None:
    architecture = Architecture(
        kind="decoder", layers="depth", d_model="width", heads=4, feedforward=512, vocabulary=1000
    )
    footprint = known(architecture, {"depth": 3, "width": 128.0}, sequence=32)
    plain = Architecture(kind="decoder", layers=3, d_model=128, heads=4, feedforward=512, vocabulary=1000, sequence=32)
    assert footprint == known(plain)


@pytest.mark.parametrize(
    ("changes", "settings", "said"),
    [
        ({"layers": "depth"}, {}, "its layers is the setting depth, which the run does not have"),
        ({"layers": "depth"}, {"depth": "deep"}, "its layers is 'deep', not a whole number"),
        ({"layers": "depth"}, {"depth": 2.5}, "its layers is 2.5, not a whole number"),
        ({"layers": "depth"}, {"depth": True}, "its layers is True, not a whole number"),
        ({"layers": "depth"}, {"depth": 0}, "its layers is 0, not a whole number"),
        ({"layers": "depth"}, {"depth": -(10**400)}, "not a whole number from 1"),
        ({"layers": "depth"}, {"depth": 1e300}, "not a whole number from 1"),
        ({"sequence": None}, {}, "its sequence is not given"),
        ({"heads": 7}, {}, "its 7 heads do not divide its d_model of 768"),
        ({"kv_heads": 5}, {}, "its 5 kv_heads do not divide its 12 heads"),
    ],
)
def test_a_dimension_that_cannot_be_is_named(changes: dict[str, Any], settings: dict[str, Any], said: str) -> None:
    found = closed_form(gpt2(**changes), settings)
    assert isinstance(found, Unknown)
    assert said in found.reason
    assert found.add


def test_an_unknown_precision_is_named() -> None:
    found = closed_form(gpt2(), {}, precision="int3")
    assert isinstance(found, Unknown)
    assert found.reason == "the precision 'int3' is none of fp32, tf32, fp16, bf16"


@pytest.mark.parametrize(
    ("name", "meant"), [("float32", "fp32"), ("BF16-mixed", "bf16"), ("half", "fp16"), (None, "fp32")]
)
def test_what_programs_call_precisions(name: str | None, meant: str) -> None:
    assert known(gpt2(), precision=name).precision == meant


# ---------------------------------------------------------------- properties


@given(architectures(), PRECISIONS, RUNTIMES, st.integers(1, 4096))
def test_every_number_is_finite_and_not_negative(
    architecture: Architecture, precision: str, runtime: Any, batch: int
) -> None:
    footprint = known(architecture, precision=precision, runtime=runtime)
    numbers = [
        value
        for operators in footprint.operators
        for value in (operators.flops.at(batch), operators.moved_bytes.at(batch), operators.kernels)
    ]
    numbers += [line.at(batch) for moment in footprint.moments for line in moment.alive_bytes.values()]
    assert all(math.isfinite(number) and number >= 0 for number in numbers)
    assert footprint.parameters > 0


@given(
    architectures(), RUNTIMES, st.integers(1, 512), st.sampled_from(["layers", "sequence", "vocabulary", "feedforward"])
)
def test_more_of_anything_is_never_less(architecture: Architecture, runtime: Any, batch: int, name: str) -> None:
    larger = architecture.model_copy(update={name: 2 * getattr(architecture, name)})
    small, large = known(architecture, runtime=runtime), known(larger, runtime=runtime)
    assert peak(small, batch) <= peak(small, batch + 1)
    assert peak(small, batch) <= peak(large, batch)
    assert small.flops(batch) <= large.flops(batch)
    assert small.moved_bytes(batch) <= large.moved_bytes(batch)


@given(architectures(), st.integers(1, 512))
def test_no_step_needs_less_than_weights_gradients_and_states(architecture: Architecture, batch: int) -> None:
    footprint = known(architecture)
    assert peak(footprint, batch) >= footprint.checkpoint_bytes + footprint.gradient_bytes


def test_a_closed_form_takes_under_a_millisecond() -> None:
    shortest = math.inf
    for layers in range(100, 130):  # each another one, so that none is remembered
        started = time.perf_counter()
        known(gpt2(layers=layers))
        shortest = min(shortest, time.perf_counter() - started)
    assert shortest < 1e-3
