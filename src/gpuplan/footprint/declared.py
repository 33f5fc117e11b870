"""The footprint of a transformer that a library trains, from the dimensions that a spec declares. It reads no file.

Where a spec names no library, `closed_form` counts plain PyTorch modules instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from gpuplan.data.models import ModelFacts
from gpuplan.footprint.census import census_of
from gpuplan.footprint.dimensions import whole_of
from gpuplan.footprint.libraries import Description, prepare
from gpuplan.footprint.operators import count_operators
from gpuplan.footprint.parameters import count_parameters
from gpuplan.footprint.residency import residency_of
from gpuplan.footprint.training import Workload, moments_of
from gpuplan.model import Footprint
from gpuplan.units import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuplan.footprint.dimensions import Dimensions, Kind
    from gpuplan.footprint.operators import Runtime
    from gpuplan.footprint.recipe import OptimizerName
    from gpuplan.model import Architecture, Scalar

__all__ = ["SHARDED", "Setting", "declared"]

SHARDED = "sharding"
"""Key in a footprint's versions: what its ranks share is taken off already, and no gradient bucket comes on top."""
KINDS: dict[Kind, Literal["decoder", "encoder", "vision", "seq2seq"]] = {
    "decoder": "decoder", "encoder": "encoder", "vision": "vision", "encoder_decoder": "seq2seq",
}  # fmt: skip
OPTIMIZER_NAMES: dict[str, OptimizerName] = {
    "sgd": "sgd", "adam": "adamw", "adamw": "adamw", "adamw_fused": "adamw_fused",
}  # fmt: skip


class Setting(NamedTuple):
    """Around the dimensions: the settings that they may name, the precision's role, whose kernels, and the ranks."""

    settings: Mapping[str, Scalar]
    precision: str
    runtime: Runtime
    ranks: int


def declared(architecture: Architecture, dimensions: Dimensions, around: Setting) -> Footprint:
    """What a step of `architecture` needs on one rank, trained by the library that it names."""
    model = _facts(dimensions)
    asked = _description(architecture, dimensions, around)
    prepared = prepare(model, asked)
    held = residency_of(model, prepared.recipe)
    versions = {"transformers": asked.library_version} if asked.library_version else {}
    size = prepared.recipe.compute
    return Footprint(
        source="closed_form",
        because=_because(architecture, model, held.trained, prepared.assumed),
        parameters=census_of(model).total,
        gradient_bytes=round(held.gradients),
        checkpoint_bytes=round(held.trained * prepared.recipe.trained_bytes + held.states * _shares(asked)),
        operators=count_operators(
            dimensions, count_parameters(dimensions), activation_bytes=size, runtime=around.runtime
        ),
        moments=moments_of(Workload(model, prepared.recipe, dimensions.tokens, dimensions.predictions)),
        precision=around.precision,
        versions=versions | ({SHARDED: asked.sharding} if asked.world > 1 else {}),
    )


def _facts(dimensions: Dimensions) -> ModelFacts:
    return ModelFacts(
        name="the model",
        family="declared",
        kind=KINDS[dimensions.kind],
        layers=dimensions.layers,
        d_model=dimensions.d_model,
        heads=dimensions.heads,
        kv_heads=dimensions.kv_heads,
        head_dim=dimensions.head_dim,
        feedforward=dimensions.feedforward,
        vocabulary=dimensions.vocabulary,
        norm=dimensions.norm,
        gated=dimensions.gated,
        activation=dimensions.activation,
        bias=dimensions.bias,
        tied=dimensions.tied and not dimensions.classes,
        dropout=dimensions.dropout,
        positions=dimensions.sequence if dimensions.learned_positions else 0,
        experts=dimensions.experts,
        experts_per_token=dimensions.experts_per_token,
        classes=dimensions.classes or 0,
        patch=dimensions.patch,
        image=dimensions.image,
    )


def _description(architecture: Architecture, dimensions: Dimensions, around: Setting) -> Description:
    """16 bits are autocast's over 32-bit weights, unless the weights are said to be stored in fewer bits."""
    in_16_bits = around.precision in {"fp16", "bf16"}
    stored = architecture.storage not in {None, "fp32"}
    sharded = architecture.sharding != "none"
    return Description(
        library=architecture.library or "plain",
        library_version=architecture.library_version or "",
        method=architecture.method,
        precision="bf16" if stored else ("amp" if in_16_bits else "fp32"),
        storage=architecture.storage,
        optimizer=OPTIMIZER_NAMES[architecture.optimizer],
        rank=whole_of("adapter_rank", architecture.adapter_rank, around.settings),
        targets=architecture.adapter_targets or None,
        checkpointing=dimensions.checkpointing,
        attention=architecture.attention,
        fused=frozenset(architecture.fused),
        autocast=in_16_bits,
        world=around.ranks if sharded else 1,
        sharding=architecture.sharding,
    )


def _shares(asked: Description) -> int:
    return asked.world if asked.sharding != "none" else 1


def _because(architecture: Architecture, model: ModelFacts, trained: int, assumed: tuple[str, ...]) -> str:
    what = "all of them" if architecture.method == "full" else f"{format_count(trained)} more in adapters"
    text = (
        f"closed form of a {model.kind} of {model.layers} layers, d {model.d_model}, {model.heads} heads, feed-forward "
        f"{model.feedforward}: {format_count(census_of(model).total)} parameters; {architecture.library} trains {what}"
    )
    return f"{text}; assumed: {', '.join(assumed)}" if assumed else text
