"""A Hugging Face config.json's content as facts on a model. It reads no file, and guesses no dimension."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gpuplan.data.models import ModelFacts, families
from gpuplan.footprint.dimensions import LARGEST, Unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["facts_of_config"]

FAMILIES = {
    "llama": "llama", "mistral": "mistral", "mixtral": "mixtral", "granite": "granite", "phi3": "phi3",
    "qwen2": "qwen2", "qwen3": "qwen3", "qwen3_moe": "qwen3_moe", "gemma": "gemma", "gemma2": "gemma2",
    "gemma3_text": "gemma3", "gpt_neox": "gpt_neox", "phi": "phi", "gpt2": "gpt2", "opt": "opt", "bert": "bert",
    "roberta": "bert", "vit": "vit", "t5": "t5", "smollm3": "llama",
}  # fmt: skip
"""What `model_type` says, and the family of data/models.toml whose layers it has."""
NAMES: dict[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "d_model": ("hidden_size", "n_embd", "d_model"),
    "heads": ("num_attention_heads", "n_head", "num_heads"),
    "kv_heads": ("num_key_value_heads",),
    "head_dim": ("head_dim", "d_kv"),
    "feedforward": ("moe_intermediate_size", "intermediate_size", "n_inner", "ffn_dim", "d_ff"),
    "vocabulary": ("vocab_size",),
    "experts": ("num_local_experts", "num_experts"),
    "experts_per_token": ("num_experts_per_tok",),
    "patch": ("patch_size",),
    "image": ("image_size",),
}
ACTIVATIONS = {"relu": "relu", "silu": "silu", "swish": "silu"}
DIMENSIONS = "give the dimensions in `footprint.model` themselves (kind, layers, d_model, heads, feedforward, ...)"
LEARNED = frozenset({"gpt2", "opt", "bert"})
OFFSETS = {"opt": 2}
"""Positions that OPT's table has more than its config says."""


class ConfigError(ValueError):
    """A field that is missing or cannot be; its text names it."""


def facts_of_config(content: Mapping[str, Any], *, name: str) -> ModelFacts | Unknown:
    """The model that a configuration describes; Unknown with what is missing for a family that is not known."""
    kind = content.get("model_type")
    if isinstance(content.get("text_config"), dict):
        return Unknown(f"{name} describes several models in one ({kind})", DIMENSIONS)
    family = FAMILIES.get(kind) if isinstance(kind, str) else None
    if family is None:
        known = ", ".join(sorted(FAMILIES))
        return Unknown(f"{name} is of model_type {kind!r}, and only these are known: {known}", DIMENSIONS)
    if content.get("quantization_config"):
        return Unknown(f"{name} has quantised weights, which are not trained whole", f"{DIMENSIONS} and `storage`")
    try:
        return _facts(_Fields(content), _family(family, content), name=name)
    except ConfigError as error:
        return Unknown(f"{name} cannot be sized: {error}", f"correct it, or {DIMENSIONS}")


class _Fields(NamedTuple):
    content: Mapping[str, Any]

    def whole(self, field: str, *, default: int | None = None) -> int:
        """The number under any of the names of `field`."""
        for key in NAMES.get(field, (field,)):
            value = self.content.get(key)
            if value is not None:
                return _whole(key, value)
        if default is None:
            raise ConfigError(f"it has no {' or '.join(NAMES.get(field, (field,)))}")
        return default


def _whole(key: str, value: object) -> int:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or value != value // 1
        or not 1 <= value <= LARGEST
    ):
        raise ConfigError(f"its {key} is {str(value)[:40]!r}, not a whole number from 1 to {LARGEST:,}")
    return int(value)


def _family(family: str, content: Mapping[str, Any]) -> str:
    """A T5 of the second version has a gate."""
    gated = "gated" in str(content.get("feed_forward_proj", ""))
    return "t5_gated" if family == "t5" and gated else family


def _facts(fields: _Fields, family: str, *, name: str) -> ModelFacts:
    traits = families()[family]
    heads, width = fields.whole("heads"), fields.whole("d_model")
    head_dim = fields.whole("head_dim", default=0) or _head_dim(width, heads)
    vision = traits["kind"] == "vision"
    kv_heads = fields.whole("kv_heads", default=heads)
    if heads % kv_heads:
        raise ConfigError(f"its {kv_heads} num_key_value_heads do not divide its {heads} heads")
    given = traits | {
        "layers": fields.whole("layers"),
        "d_model": width,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": head_dim,
        "feedforward": fields.whole("feedforward", default=4 * width if family == "gpt2" else None),
        "vocabulary": 0 if vision else fields.whole("vocabulary"),
        "tied": _said(fields, "tie_word_embeddings", default=bool(traits.get("tied"))),
        "classes": _classes(fields, vision=vision),
        "positions": _positions(fields, family),
        "patch": fields.whole("patch") if vision else 0,
        "image": fields.whole("image") if vision else 0,
        **_experts(fields),
        **_bias(fields),
        "activation": _activation(fields, str(traits.get("activation", "silu"))),
    }
    if family == "bert":
        given |= _bert_head(classifies=bool(given["classes"]))
    return ModelFacts(name=name, family=family, source="its configuration", checked="seen", **given)


def _head_dim(width: int, heads: int) -> int:
    if width % heads:
        raise ConfigError(f"its {heads} heads do not divide its width of {width}")
    return width // heads


def _said(fields: _Fields, name: str, *, default: bool) -> bool:
    value = fields.content.get(name)
    return value if isinstance(value, bool) else default


def _classes(fields: _Fields, *, vision: bool) -> int:
    """Of a model whose head is one of classes: as many as it names, else two."""
    names = fields.content.get("architectures")
    written = str(names) if isinstance(names, list) else ""
    if not vision and "Classification" not in written:
        return 0
    labels = fields.content.get("id2label")
    return fields.whole("num_labels", default=len(labels) if isinstance(labels, dict) and labels else 2)


def _positions(fields: _Fields, family: str) -> int:
    if family not in LEARNED:
        return 0
    given = fields.content.get("n_positions", fields.content.get("max_position_embeddings"))
    if given is None:
        raise ConfigError("it has no max_position_embeddings")
    return _whole("max_position_embeddings", given) + OFFSETS.get(family, 0)


def _experts(fields: _Fields) -> dict[str, int]:
    experts = fields.whole("experts", default=0)
    chosen = fields.whole("experts_per_token", default=2) if experts else 0
    if chosen > experts:
        raise ConfigError(f"its {chosen} num_experts_per_tok are more than its {experts} experts")
    return {"experts": experts, "experts_per_token": chosen}


def _bias(fields: _Fields) -> dict[str, str]:
    """Llama's own code has biases only if its configuration says so."""
    return {"bias": "qkv"} if fields.content.get("attention_bias") is True else {}


def _activation(fields: _Fields, usual: str) -> str:
    given = str(fields.content.get("hidden_act") or fields.content.get("activation_function") or "")
    return ACTIVATIONS.get(given, "gelu" if "gelu" in given else usual)


def _bert_head(*, classifies: bool) -> dict[str, Any]:
    """A pooler before classes, else a transformation of every position before the vocabulary."""
    if classifies:
        return {"extra": ("segments", "pooler")}
    return {"extra": ("segments", "transform"), "head_bias": True}
