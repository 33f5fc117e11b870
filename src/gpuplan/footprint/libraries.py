"""Which kernels and precisions a training library runs for what its user asked for: a description becomes a recipe.

Every default that is not said by the user is named in the answer. It never looks at what is installed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from gpuplan.data.kernels import kernels
from gpuplan.footprint.recipe import Recipe

if TYPE_CHECKING:
    from gpuplan.data.models import ModelFacts
    from gpuplan.footprint.recipe import Method, OptimizerName, Storage

__all__ = ["Description", "Fused", "Library", "Offload", "Precision", "Prepared", "Sharding", "prepare"]

Library = Literal["hf", "litgpt", "torchtune", "unsloth", "plain"]
Fused = Literal["norm", "loss", "linear_loss", "chunked_loss", "whole_loss", "adapter", "feedforward"]
Precision = Literal["fp32", "bf16", "amp"]
Sharding = Literal["none", "ddp", "fsdp", "zero1", "zero2", "zero3"]
Offload = Literal["none", "optimizer", "parameters"]

NEVER_UPCAST = frozenset({"gpt_bigcode"})
"""Families whose Hugging Face code hands 16-bit logits to the loss."""
UPCAST_SINCE_4_46 = frozenset({"gpt2", "falcon", "falcon_new", "phi", "gpt_neox", "opt"})
NEWEST = "9.9"
COPIES_UNTIL = "4.48"
"""Mistral's attention before the common attention functions of transformers 4.48 kept copies of q, k and v."""
SET_TO_NONE_SINCE = "2.0"
"""torch: until then `zero_grad` filled gradients with zeros and kept them."""
TRANSFORMERS_OF_TORCH = {"1.0": "4.15", "2.0": "4.30", "2.1": "4.35", "2.2": "4.38", "2.3": "4.41", "2.4": "4.45",
                         "2.5": "4.46", "2.6": "4.49", "2.7": "4.52"}  # fmt: skip
"""The transformers that was current when a torch came out (their release notes): for a run that names only torch."""
FREES_FROZEN_SHARDS_SINCE = "2.2"
"""torch: until then FSDP kept frozen parameters gathered from their backward pass to the end of all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a user says of a run, in words that every library shares; empty where nothing is said."""

    library: Library = "hf"
    library_version: str = ""
    torch_version: str = ""
    method: Method = "full"
    precision: Precision = "bf16"
    storage: Storage | None = None
    optimizer: OptimizerName | None = None
    rank: int = 16
    targets: tuple[str, ...] | None = None
    dropout: bool | None = None
    checkpointing: bool = False
    offload_activations: bool = False
    compiled: bool = False
    attention: str = "flash"
    fused: frozenset[str] = frozenset()
    upcast_norms: bool = False
    sharded_fp32: bool = False
    autocast: bool | None = None
    world: int = 1
    sharding: Sharding = "none"
    accumulation: int = 1
    offload: Offload = "none"


class Prepared(NamedTuple):
    """A recipe, and what was taken for granted to write it down."""

    recipe: Recipe
    assumed: tuple[str, ...]


def prepare(model: ModelFacts, asked: Description) -> Prepared:
    """How `asked.library` trains `model`."""
    writers = {"litgpt": _litgpt, "torchtune": _torchtune, "unsloth": _unsloth, "plain": _hugging_face}
    recipe = writers.get(asked.library, _hugging_face)(model, _common(asked), asked)
    return Prepared(_sharded(recipe, asked), tuple(_assumed(recipe, asked)))


def _common(asked: Description) -> Recipe:
    """What no library changes."""
    storage: Storage = asked.storage or ("bf16" if asked.precision == "bf16" else "fp32")
    quantised = storage not in {"fp32", "bf16"}
    outside: Storage = "bf16" if quantised else storage
    autocast = asked.precision == "amp" if asked.autocast is None else asked.autocast
    compute = 4 if asked.precision == "fp32" else 2
    return Recipe(
        method=asked.method,
        storage=storage,
        outside=outside,
        trained_bytes=4 if storage == "fp32" else 2,
        compute=compute,
        inner=compute,
        residual=4 if storage == "fp32" else 2,
        autocast=autocast,
        optimizer=asked.optimizer or "adamw",
        rank=asked.rank,
        targets=("q", "v") if asked.targets is None else asked.targets,
        adapter_dropout=True if asked.dropout is None else asked.dropout,
        checkpointing=asked.checkpointing,
        offload_activations=asked.offload_activations,
        accumulation=asked.accumulation,
        attention=asked.attention,
        norm="fused" if "norm" in asked.fused or asked.compiled else "stock",
        feedforward="fused" if "feedforward" in asked.fused or asked.compiled else "stock",
        world=asked.world,
        sharding=asked.sharding,
        offload=asked.offload,
    )


