"""Rows of other projects: read as they are meant, and never an exception."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_predict import answer
from memory_rows import Row, read_rows
from memory_text import degree, described, origin_of, whole_number

from gpuplan.footprint.training import Workload
from gpuplan.units import GIB

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = (
    "id", "model", "params_millions", "task", "precision", "optimizer", "method", "lora_rank", "micro_batch", "seq_len",
    "grad_checkpointing", "attention", "gpus", "sharding", "gpu", "metric", "peak_gb", "unit", "notes", "framework",
    "tier", "group",
)  # fmt: skip
USUAL = {
    "id": "x-1", "model": "mistralai/Mistral-7B-v0.1", "precision": "bfloat16", "method": "lora", "lora_rank": "16",
    "optimizer": "adamw_torch", "micro_batch": "4", "seq_len": "4096", "grad_checkpointing": "yes", "gpus": "1",
    "gpu": "A100-80GB", "metric": "torch max_memory_allocated", "peak_gb": "24.871", "unit": "GiB", "tier": "A",
    "group": "x", "framework": "HF Trainer; torch 2.4.1, transformers 4.48.1", "notes": "lora targets q,k,v,o",
}  # fmt: skip


def rows(folder: Path, *changes: dict[str, str]) -> list[Row]:
    path = folder / "rows.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows([USUAL | change for change in changes])
    return read_rows(path)


def work(folder: Path, **change: str) -> Workload:
    found = rows(folder, change)[0].work
    assert isinstance(found, Workload)
    return found


def test_a_usual_row(tmp_path: Path) -> None:
    row = rows(tmp_path, {})[0]
    assert (row.metric, row.batch, row.tier, row.family) == ("allocated", 4, "A", "mistral")
    assert row.measured_bytes == pytest.approx(24.871 * GIB)
    assert row.gpu is not None
    recipe = work(tmp_path).recipe
    assert (recipe.rank, recipe.targets, recipe.loss) == (16, ("q", "k", "v", "o"), "hf_shift_copy")


@pytest.mark.parametrize(
    ("metric", "unit", "meant", "factor"),
    [
        ("torch max_memory_allocated /1e9", "GB", "allocated", 1e9),
        ("torch max_memory_reserved", "GiB", "reserved", GIB),
        ("nvidia-smi max used MiB -> GiB", "GiB", "device", GIB),
        ("nvml used memory", "GiB (page prints MB = MiB)", "device", GIB),
        ("active_bytes peak", "GiB", "allocated", GIB),
        ("unspecified", "G", "reserved", GIB),
    ],
)
def test_metrics_and_units(tmp_path: Path, metric: str, unit: str, meant: str, factor: float) -> None:
    row = rows(tmp_path, {"metric": metric, "unit": unit, "peak_gb": "10"})[0]
    assert (row.metric, row.measured_bytes) == (meant, 10 * factor)


@pytest.mark.parametrize("task", ["model init only (LoRA model on GPU)", "weights only on GPU", "CUDA context only"])
def test_what_is_no_peak_is_left_out(tmp_path: Path, task: str) -> None:
    assert rows(tmp_path, {"task": task})[0].excluded


def test_sums_over_ranks_and_parallelism(tmp_path: Path) -> None:
    row = rows(tmp_path, {"gpus": "2", "notes": "sum over GPUs", "sharding": "DeepSpeed ZeRO-3"})[0]
    assert row.ranks_summed == 2
    assert isinstance(row.work, Workload)
    assert row.work.recipe.sharding == "zero3"
    assert degree({"notes": "FSDP + TP=8, pp 4"}, "tp") == 8
    assert degree({"notes": "FSDP + TP=8, pp 4"}, "pp") == 4
    assert work(tmp_path, gpus="16", notes="TP 4").recipe.world == 4


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"precision": "nf4 base, bf16 compute", "method": "qlora"}, "storage", "nf4_dq"),
        ({"precision": "bnb.nf4 base, bf16 compute", "method": "qlora"}, "storage", "nf4"),
        ({"precision": "gptq4 base, fp16 compute", "method": "gptq-lora"}, "storage", "gptq4"),
        ({"precision": "fp32", "method": "full"}, "storage", "fp32"),
        ({"precision": "amp_bf16", "method": "full"}, "autocast", True),
        ({"optimizer": "bnb PagedAdamW8bit"}, "optimizer", "adamw_8bit_paged"),
        ({"optimizer": "AdamW (in backward)"}, "optimizer", "adamw_in_backward"),
        ({"optimizer": "Adafactor"}, "optimizer", "adafactor"),
        ({"grad_checkpointing": "no"}, "checkpointing", False),
        ({"attention": "eager"}, "attention", "eager"),
        ({"attention": "sdpa/eager"}, "attention", "flash"),
        ({"framework": "LitGPT, torch 2.1.0"}, "adapter", "litgpt"),
        ({"framework": "unsloth"}, "loss", "unsloth"),
        ({"notes": "liger fused-linear cross-entropy"}, "loss", "fused_linear"),
        ({"notes": "cpu offload", "gpus": "2", "sharding": "FSDP"}, "offload", "parameters"),
        ({"notes": "all linear layers"}, "targets", ("q", "k", "v", "o", "gate", "up", "down")),
    ],
)
def test_words(tmp_path: Path, change: dict[str, str], field: str, value: object) -> None:
    assert getattr(work(tmp_path, **change).recipe, field) == value


def test_an_unknown_model_is_guessed_from_its_size_or_refused(tmp_path: Path) -> None:
    guessed, named, refused = rows(
        tmp_path, {"model": "Acme-Foo", "params_millions": "7000"}, {"model": "acme 3B"}, {"model": "Acme"}
    )
    assert guessed.work is not None
    assert named.work is not None
    assert any("dimensions" in text for text in guessed.assumed)
    assert refused.work is None
    assert "neither its dimensions" in refused.reason


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40) | st.sampled_from(
    ["", "nan", "-1", "1e309", "0", "2048 (max)", "4096x4096", "full", "7B", "MLP input:3", "R50-FPN rcnn", "tp 0"]
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.sampled_from(COLUMNS), TEXTS))
def test_hostile_rows(tmp_path: Path, change: dict[str, str]) -> None:
    found = rows(tmp_path, change)
    assert len(found) == 1
    said = answer(found[0])
    assert said.reason
    if said.p50_gib is not None:
        assert 0 <= said.p10_gib <= said.p50_gib <= said.p90_gib < float("inf")  # type: ignore[operator]


def test_a_file_with_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_bytes(b"a,b\n1,2,3\n\xff\xfe,\n")
    assert all(row.work is None for row in read_rows(path))


def test_whole_numbers() -> None:
    assert [whole_number(text) for text in ("", "4096", "224px (default)", "1,024", "x")] == [0, 4096, 224, 1024, 0]


def test_a_year_stands_for_a_version() -> None:
    assert described({"framework": "HF Trainer, Jan 2022"}).torch_version == "1.0"
    assert described({"framework": "HF, torch 2.4-2.5"}).torch_version == "2.4"


@pytest.mark.parametrize(
    ("change", "gib"),
    [
        ({"peak_gb": "20480", "unit": "MiB"}, 20),
        ({"peak_gb": "20480 MiB", "unit": ""}, 20),
        ({"peak_gb": "21474.83648", "unit": "MB"}, 20),
        ({"peak_gb": "21.47483648", "unit": "GB"}, 20),
        ({"peak_gb": "20", "unit": "GiB (page prints MB = MiB)"}, 20),
        ({"peak_gb": "21474836480", "unit": "bytes"}, 20),
        ({"peak_gb": "20", "unit": "G"}, 20),
        ({"peak_gb": "nan"}, None),
        ({"peak_gb": "about 20"}, None),
    ],
)
def test_units_of_the_measured_number(tmp_path: Path, change: dict[str, str], gib: float | None) -> None:
    measured = rows(tmp_path, change)[0].measured_bytes
    assert measured is None if gib is None else measured == pytest.approx(gib * GIB)


def test_a_column_that_names_its_unit(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("Model,Micro_Batch,seq_len,Peak_MiB,tier\nmistralai/Mistral-7B-v0.1,4,4k,20480,a\n", "utf-8-sig")
    row = read_rows(path)[0]
    assert row.measured_bytes == pytest.approx(20 * GIB)
    assert (row.batch, row.tier) == (4, "A")
    assert isinstance(row.work, Workload)
    assert row.work.sequence == 4096


def test_a_card_that_nobody_knows_still_has_a_memory(tmp_path: Path) -> None:
    named, nameless = rows(tmp_path, {"gpu": "Acme Z9 48 GB"}, {"gpu": "Acme Z9"})
    assert named.capacity_bytes == 48 * GIB
    assert named.gpu is not None
    assert (nameless.gpu, nameless.capacity_bytes) == (None, None)
    large = answer(rows(tmp_path, {"gpu": "24GB GPU", "model": "Llama-2-70B"})[0])
    assert large.oom is not None
    assert large.oom > 0.9


def test_a_field_without_an_end_and_one_of_zero_bytes(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_bytes(b'id,model,seq_len\na,Mistral-7B,\0512\nb,"' + b"x" * (1 << 20))
    first, second = read_rows(path)
    assert answer(first).p50_gib is not None
    assert answer(second).reason


@pytest.mark.parametrize(
    ("framework", "program"),
    [
        ("HF Trainer/TRL sft_trainer; torch 2.4.1, transformers 4.48.1", "hf"),
        ("LitGPT, torch 2.1", "litgpt"),
        ("torchtune", "torchtune"),
        ("torchtitan", "other"),
        ("ms-swift on the HF Trainer", "other"),
        ("own loop, torch 2.4", "own loop, torch 2.4"),
        ("", "unknown"),
    ],
)
def test_whose_code_ran(framework: str, program: str) -> None:
    assert origin_of({"framework": framework}).program == program


def test_the_same_run_by_a_program_that_no_row_is_of_is_less_certain(tmp_path: Path) -> None:
    known, other = (answer(row) for row in rows(tmp_path, {}, {"framework": "axolotl, transformers 4.48.1"}))
    assert known.p50_gib == other.p50_gib
    assert known.p90_gib - known.p10_gib < other.p90_gib - other.p10_gib  # type: ignore[operator]
