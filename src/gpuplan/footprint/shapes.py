"""The footprint of a named workload of public benchmark tables: convolutional, recurrent, or a transformer.

Counted from dimensions in data/, with operators by class; it knows no GPU and reads no log.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, get_args

from gpuplan.data.models import find_model
from gpuplan.data.workloads import WorkloadFacts, find_workload
from gpuplan.footprint.classifiers import CLASSIFIER_FAMILIES
from gpuplan.footprint.closed_form import unknown_precision
from gpuplan.footprint.dimensions import PrecisionName, Unknown, precision_of
from gpuplan.footprint.images import IMAGE_FAMILIES
from gpuplan.footprint.named import footprint_of_facts
from gpuplan.footprint.network import SUM_SWEEPS, Kind, TooSmallError
from gpuplan.footprint.sequences import SEQUENCE_FAMILIES
from gpuplan.model import Component, Footprint, Line, Moment, Operators
from gpuplan.units import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuplan.data.models import ModelFacts
    from gpuplan.footprint.network import Network, Part

__all__ = ["footprint_of_shape", "network_of", "operators_of"]

KINDS: tuple[Kind, ...] = get_args(Kind)
SWEEPS_OF_OPTIMIZER = {"sgd_momentum": 11, "adam": 21}
"""How often a multi-tensor step reads or writes an array as large as the parameters: SGD with weight decay, Adam with
a limit on the norm of all gradients, as the published programs have them."""
KERNELS_OF_OPTIMIZER = {"sgd_momentum": 4, "adam": 10}
STATES = {"sgd_momentum": 1, "adam": 2}
CAST_BYTES = 12
"""Of one element under autocast: read in fp32 and written in 16 bits, and its gradient back."""


def footprint_of_shape(
    name: str,
    *,
    precision: str = "fp32",
    sequence: int | None = None,
    image: int | None = None,
    checkpointing: bool = False,
) -> Footprint | Unknown:
    """A training step of the workload `name`, per row of the micro-batch; Unknown where nothing of data/ fits.

    16 bits are autocast's over fp32 weights. `sequence` (tokens, frames or samples of one row) and `image` (its edge in
    pixels) replace the workload's own; a transformer of data/models.toml needs a `sequence`.
    """
    known = precision_of(precision)
    if known is None:
        return unknown_precision(precision)
    facts = find_workload(name)
    if facts is not None:
        size = (image or facts.image) if facts.image else (sequence or facts.sequence)
        try:
            return _footprint(facts.name, known, size)
        except TooSmallError as error:
            return Unknown(
                f"{facts.name} takes no images of {size} x {size}: {error}", "correct the setting of `roles.image`"
            )
    model = find_model(name) or _model_at_the_start_of(name)
    if model is None:
        return Unknown(f"no dimensions of {name!r} are known", "add its row to data/workloads.toml or data/models.toml")
    return footprint_of_facts(model, sequence=sequence, precision=precision, checkpointing=checkpointing)


def _model_at_the_start_of(name: str) -> ModelFacts | None:
    """Of `bert_base_squad` the model is BERT Base: tables put the task behind it."""
    words = re.findall(r"[A-Za-z0-9.]+", name[:200])
    starts = (" ".join(words[:count]) for count in range(len(words) - 1, 1, -1))
    return next((found for found in map(find_model, starts) if found is not None), None)


def network_of(facts: WorkloadFacts, *, size: int | None = None) -> Network:
    """The layers of a workload for one row of `size` tokens, or of an image of that edge."""
    families = IMAGE_FAMILIES | CLASSIFIER_FAMILIES | SEQUENCE_FAMILIES
    return families[facts.family](size or facts.image or facts.sequence, facts.dimensions)


@lru_cache(maxsize=512)
def _footprint(name: str, precision: PrecisionName, size: int) -> Footprint:
    facts = find_workload(name)
    assert facts is not None
    parts = network_of(facts, size=size).parts
    weights = sum(part.weights for part in parts)
    activation_bytes = 2 if precision in {"fp16", "bf16"} else 4
    states = STATES[facts.optimizer]
    return Footprint(
        source="closed_form",
        because=_because(facts, weights, size),
        parameters=round(weights),
        gradient_bytes=round(4 * weights),
        checkpoint_bytes=round(4 * (1 + states) * weights),
        operators=(*operators_of(parts, activation_bytes=activation_bytes), _optimizer(facts, weights)),
        moments=_moments(facts, parts, size=size, activation_bytes=activation_bytes),
        precision=precision,
        kernel_overhead_s=facts.kernel_overhead_us / 1e6 or None,
    )


def _because(facts: WorkloadFacts, weights: float, size: int) -> str:
    row = f"images of {size} x {size}" if facts.image else f"rows of {size}"
    return (
        f"closed form of {facts.name} on {row}: {format_count(round(weights))} parameters ({facts.source}); "
        f"assumed: fp32 weights, {facts.optimizer.replace('_', ' with ')}, multi-tensor"
    )


def operators_of(parts: Sequence[Part], *, activation_bytes: int) -> tuple[Operators, ...]:
    """The work of some layers, forward and backward, by class of operator."""
    return tuple(_class(kind, parts, activation_bytes) for kind in KINDS if any(part.kind == kind for part in parts))


def _class(kind: Kind, parts: Sequence[Part], activation_bytes: int) -> Operators:
    alike = [part for part in parts if part.kind == kind]
    swept = activation_bytes * sum(part.swept for part in alike) + 4.0 * sum(part.full for part in alike)
    swept += CAST_BYTES * sum(part.cast for part in alike) if activation_bytes == 2 else 0.0
    return Operators(
        kind=kind,
        flops=Line(slope=2.0 * sum(part.passes * part.macs for part in alike)),
        moved_bytes=Line(intercept=_fixed_bytes(kind, parts, activation_bytes), slope=float(swept)),
        kernels=sum(part.kernels for part in alike) + (_casts(parts, activation_bytes) if kind == "elementwise" else 0),
    )


def _casts(parts: Sequence[Part], activation_bytes: int) -> int:
    """Kernels: under autocast one for each matrix, and one for its gradient."""
    return 2 * sum(_is_product(part) for part in parts) if activation_bytes == 2 else 0


def _is_product(part: Part) -> bool:
    return part.kind not in {"elementwise", "embedding"} and part.weights + part.tied > 0


def _fixed_bytes(kind: Kind, parts: Sequence[Part], activation_bytes: int) -> float:
    """Whatever the batch: an embedding's gradient is as large as its table; each pass reads or writes a matrix."""
    alike = [part for part in parts if part.kind == kind]
    if kind == "embedding":
        return 4.0 * sum(part.uses * part.weights for part in alike)
    if kind == "elementwise":
        return 4.0 * sum(part.fixed for part in alike) + sum(_around(part, activation_bytes) for part in parts)
    return float(activation_bytes * sum(part.passes * part.uses * (part.weights + part.tied) for part in alike))


