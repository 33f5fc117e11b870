"""The footprint of a transformer's training step from its dimensions alone, in under a millisecond.

It never imports torch and never looks at a GPU: a trace of the real program is stronger, and replaces it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from gpuplan.footprint.declared import Setting, declared
from gpuplan.footprint.dimensions import PRECISIONS, Dimensions, DimensionsError, Unknown, dimensions_of, precision_of
from gpuplan.footprint.moments import STATES, find_moments
from gpuplan.footprint.operators import Runtime, count_operators
from gpuplan.footprint.parameters import count_parameters
from gpuplan.model import Footprint
from gpuplan.units import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuplan.model import Architecture, Scalar

__all__ = ["closed_form"]

ACTIVATION_BYTES = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2}


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
        names = ", ".join(dict.fromkeys(PRECISIONS.values()))
        return Unknown(
            f"the precision {precision!r} is none of {names}", "name the setting of one in `roles.precision`"
        )
    try:
        dimensions = dimensions_of(architecture, settings, sequence=sequence)
        if architecture.library is not None:
            return declared(architecture, dimensions, Setting(settings, known, runtime, ranks))
    except DimensionsError as error:
        return Unknown(f"the model cannot be sized: {error}", "correct `footprint.model`, or the setting it names")
    return _footprint(dimensions, known, runtime)


@lru_cache(maxsize=4096)
def _footprint(
    dimensions: Dimensions, precision: Literal["fp32", "tf32", "fp16", "bf16"], runtime: Runtime
) -> Footprint:
    parameters = count_parameters(dimensions)
    activation_bytes = ACTIVATION_BYTES[precision]
    states = STATES[dimensions.optimizer]
    return Footprint(
        source="closed_form",
        because=_because(dimensions, precision, runtime, parameters.total),
        parameters=parameters.total,
        gradient_bytes=4 * parameters.total,
        checkpoint_bytes=4 * (1 + states) * parameters.total,
        operators=count_operators(dimensions, parameters, activation_bytes=activation_bytes, runtime=runtime),
        moments=find_moments(dimensions, parameters, activation_bytes=activation_bytes, runtime=runtime),
        precision=precision,
    )


def _because(dimensions: Dimensions, precision: str, runtime: Runtime, parameters: int) -> str:
    article = "an" if dimensions.kind == "encoder" else "a"
    return (
        f"closed form of {article} {dimensions.kind} of {dimensions.layers} layers, d {dimensions.d_model}, "
        f"{dimensions.heads} heads, feed-forward {dimensions.feedforward}, {dimensions.sequence} tokens a row: "
        f"{format_count(parameters)} parameters; assumed: {', '.join(_assumptions(dimensions, precision, runtime))}"
    )


def _assumptions(dimensions: Dimensions, precision: str, runtime: Runtime) -> list[str]:
    scores = runtime == "cpu" and dimensions.dropout
    return [
        "RMSNorm and no biases" if dimensions.gated else "LayerNorm and biases",
        "dropout" if dimensions.dropout else "no dropout",
        "S x S attention scores kept, as CPU kernels with dropout do" if scores else "flash attention, no S x S kept",
        "fp32 weights and states under autocast" if ACTIVATION_BYTES[precision] == 2 else "all in 32 bits",
        _optimizer_text(dimensions.optimizer, runtime),
    ]


def _optimizer_text(optimizer: str, runtime: Runtime) -> str:
    if optimizer == "sgd":
        return "SGD without momentum"
    return f"{optimizer} with its {'multi-tensor' if runtime == 'gpu' else 'per-tensor'} temporary"
