"""From the words of a row of measured memory to a description of the run. It never looks at what was measured.

Rows come from many projects and name the same thing in many ways; a word that is not known changes nothing, and what
is not said stays at the library's default.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gpuplan.estimate.published import Origin
from gpuplan.footprint.libraries import Description

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuplan.footprint.libraries import Library, Offload, Precision, Sharding
    from gpuplan.footprint.recipe import Method, OptimizerName, Storage

__all__ = ["degree", "described", "origin_of", "summed", "whole_number"]

NO_MATRICES = r"prompt|prefix|p-?tuning|ia3|vera|ln[ _-]?tuning|norm|token|bitfit|c3a|fourier|embedding"
"""Methods that train a few vectors and keep no matrix's input for them."""
ZERO_STAGES: dict[str, Sharding] = {"1": "zero1", "2": "zero2", "3": "zero3"}
ALL_LINEAR = ("q", "k", "v", "o", "gate", "up", "down")
TARGET_WORDS = {
    "q": "q", "k": "k", "v": "v", "o": "o", "output_proj": "o", "out": "o", "q_proj": "q", "k_proj": "k", "v_proj": "v",
    "o_proj": "o", "gate": "gate", "up": "up", "down": "down", "gate_proj": "gate", "up_proj": "up",
    "down_proj": "down", "output": "o",
}  # fmt: skip


