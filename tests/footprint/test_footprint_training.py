"""The closed form of published models against measured peaks, and what has to hold for any model and recipe.

The figures are facts of public tables: foundation-model-stack/fms-acceleration scripts/benchmarks/refs and
Lightning-AI/litgpt tutorials/resource-tables.md, both read 2026-11-20.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuplan.data.models import ModelFacts, find_model, models
from gpuplan.footprint.census import census_of
from gpuplan.footprint.libraries import Description, prepare
from gpuplan.footprint.recipe import OPTIMIZERS, Recipe
from gpuplan.footprint.training import Workload, moments_of, peak_of, split
from gpuplan.units import GIB

FMS = Description(
    library_version="4.48.1", torch_version="2.4.1", checkpointing=True, rank=16, targets=("q", "k", "v", "o")
)
LITGPT = Description(library="litgpt", torch_version="2.1.0", method="lora", rank=8, targets=("q", "v"))


def model(name: str) -> ModelFacts:
    found = find_model(name)
    assert found is not None
    return found


def gib(name: str, asked: Description, *, batch: int, sequence: int) -> float:
    known = model(name)
    work = Workload(known, prepare(known, asked).recipe, sequence)
    return peak_of(work, batch).total_bytes(batch) / GIB


# ---------------------------------------------------------------- measured peaks


@pytest.mark.parametrize(
    ("name", "changes", "batch", "measured"),
    [
        ("Mistral-7B", {}, 4, 67.460),
        ("Mistral-7B", {"method": "lora"}, 4, 24.871),
        ("Mistral-7B", {"method": "lora"}, 8, 36.082),
        ("Mistral-7B", {"method": "lora", "storage": "nf4_dq", "autocast": True}, 8, 26.461),
        ("Mistral-7B", {"method": "lora", "storage": "nf4_dq", "autocast": True, "upcast_norms": True}, 8, 34.461),
        ("Mistral-7B", {"method": "lora", "storage": "gptq4", "autocast": True}, 4, 15.278),
        ("Llama-2-70B", {"method": "lora", "storage": "nf4_dq", "autocast": True}, 4, 63.448),
        ("Mixtral-8x7B", {"method": "lora", "storage": "nf4_dq", "autocast": True}, 8, 45.421),
        ("PowerLM-3B", {"library_version": "4.45.0"}, 8, 43.827),
        ("PowerLM-3B", {"library_version": "4.45.0", "method": "lora"}, 4, 18.785),
    ],
)
def test_stock_kernels_on_one_gpu(name: str, changes: dict[str, Any], batch: int, measured: float) -> None:
    assert gib(name, replace(FMS, **changes), batch=batch, sequence=4096) == pytest.approx(measured, rel=0.01)


FUSED = frozenset({"norm", "loss", "linear_loss"})


@pytest.mark.parametrize(
    ("changes", "batch", "measured"),
    [
        ({"fused": FUSED - {"linear_loss"}}, 8, 54.964),
        ({"fused": FUSED}, 8, 31.262),
        ({"fused": FUSED | {"adapter"}, "storage": "nf4_dq"}, 32, 69.001),
    ],
)
def test_fused_kernels_on_one_gpu(changes: dict[str, Any], batch: int, measured: float) -> None:
    asked = replace(FMS, method="lora", autocast=True, library_version="4.45.2", **changes)
    assert gib("Llama-3-8B", asked, batch=batch, sequence=4096) == pytest.approx(measured, rel=0.01)


@pytest.mark.parametrize(
    ("world", "changes", "batch", "measured"),
    [
        (2, {"method": "lora"}, 4, 20.452),
        (2, {"method": "lora", "storage": "nf4_dq", "autocast": True}, 4, 14.873),
        (4, {"library_version": "4.45.2", "fused": FUSED, "sharded_fp32": True, "autocast": True}, 16, 52.509),
        (4, {"library_version": "4.45.2", "fused": FUSED, "method": "lora", "autocast": True}, 8, 28.344),
    ],
)
def test_sharded_by_fsdp(world: int, changes: dict[str, Any], batch: int, measured: float) -> None:
    asked = replace(FMS, world=world, sharding="fsdp", **changes)
    assert gib("Mistral-7B", asked, batch=batch, sequence=4096) == pytest.approx(measured, rel=0.01)


@pytest.mark.parametrize(
    ("name", "changes", "batch", "sequence", "measured_gb"),
    [
        ("phi-1.5", {}, 4, 1044, 10.68),
        ("StableLM-Alpha-3B", {}, 2, 1034, 12.10),
        ("Llama-2-7B", {}, 1, 1304, 21.30),
        ("Llama-2-13B", {}, 1, 1304, 38.12),
        ("Llama-2-7B", {"storage": "nf4"}, 1, 1304, 14.14),
        ("Llama-2-7B", {"method": "adapter_v2"}, 1, 1304, 25.51),
    ],
)
def test_litgpt(name: str, changes: dict[str, Any], batch: int, sequence: int, measured_gb: float) -> None:
    asked = replace(LITGPT, **changes)
    assert gib(name, asked, batch=batch, sequence=sequence) * GIB / 1e9 == pytest.approx(measured_gb, rel=0.02)


# ---------------------------------------------------------------- the phases


def test_a_full_fine_tuning_on_few_rows_is_ten_bytes_a_parameter_whatever_the_batch() -> None:
    known = model("Mistral-7B")
    work = Workload(known, prepare(known, FMS).recipe, 4096)
    floor = 10 * census_of(known).total
    assert [peak_of(work, batch).phase for batch in (1, 2, 4)] == ["optimizer"] * 3
    assert peak_of(work, 1).total_bytes(1) == pytest.approx(floor, rel=0.001)
    assert peak_of(work, 64).phase != "optimizer"


def test_a_fused_linear_loss_has_no_logits() -> None:
    known = model("Llama-3-8B")
    recipe = prepare(known, replace(FMS, method="lora", fused=FUSED)).recipe
    assert peak_of(Workload(known, recipe, 4096), 8).alive_bytes["logits"].at(8) == 0


def test_a_part_of_a_model_is_smaller() -> None:
    whole = model("Llama-3-70B")
    part = split(whole, tensor=8, pipeline=4)
    assert census_of(part).total < census_of(whole).total / 8
    assert split(whole) == whole


# ---------------------------------------------------------------- properties

MODELS = st.sampled_from([found for found in models().values() if found.kind != "seq2seq"])
RECIPES = st.builds(
    Description,
    library=st.sampled_from(["hf", "litgpt", "torchtune", "unsloth"]),
    library_version=st.sampled_from(["", "4.30", "4.45.2", "4.48.1", "5.1"]),
    method=st.sampled_from(["full", "lora"]),
    precision=st.sampled_from(["fp32", "bf16", "amp"]),
    optimizer=st.sampled_from([*OPTIMIZERS, None]),
    checkpointing=st.booleans(),
    attention=st.sampled_from(["flash", "eager"]),
    fused=st.frozensets(st.sampled_from(["norm", "loss", "linear_loss", "adapter", "feedforward"])),
    accumulation=st.sampled_from([1, 4]),
)


def peak(work: Workload, batch: int) -> float:
    return peak_of(work, batch).total_bytes(batch)


@given(MODELS, RECIPES, st.integers(1, 64), st.sampled_from([64, 1024, 8192]))
def test_more_rows_and_longer_rows_are_never_less(
    known: ModelFacts, asked: Description, batch: int, sequence: int
) -> None:
    work = Workload(known, prepare(known, asked).recipe, sequence)
    assert all(
        math.isfinite(line.at(batch)) and line.at(batch) >= 0
        for moment in moments_of(work)
        for line in moment.alive_bytes.values()
    )
    assert peak(work, batch) <= peak(work, batch + 1)
    assert peak(work, batch) <= peak(work._replace(sequence=2 * sequence), batch)


@given(MODELS, RECIPES, st.integers(1, 16))
def test_checkpointing_and_sharding_save(known: ModelFacts, asked: Description, batch: int) -> None:
    plain = Workload(known, prepare(known, replace(asked, checkpointing=False)).recipe, 1024)
    checkpointed = Workload(known, prepare(known, replace(asked, checkpointing=True)).recipe, 1024)
    assert peak(checkpointed, batch) <= peak(plain, batch) * 1.02
    zero = replace(asked, library="torchtune", method="full", world=8)
    shared = Workload(known, prepare(known, replace(zero, sharding="zero2")).recipe, 1024)
    copied = Workload(known, prepare(known, replace(zero, sharding="ddp")).recipe, 1024)
    assert peak(shared, batch) <= peak(copied, batch)


def test_offloaded_parameters_leave_the_device() -> None:
    known = model("Llama-3-70B")
    here = replace(FMS, world=8, sharding="fsdp")
    on_host = prepare(known, replace(here, offload="parameters")).recipe
    assert peak(Workload(known, on_host, 2048), 2) < peak(Workload(known, prepare(known, here).recipe, 2048), 2) / 2


def test_a_closed_form_takes_under_a_millisecond() -> None:
    known, shortest = model("Llama-3-8B"), math.inf
    for sequence in range(1000, 1030):  # each another one, so that none is remembered
        started = time.perf_counter()
        moments_of(Workload(known, Recipe(), sequence))
        shortest = min(shortest, time.perf_counter() - started)
    assert shortest < 1e-3