def _hugging_face(model: ModelFacts, recipe: Recipe, asked: Description) -> Recipe:
    version = _transformers(asked)
    low_rank = recipe.low_rank
    recipe = replace(
        recipe,
        loss=_hugging_face_loss(model, recipe, asked),
        adapter="foak" if "adapter" in asked.fused else "peft",
        trained_bytes=4 if low_rank else recipe.trained_bytes,
        copies_qkv=model.family == "mistral" and _before(version, COPIES_UNTIL),
        keeps_streams=asked.sharding == "fsdp",
        keeps_gradients=bool(asked.torch_version) and _before(asked.torch_version, SET_TO_NONE_SINCE),
    )
    if asked.upcast_norms and asked.world == 1:  # FSDP casts what a layer is given back to 16 bits
        recipe = replace(recipe, residual=4, inner=4)
    if asked.sharded_fp32 and not low_rank:
        recipe = replace(recipe, storage="fp32", outside="fp32", trained_bytes=4)
    return recipe


def _transformers(asked: Description) -> str:
    """The version said, else that of torch's time, else the newest."""
    if asked.library_version or not asked.torch_version:
        return asked.library_version or NEWEST
    older = [mine for torch, mine in TRANSFORMERS_OF_TORCH.items() if not _before(asked.torch_version, torch)]
    newest = _parts(asked.torch_version) > _parts(list(TRANSFORMERS_OF_TORCH)[-1] + ".99")
    return NEWEST if newest or not older else older[-1]


def _hugging_face_loss(model: ModelFacts, recipe: Recipe, asked: Description) -> str:
    if "linear_loss" in asked.fused:
        return "fused_linear"
    if "chunked_loss" in asked.fused:
        return "torchtune_chunked"
    if recipe.compute == 4:
        return "plain_32bit"
    prefix = "foak" if "loss" in asked.fused else "hf"
    version = _transformers(asked)
    if model.family in NEVER_UPCAST or (model.family in UPCAST_SINCE_4_46 and _before(version, "4.46")):
        return f"{prefix}_16bit_autocast" if recipe.autocast else f"{prefix}_16bit"
    names = [entry for (kind, name), entry in kernels().items() if kind == "loss" and name.startswith(f"{prefix}_")]
    dated = [entry for entry in names if entry.since or entry.until]
    fitting = [entry for entry in dated if _in_range(version, entry.since, entry.until)]
    chosen = (fitting or dated)[-1]
    return chosen.name


def _litgpt(model: ModelFacts, recipe: Recipe, asked: Description) -> Recipe:
    quantised = recipe.storage not in {"fp32", "bf16"}
    return replace(
        recipe,
        loss="fused_linear" if "linear_loss" in asked.fused else "litgpt_chunked",
        norm="litgpt" if model.norm == "rms" else "stock",
        adapter="litgpt",
        packed_qkv=True,
        frozen_inputs=quantised and not _newer_bitsandbytes(asked),
        quantised_head=quantised,
        tied=False if model.family.startswith("falcon") else None,
        first_trained_layer=2 if recipe.method == "adapter" else 0,
        attention="math" if model.kv_heads == 1 < model.heads else recipe.attention,
        reshards=not _before(asked.torch_version or NEWEST, FREES_FROZEN_SHARDS_SINCE),
        accumulation=1,
    )


def _newer_bitsandbytes(asked: Description) -> bool:
    """Since 0.42 a frozen 4-bit matrix keeps no input (LitGPT before 2024 pinned 0.41)."""
    return not (asked.torch_version and _before(asked.torch_version, "2.2"))


def _torchtune(model: ModelFacts, recipe: Recipe, asked: Description) -> Recipe:
    del model
    return replace(
        recipe,
        loss="torchtune_full" if "whole_loss" in asked.fused else "torchtune_chunked",
        optimizer="adamw_fused" if recipe.optimizer == "adamw" else recipe.optimizer,
        adapter_dropout=bool(asked.dropout),
    )


def _unsloth(model: ModelFacts, recipe: Recipe, asked: Description) -> Recipe:
    del model
    return replace(
        recipe,
        loss="fused_linear" if "linear_loss" in asked.fused else "unsloth",
        norm="fused",
        feedforward="fused",
        adapter="unsloth",
        adapter_dropout=False,
        trained_bytes=4,
    )


def _sharded(recipe: Recipe, asked: Description) -> Recipe:
    """FSDP trains shards of 32 bits under mixed precision; a single process keeps what it was given."""
    if asked.world == 1:
        return replace(recipe, sharding="none")
    if recipe.shards_parameters and recipe.storage == "fp32" and recipe.compute == 2:
        return replace(recipe, residual=2)
    return recipe


def _assumed(recipe: Recipe, asked: Description) -> list[str]:
    entries = [("loss", recipe.loss), ("norm", recipe.norm)]
    entries += [("adapter", recipe.adapter)] if recipe.low_rank else []
    unmeasured = [f"{name} ({kind})" for kind, name in entries if kernels()[kind, name].status != "measured"]
    said = [f"kernels that no measured row fixes: {', '.join(unmeasured)}"] if unmeasured else []
    if asked.library == "hf" and not asked.library_version:
        said.append("the transformers of its torch's time" if asked.torch_version else "the newest transformers")
    if asked.optimizer is None:
        said.append("AdamW, multi-tensor")
    if recipe.low_rank and asked.targets is None:
        said.append(f"adapters on {', '.join(recipe.targets)}")
    return said


def _in_range(version: str, since: str, until: str) -> bool:
    return (not since or not _before(version, since)) and (not until or _before(version, until))


def _before(version: str, limit: str) -> bool:
    return _parts(version) < _parts(limit)


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