def described(row: Mapping[str, str]) -> Description:
    """What `row` says of the run."""
    words = _words(row)
    method = _method(row)
    library = _library(row, words)
    world = max(1, (whole_number(row.get("gpus", "")) or 1) // (degree(row, "tp") * degree(row, "pp")))
    return Description(
        library=library,
        library_version=_version("transformers", words),
        torch_version=_version("torch", words) or _year(row),
        method=method,
        precision=_precision(row, words),
        storage=_storage(row, method),
        optimizer=_optimizer(row, words),
        rank=whole_number(row.get("lora_rank", "")) or 8,
        targets=_targets(row, words) if method == "lora" else None,
        dropout=False if re.search(r"dropout[ =:]*0(\.0+)?\b(?!\.)", words) else None,
        checkpointing=_checkpointing(row, words),
        offload_activations="act offload" in words or "activation offload" in words,
        compiled=bool(re.search(r"compile(=yes|d?\b)", words)) and "compile=no" not in words,
        attention=_attention(row),
        fused=_fused(words),
        upcast_norms="prepare_model_for_kbit" in words or "kbit_training" in words,
        sharded_fp32="fp32 sharded" in words or "fp32 master" in words,
        autocast=_autocast(row, words),
        world=world,
        sharding=_sharding(row, words, world, method),
        accumulation=_accumulation(row, words),
        offload=_offload(words),
    )


def origin_of(row: Mapping[str, str]) -> Origin:
    """Whose code the row says that it ran; a stand-in's recipe does not make it that library."""
    framework, asked = (row.get("framework") or "").lower(), described(row)
    named = next((name for name, words in PROGRAMS if re.search(words, framework)), "")
    return Origin(named or framework[:40] or "unknown", asked.library_version, asked.torch_version)


PROGRAMS = (
    ("other", r"swift|axolotl|factory|nanotron|titan|torchao|unsloth|deepspeed|megatron|foundry|colossal|xtuner|nemo"),
    ("litgpt", r"lit-?gpt"),
    ("torchtune", r"torchtune"),
    ("image", r"\btimm\b"),
    ("hf", r"hf trainer|huggingface trainer|hugging face trainer|transformers trainer|\btrl\b|sft_?trainer"),
)
"""Programs by the words for them; the first that is named counts, as others build on the Hugging Face trainer."""


def _attention(row: Mapping[str, str]) -> str:
    """Fused unless only an unfused one is named: `sdpa/eager` may be either, and is fused where it can be."""
    words = (row.get("attention") or "").lower()
    return "eager" if re.search(r"eager|math|no flash|without flash", words) and "sdpa" not in words else "flash"


def _offload(words: str) -> Offload:
    if re.search(r"optimizer offload|offload(ed)? optimizer|states? offload", words):
        return "optimizer"
    return "parameters" if re.search(r"cpu[ _-]?offload|offload(ed)? to cpu|param(eter)?s? offload", words) else "none"


def degree(row: Mapping[str, str], kind: str) -> int:
    """Ranks of tensor (`tp`) or pipeline (`pp`) parallelism that the row names; 1 where it names none."""
    found = re.search(rf"\b{kind}[ =:-]*(\d{{1,4}})\b|\b(\d{{1,4}})[- ]?way {kind}\b", _words(row))
    return max(1, int(found.group(1) or found.group(2))) if found else 1


def whole_number(text: str) -> int:
    """The first whole number of `text`; 0 where there is none."""
    found = re.search(r"\d[\d,_]*", text or "")
    return int(re.sub(r"[,_]", "", found.group())[:12]) if found else 0


def summed(row: Mapping[str, str]) -> bool:
    """Whether the number is a sum over all ranks."""
    return bool(re.search(r"sum (over|of)|summed|total (over|of|across)|all gpus together", _words(row)))


def _words(row: Mapping[str, str]) -> str:
    names = ("framework", "notes", "method", "optimizer", "precision", "attention", "task", "sharding")
    return " ; ".join((row.get(name) or "").lower() for name in names)


def _method(row: Mapping[str, str]) -> Method:
    method = (row.get("method") or "").lower()
    if "adapter_v2" in method or "adapter v2" in method:
        return "adapter_v2"
    if re.fullmatch(r"q?adapter", method):
        return "adapter"
    if "inference" in method or "inference" in (row.get("task") or "").lower():
        return "inference"
    full = re.search(r"full|sft|pre-?train|scratch", method) and "lora" not in method
    return "full" if full or not method or "none" in method else "lora"


def _library(row: Mapping[str, str], words: str) -> Library:
    framework = (row.get("framework") or "").lower()
    for name in ("litgpt", "lit-gpt", "torchtune", "unsloth"):
        if name in framework or name in (row.get("group") or "").lower():
            return "litgpt" if name.startswith("lit") else name  # type: ignore[return-value]
    if "torchtitan" in framework or "torchao" in framework:
        return "torchtune"
    return "unsloth" if "unsloth" in words and "framework" not in words else "hf"


def _version(name: str, words: str) -> str:
    found = re.search(rf"\b{name}[ =v]*(\d+\.\d+(?:\.\d+)?)", words)
    return found.group(1) if found else ""


def _year(row: Mapping[str, str]) -> str:
    """The torch of the year that the framework's column names, where it names no version."""
    found = re.search(r"\b(20[12]\d)\b", row.get("framework") or "")
    years = {"2019": "1.0", "2020": "1.0", "2021": "1.0", "2022": "1.0", "2023": "2.0", "2024": "2.3"}
    return years.get(found.group(1), "") if found else ""


def _precision(row: Mapping[str, str], words: str) -> Precision:
    precision = (row.get("precision") or "").lower()
    if "amp" in precision or "mixed" in precision:
        return "amp"
    if re.search(r"fp32|float32|32-true", precision) and not re.search(r"nf4|gptq|int4|int8|bf16|fp16", precision):
        return "fp32"
    if not precision and "fp32" in words:
        return "fp32"
    return "bf16"


def _storage(row: Mapping[str, str], method: Method) -> Storage | None:
    words = f"{row.get('precision') or ''} {row.get('method') or ''}".lower()
    if any(word in words for word in ("gptq", "int4", "awq", "hqq", "aqlm")):
        return "gptq4"
    if "int8" in words or "8-bit base" in words or "8bit base" in words:
        return "int8"
    if any(word in words for word in ("nf4", "fp4", "qlora", "q-lora", "4-bit", "4bit", "bnb")):
        double = "dq" in words or "double" in words or (method == "lora" and "bnb.nf4" not in words)
        return "nf4_dq" if double else "nf4"
    return "fp32" if "mixed (fp32" in words or "amp" in words else None


def _optimizer(row: Mapping[str, str], words: str) -> OptimizerName | None:
    name = (row.get("optimizer") or "").lower()
    backward = "in backward" in name or "optimizer_in_bwd" in words
    if "8bit" in name or "8-bit" in name:
        if "paged" in name:
            return "adamw_8bit_paged_in_backward" if backward else "adamw_8bit_paged"
        return "adamw_8bit_in_backward" if backward else "adamw_8bit"
    if "4bit" in name or "4-bit" in name:
        return "adamw_4bit"
    for word, meant in OPTIMIZER_WORDS:
        if word in name:
            return "adamw_in_backward" if backward and meant == "adamw" else meant
    return None


OPTIMIZER_WORDS: tuple[tuple[str, OptimizerName], ...] = (
    ("paged", "adamw_paged"), ("adafactor", "adafactor"), ("adamw_hf", "adamw_loop"), ("fused", "adamw_fused"),
    ("momentum", "sgd_momentum"), ("sgd", "sgd"), ("adam", "adamw"), ("lion", "sgd_momentum"),
)  # fmt: skip


def _targets(row: Mapping[str, str], words: str) -> tuple[str, ...] | None:
    if re.search(NO_MATRICES, (row.get("method") or "").lower()):
        return ()
    if re.search(r"all[ -]linear|all layers|all linear|mlp lora|\+ mlp|incl\.? mlp", words):
        return ALL_LINEAR
    found = re.search(r"targets? ([a-z_]+(?:,[ ]?[a-z_]+)*)", words) or re.search(r"\b([qkvo](?:,[qkvo])+)\b", words)
    named = (
        [TARGET_WORDS[word.strip()] for word in found.group(1).split(",") if word.strip() in TARGET_WORDS]
        if found
        else []
    )
    if named:
        return tuple(dict.fromkeys(named))
    return ALL_LINEAR if "unsloth" in words else (("q", "v") if "torchtune" in (row.get("framework") or "") else None)


def _checkpointing(row: Mapping[str, str], words: str) -> bool:
    value = (row.get("grad_checkpointing") or "").lower()
    if value.startswith(("yes", "full", "true", "unsloth")):
        return True
    if value.startswith(("no", "false", "none")):
        return False
    return "unsloth" in words or "qlora" in words


def _fused(words: str) -> frozenset[str]:
    found = set()
    if "fused fast ce" in words or "fused ce" in words:
        found |= {"norm", "loss"}
    if "fused lora" in words:
        found.add("adapter")
    if re.search(r"liger(?!_kernel=false)|linear ce|linear cross|cut cross|fused-linear", words):
        found.add("linear_loss")
    if "liger" in words and "fused fast ce" not in words:
        found |= {"norm", "feedforward"}
    if "full logits" in words or "torchtitan" in words:
        found.add("whole_loss")
    if "chunked ce" in words or "chunked cross" in words:
        found.add("chunked_loss")
    return frozenset(found)


def _autocast(row: Mapping[str, str], words: str) -> bool | None:
    precision = (row.get("precision") or "").lower()
    if "autocast" in precision or "amp" in precision or "mixed" in precision:
        return True
    return True if "bf16=true" in words else None


def _sharding(row: Mapping[str, str], words: str, world: int, method: Method) -> Sharding:
    sharding = (row.get("sharding") or "").lower()
    if world == 1:
        return "none"
    if "fsdp" in sharding or "full_shard" in sharding or "full shard" in sharding:
        return "fsdp"
    zero = re.search(r"zero[- _]?([123])", sharding) or re.search(r"zero[- _]?([123])", words)
    if zero:
        return ZERO_STAGES[zero.group(1)]
    if "ddp" in sharding or "data parallel" in sharding or method != "full":
        return "ddp"
    return "fsdp" if "fsdp" in words or "shard" in sharding else "ddp"


def _accumulation(row: Mapping[str, str], words: str) -> int:
    found = re.search(r"grad(?:ient)?[_ ]accum(?:ulation)?(?:_steps)?[ =:]*(\d+)", words)
    if found and "where bs=1" in words:
        return int(found.group(1)) if whole_number(row.get("micro_batch", "")) == 1 else 1
    return int(found.group(1)) if found else 1