def _around(part: Part, activation_bytes: int) -> float:
    """Elementwise bytes for weights: the cast of a matrix under autocast, and sums of gradients, in fp32 if tied."""
    size = activation_bytes if _is_product(part) else 4
    sums = SUM_SWEEPS * (size * (part.uses - 1) * part.weights + 4.0 * part.tied)
    return sums + (CAST_BYTES * (part.weights + part.tied) if activation_bytes == 2 and _is_product(part) else 0.0)


def _optimizer(facts: WorkloadFacts, weights: float) -> Operators:
    return Operators(
        kind="optimizer",
        flops=Line(),
        moved_bytes=Line(intercept=4.0 * SWEEPS_OF_OPTIMIZER[facts.optimizer] * weights),
        kernels=KERNELS_OF_OPTIMIZER[facts.optimizer],
    )


def _kept_bytes(part: Part, activation_bytes: int) -> float:
    """Until its backward pass: what fp32 operators make under autocast in 32 bits, and its casts besides."""
    is_cast = activation_bytes == 2
    return (4 if part.full else activation_bytes) * part.kept + (2.0 * part.cast if is_cast else 0.0)


def _moments(facts: WorkloadFacts, parts: list[Part], *, size: int, activation_bytes: int) -> tuple[Moment, ...]:
    """The end of the forward pass, the end of the backward pass, and the optimizer's step."""
    weights = 4.0 * sum(part.weights for part in parts)
    row = 3.0 * 4 * size * size if facts.image else 16.0 * size
    always: dict[Component, Line] = {
        "parameters": Line(intercept=weights),
        "optimizer": Line(intercept=STATES[facts.optimizer] * weights),
        "inputs": Line(slope=row),
    }
    kept = Line(slope=float(sum(_kept_bytes(part, activation_bytes) for part in parts)))
    largest = Line(slope=float(activation_bytes * max(part.kept for part in parts)))
    casts = Line(intercept=weights / 2 if activation_bytes == 2 else 0.0)
    gradients = Line(intercept=weights)
    logits = Line(slope=4.0 * sum(part.logits for part in parts))
    work = Line(intercept=casts.intercept, slope=0.0 if logits.slope else largest.slope)
    forward = always | {"activations": kept, "logits": logits, "temporaries": work}
    step = Line(intercept=weights if facts.optimizer == "adam" else 0.0)
    return (
        Moment(phase="backward", alive_bytes=forward),
        Moment(phase="backward", alive_bytes=always | {"gradients": gradients, "temporaries": largest}),
        Moment(phase="optimizer", alive_bytes=always | {"gradients": gradients, "temporaries": step}),
    )
