"""A transformer's dimensions as whole numbers, read from an Architecture and the settings of a run.

It never guesses a missing dimension: it says which one is missing and what to add.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuplan.model import Architecture, Scalar

__all__ = [
    "PRECISIONS", "Dimensions", "DimensionsError", "Kind", "PrecisionName", "Unknown", "dimensions_of", "precision_of",
    "whole_of",
]  # fmt: skip

Kind = Literal["encoder", "decoder", "encoder_decoder", "vision"]
LARGEST = 10**9
"""No dimension of a model is larger; a larger one is a typing error and would overflow what follows."""

PrecisionName = Literal["fp32", "tf32", "fp16", "bf16"]
PRECISIONS: dict[str, PrecisionName] = {
    "fp32": "fp32", "float32": "fp32", "32": "fp32", "32-true": "fp32", "no": "fp32", "full": "fp32",
    "tf32": "tf32",
    "fp16": "fp16", "float16": "fp16", "half": "fp16", "16": "fp16", "16-mixed": "fp16", "amp": "fp16",
    "bf16": "bf16", "bfloat16": "bf16", "bf16-mixed": "bf16",
}  # fmt: skip
"""What programs call them. Weights kept in 16 bits (`bf16-true`) are another thing, and are not here."""


class Unknown(NamedTuple):
    """Why there is no footprint, and what would give one."""

    reason: str
    add: str


class DimensionsError(ValueError):
    """A dimension that is missing or cannot be; its text names it."""


class Dimensions(NamedTuple):
    """What a closed form needs to know of a model and of one row."""

    kind: Kind
    layers: int
    d_model: int
    heads: int
    kv_heads: int
    feedforward: int
    vocabulary: int
    sequence: int
    classes: int | None
    gated: bool
    tied: bool
    learned_positions: bool
    optimizer: Literal["sgd", "adam", "adamw", "adamw_fused"]
    checkpointing: bool
    dropout: bool
    head_dim: int
    norm: Literal["rms", "layer"]
    activation: Literal["relu", "gelu", "silu"]
    bias: Literal["none", "qkv", "all"]
    attention: Literal["flash", "eager"]
    experts: int = 0
    experts_per_token: int = 0
    patch: int = 0
    image: int = 0
    targets: tuple[str, ...] = ()
    rank: int = 0
    bf16_weights: bool = False
    modules: Literal["plain", "transformers"] = "plain"
    qk_norm: bool = False
    norms: int = 2
    parallel: bool = False
    extra_parameters: int = 0

    @property
    def tokens(self) -> int:
        """Tokens of one row as the layers see them: of an image its patches and the class token."""
        return (self.image // self.patch) ** 2 + 1 if self.patch else self.sequence

    @property
    def halves(self) -> int:
        """Stacks of layers."""
        return 2 if self.kind == "encoder_decoder" else 1

    @property
    def query_width(self) -> int:
        """The width of the queries of one token."""
        return self.head_dim * self.heads

    @property
    def kv_width(self) -> int:
        """The width of the keys, and of the values, of one token."""
        return self.head_dim * self.kv_heads

    @property
    def rotary(self) -> bool:
        """Positions by rotating queries and keys."""
        return self.gated and self.kind == "decoder"

    @property
    def packed(self) -> bool:
        """Queries, keys and values are one matrix, as in GPT-2, timm's ViT and nn.MultiheadAttention."""
        return self.norm == "layer" and (self.modules == "plain" or self.kind == "decoder")

    @property
    def inner_dropout(self) -> bool:
        """Dropout inside of the feed-forward too: in torch's own encoder layer, and T5."""
        return self.kind == "encoder_decoder" or (self.kind == "encoder" and self.modules == "plain")

    @property
    def outputs(self) -> int:
        """Logits of one prediction."""
        return self.classes or self.vocabulary

    @property
    def predictions(self) -> int:
        """Predictions of one row: one for a classifier, one a token for a language model."""
        return 1 if self.classes else self.sequence


