"""The footprint of a transformer's training step from its dimensions alone, in under a millisecond.

It never imports torch and never looks at a GPU: a trace of the real program is stronger, and replaces it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from gpuplan.footprint.declared import Setting, declared
from gpuplan.footprint.dimensions import (
    PRECISIONS,
    Dimensions,
    DimensionsError,
    PrecisionName,
    Unknown,
    dimensions_of,
    precision_of,
)
from gpuplan.footprint.moments import STATES, run_step
from gpuplan.footprint.operators import Runtime, count_operators, keeps_scores
from gpuplan.footprint.parameters import count_parameters
from gpuplan.model import Footprint
from gpuplan.units import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuplan.model import Architecture, Scalar

__all__ = ["closed_form", "sized"]

ACTIVATION_BYTES: dict[PrecisionName, int] = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2}
STOCK_SINCE = (4, 49)
"""Of transformers: since then its losses and norms keep what `programs` counts."""


def closed_form(
    architecture: Architecture,
    settings: Mapping[str, Scalar],
    *,
    sequence: int | None = None,
    precision: str | None = None,
    runtime: Runtime = "gpu",
    ranks: int = 1,
) -> Footprint | Unknown:
    """The footprint of `architecture` with these settings; Unknown where a dimension or the precision cannot be.

    `sequence` is the role's, for an architecture that names none. `runtime` says whose kernels run: those of a CPU
    keep other tensors alive. `ranks` share what the architecture says that they share.
    """
    known = precision_of(precision)
    if known is None:
        return unknown_precision(precision)
    try:
        dimensions = dimensions_of(architecture, settings, sequence=sequence)
        if architecture.library is not None and not _is_stock(architecture):
            return declared(architecture, dimensions, Setting(settings, known, runtime, ranks))
    except DimensionsError as error:
        return Unknown(f"the model cannot be sized: {error}", "correct `footprint.model`, or the setting it names")
    return sized(dimensions, precision=known, runtime=runtime)


def unknown_precision(name: str | None) -> Unknown:
    """What is said of a precision that no program has."""
    names = ", ".join(dict.fromkeys(PRECISIONS.values()))
    return Unknown(f"the precision {name!r} is none of {names}", "name the setting of one in `roles.precision`")


def _is_stock(architecture: Architecture) -> bool:
    """Whether today's transformers trains all of it on one rank with its own kernels: a program is known."""
    version = tuple(int(part) for part in (architecture.library_version or "").split(".")[:2] if part.isdigit())
    return (
        architecture.library == "hf"
        and architecture.method == "full"
        and architecture.sharding == "none"
        and architecture.storage in {None, "fp32", "bf16"}
        and not architecture.fused
        and (not version or version >= STOCK_SINCE)
    )


@lru_cache(maxsize=4096)
def sized(dimensions: Dimensions, *, precision: PrecisionName, runtime: Runtime = "gpu") -> Footprint:
    """The footprint of a model of these dimensions: parameters, operators, and the envelope of what is alive."""
    parameters = count_parameters(dimensions)
    weight_bytes = 2 if dimensions.bf16_weights else 4
    activation_bytes = min(weight_bytes, ACTIVATION_BYTES[precision])
    step = run_step(
        dimensions, parameters, weight_bytes=weight_bytes, autocast=activation_bytes < weight_bytes, runtime=runtime
    )
    return Footprint(
        source="closed_form",
        because=_because(dimensions, activation_bytes, runtime, parameters.total),
        parameters=parameters.total,
        trainable=parameters.trained,
        gradient_bytes=weight_bytes * parameters.trained,
        checkpoint_bytes=weight_bytes * (1 + STATES[dimensions.optimizer]) * parameters.trained,
        operators=count_operators(
            dimensions, parameters, activation_bytes=activation_bytes, runtime=runtime, swept=step.swept
        ),
        moments=step.moments,
        precision="bf16" if dimensions.bf16_weights else precision,
    )


def _because(dimensions: Dimensions, activation_bytes: int, runtime: Runtime, parameters: int) -> str:
    kind = {"encoder": "an encoder", "encoder_decoder": "an encoder-decoder", "vision": "a vision transformer"}
    assumed = ", ".join(_assumptions(dimensions, activation_bytes, runtime))
    return (
        f"closed form of {kind.get(dimensions.kind, 'a decoder')} of {dimensions.layers} layers, "
        f"d {dimensions.d_model}, {dimensions.heads} heads, feed-forward {dimensions.feedforward}, "
        f"{dimensions.tokens} tokens a row: {format_count(parameters)} parameters; assumed: {assumed}"
    )


def _assumptions(dimensions: Dimensions, activation_bytes: int, runtime: Runtime) -> list[str]:
    biases = {"none": "no biases", "qkv": "biases of q, k and v", "all": "biases"}[dimensions.bias]
    said = [
        f"{'RMSNorm' if dimensions.norm == 'rms' else 'LayerNorm'} and {biases}",
        "dropout" if dimensions.dropout else "no dropout",
        _scores_text(dimensions, activation_bytes, runtime),
        _weights_text(dimensions, activation_bytes),
        _optimizer_text(dimensions.optimizer, runtime),
    ]
    if dimensions.modules == "transformers":
        said.append("transformers' own modules, newest version, without padding")
    if dimensions.experts:
        said.append("experts that get equal shares of the tokens")
    return said


def _scores_text(dimensions: Dimensions, activation_bytes: int, runtime: Runtime) -> str:
    if dimensions.attention == "eager":
        return "S x S attention scores kept, as eager attention does"
    if not keeps_scores(dimensions, activation_bytes=activation_bytes, runtime=runtime):
        return "flash attention, no S x S kept"
    why = "CPU kernels with dropout do" if runtime == "cpu" else "fp32 with shared heads does"
    return f"S x S attention scores kept, as {why}"


def _weights_text(dimensions: Dimensions, activation_bytes: int) -> str:
    if dimensions.bf16_weights:
        return "all in bf16, weights and states too"
    return "fp32 weights and states under autocast" if activation_bytes == 2 else "all in 32 bits"


def _optimizer_text(optimizer: str, runtime: Runtime) -> str:
    if optimizer == "sgd":
        return "SGD without momentum"
    if optimizer == "adamw_fused":
        return "fused adamw"
    return f"{optimizer} with its {'multi-tensor' if runtime == 'gpu' else 'per-tensor'} temporary"
