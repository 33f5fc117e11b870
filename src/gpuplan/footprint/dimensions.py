"""A transformer's dimensions as whole numbers, read from an Architecture and the settings of a run.

It never guesses a missing dimension: it says which one is missing and what to add.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuplan.model import Architecture, Scalar

__all__ = ["PRECISIONS", "Dimensions", "DimensionsError", "Unknown", "dimensions_of", "precision_of", "whole_of"]

LARGEST = 10**9
"""No dimension of a model is larger; a larger one is a typing error and would overflow what follows."""

PRECISIONS: dict[str, Literal["fp32", "tf32", "fp16", "bf16"]] = {
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

    kind: Literal["encoder", "decoder"]
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
    optimizer: Literal["sgd", "adam", "adamw"]
    checkpointing: bool
    dropout: bool

    @property
    def kv_width(self) -> int:
        """The width of the keys, and of the values, of one token."""
        return self.d_model // self.heads * self.kv_heads

    @property
    def biased(self) -> bool:
        """Linear layers and norms have biases: all but the gated family."""
        return not self.gated

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
    heads = value.whole("heads", architecture.heads)
    dimensions = Dimensions(
        kind=architecture.kind,
        layers=value.whole("layers", architecture.layers),
        d_model=value.whole("d_model", architecture.d_model),
        heads=heads,
        kv_heads=heads if architecture.kv_heads is None else value.whole("kv_heads", architecture.kv_heads),
        feedforward=value.whole("feedforward", architecture.feedforward),
        vocabulary=value.whole("vocabulary", architecture.vocabulary),
        sequence=value.whole("sequence", sequence if architecture.sequence is None else architecture.sequence),
        classes=None if architecture.classes is None else value.whole("classes", architecture.classes),
        gated=architecture.gated,
        tied=architecture.tied,
        learned_positions=architecture.learned_positions,
        optimizer=architecture.optimizer,
        checkpointing=architecture.checkpointing,
        dropout=_has_dropout(settings.get("dropout"), default=not architecture.gated),
    )
    _check_heads(dimensions)
    return dimensions


def precision_of(name: str | None) -> Literal["fp32", "tf32", "fp16", "bf16"] | None:
    """The precision that a program calls `name`; fp32 where it says nothing, None for an unknown name."""
    return "fp32" if name is None else PRECISIONS.get(name.lower())


def whole_of(name: str, given: str | int | None, settings: Mapping[str, Scalar]) -> int:
    """The number that `given` is or names; raises DimensionsError that says `name`."""
    return _Reader(settings).whole(name, given)


class _Reader(NamedTuple):
    settings: Mapping[str, Scalar]

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


def _check_heads(dimensions: Dimensions) -> None:
    if dimensions.d_model % dimensions.heads:
        raise DimensionsError(f"its {dimensions.heads} heads do not divide its d_model of {dimensions.d_model}")
    if dimensions.heads % dimensions.kv_heads:
        raise DimensionsError(f"its {dimensions.kv_heads} kv_heads do not divide its {dimensions.heads} heads")