def dimensions_of(architecture: Architecture, settings: Mapping[str, Scalar], *, sequence: int | None) -> Dimensions:
    """All dimensions of `architecture`; raises DimensionsError that names the first one that cannot be."""
    value = _Reader(settings)
    heads, width = value.whole("heads", architecture.heads), value.whole("d_model", architecture.d_model)
    vision = architecture.kind == "vision"
    given = architecture.sequence if sequence is None or architecture.sequence is not None else sequence
    experts = value.optional("experts", architecture.experts)
    dimensions = Dimensions(
        kind=architecture.kind,
        layers=value.whole("layers", architecture.layers),
        d_model=width,
        heads=heads,
        kv_heads=heads if architecture.kv_heads is None else value.whole("kv_heads", architecture.kv_heads),
        feedforward=value.whole("feedforward", architecture.feedforward),
        vocabulary=0 if vision else value.whole("vocabulary", architecture.vocabulary),
        sequence=1 if vision else value.whole("sequence", given),
        classes=value.whole("classes", architecture.classes) if vision or architecture.classes is not None else None,
        gated=architecture.gated,
        tied=architecture.tied,
        learned_positions=architecture.learned_positions or vision,
        optimizer=architecture.optimizer,
        checkpointing=architecture.checkpointing,
        dropout=_has_dropout(settings.get("dropout"), default=not architecture.gated and not vision),
        head_dim=value.optional("head_dim", architecture.head_dim) or _head_dim(width, heads),
        norm="rms" if architecture.gated or architecture.kind == "encoder_decoder" else "layer",
        activation=architecture.activation or _activation(architecture),
        bias=architecture.bias or _bias(architecture),
        attention=architecture.attention,
        experts=experts,
        experts_per_token=value.whole("experts_per_token", architecture.experts_per_token) if experts else 0,
        patch=value.whole("patch", architecture.patch) if vision else 0,
        image=value.whole("image", architecture.image) if vision else 0,
        targets=(architecture.adapter_targets or ("q", "v")) if architecture.method == "lora" else (),
        rank=value.whole("adapter_rank", architecture.adapter_rank) if architecture.method == "lora" else 0,
        bf16_weights=architecture.storage == "bf16",
        modules="plain" if architecture.library is None else "transformers",
    )
    _check(dimensions)
    if architecture.library is None and architecture.storage not in {None, "fp32", "bf16"}:
        raise DimensionsError(f"its storage {architecture.storage} needs a `library` that has such weights")
    return dimensions


def _activation(architecture: Architecture) -> Literal["relu", "gelu", "silu"]:
    if architecture.gated:
        return "silu"
    return "relu" if architecture.kind in {"encoder", "encoder_decoder"} else "gelu"


def _bias(architecture: Architecture) -> Literal["none", "all"]:
    return "none" if architecture.gated or architecture.kind == "encoder_decoder" else "all"


def _head_dim(width: int, heads: int) -> int:
    if width % heads:
        raise DimensionsError(f"its {heads} heads do not divide its d_model of {width}")
    return width // heads


def precision_of(name: str | None) -> PrecisionName | None:
    """The precision that a program calls `name`; fp32 where it says nothing, None for an unknown name."""
    return "fp32" if name is None else PRECISIONS.get(name.lower())


def whole_of(name: str, given: str | int | None, settings: Mapping[str, Scalar]) -> int:
    """The number that `given` is or names; raises DimensionsError that says `name`."""
    return _Reader(settings).whole(name, given)


class _Reader(NamedTuple):
    settings: Mapping[str, Scalar]

    def optional(self, name: str, given: str | int | None) -> int:
        """The number that `given` is or names; 0 for none."""
        return 0 if given is None else self.whole(name, given)

    def whole(self, name: str, given: str | int | None) -> int:
        """The number that `given` is or names."""
        if given is None:
            raise DimensionsError(f"its {name} is not given")
        if isinstance(given, str) and given not in self.settings:
            raise DimensionsError(f"its {name} is the setting {given}, which the run does not have")
        value = self.settings[given] if isinstance(given, str) else given
        if isinstance(value, bool | str) or value != value // 1 or not 1 <= value <= LARGEST:
            raise DimensionsError(f"its {name} is {value!r}, not a whole number from 1 to {LARGEST:,}")
        return int(value)


def _has_dropout(setting: Scalar | None, *, default: bool) -> bool:
    return bool(setting) if isinstance(setting, int | float) else default


def _check(dimensions: Dimensions) -> None:
    if dimensions.heads % dimensions.kv_heads:
        raise DimensionsError(f"its {dimensions.kv_heads} kv_heads do not divide its {dimensions.heads} heads")
    if dimensions.patch > dimensions.image:
        raise DimensionsError(f"its patch of {dimensions.patch} pixels is larger than its image of {dimensions.image}")
    if dimensions.experts and dimensions.experts_per_token > dimensions.experts:
        raise DimensionsError(f"its {dimensions.experts_per_token} experts_per_token are more than its experts")
