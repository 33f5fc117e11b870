"""Peak memory of training a published model on a GPU: allocated, reserved and on the device, and whether it fits.

It never mixes the three, and says how sure it is by what the kernels are known from. It looks at no evidence.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from gpuplan.data.contexts import context_for
from gpuplan.data.kernels import Kind, kernel
from gpuplan.estimate.allocator import FITTED, USABLE, Held, Step, held_by
from gpuplan.estimate.answers import Width, around
from gpuplan.footprint.convolution import ImageWorkload
from gpuplan.footprint.training import Workload, moments_of
from gpuplan.model import Quantity
from gpuplan.units import format_bytes

if TYPE_CHECKING:
    from gpuplan.data.contexts import Context
    from gpuplan.estimate.allocator import Fitted
    from gpuplan.footprint.perceptron import Perceptron
    from gpuplan.footprint.recipe import Recipe
    from gpuplan.model import Gpu

__all__ = ["Confidence", "PublishedPeaks", "confidence_in", "published_peaks"]

Confidence = Literal["counted", "fitted", "assumed", "guessed"]

ALLOCATED = {
    "counted": Width(0.991, 1.012),
    "fitted": Width(0.965, 1.045),
    "assumed": Width(0.85, 1.22),
    "guessed": Width(0.65, 1.5),
}
"""Of tensors. Counted: every kernel's figure follows from its code, and rows confirm it. Fitted: rows alone give one
of them (LitGPT held out of its own: 3 % mean, 19 % worst). Assumed: something that
changes memory was not said. Guessed: the model's own dimensions are not known."""
SLACK = Width(0.78, 1.3)
"""Of what the allocator keeps beside the tensors: it depends on the order of requests (reserved differs by up to 18 %
between equal runs, memory.md)."""
KINDS: tuple[Kind, ...] = ("loss", "norm", "adapter", "attention", "feedforward")
UNKNOWN_CAPACITY_SHARE = 0.02


class PublishedPeaks(NamedTuple):
    """The three numbers of one rank, and the probability that the step does not fit on the card."""

    allocated: Quantity
    reserved: Quantity
    device: Quantity
    oom: float


def confidence_in(assumed: tuple[str, ...], recipe: Recipe | None = None) -> Confidence:
    """How sure the tensors are when these things were taken for granted and these kernels run."""
    if any("dimensions" in text for text in assumed):
        return "guessed"
    if assumed or recipe is None:
        return "assumed" if assumed else "fitted"
    used = (kernel(kind, getattr(recipe, kind)) for kind in KINDS)
    return "fitted" if any(entry.fallback for entry in used) else "counted"


def published_peaks(
    work: Workload | Perceptron | ImageWorkload,
    batch: float,
    *,
    gpu: Gpu | None = None,
    torch: str = "",
    confidence: Confidence = "counted",
    fitted: Fitted = FITTED,
) -> PublishedPeaks:
    """The peaks of one rank of `work` at micro-batch `batch`, on `gpu` if one is named."""
    step = _step(work, batch)
    context = context_for((gpu.compute_capability or "") if gpu else "", torch=torch, without=fitted.without)
    usable = USABLE * gpu.memory_bytes if gpu else None
    held = held_by(step, room_bytes=None if usable is None else usable - context.middle, fitted=fitted)
    width = ALLOCATED[confidence]
    allocated = around(held.allocated, width, source="closed_form", because=_because(work, step))
    reserved = _beside(allocated, held.reserved - held.allocated, f"{format_bytes(held.reserved)} in segments")
    device = _device(allocated, held, context, usable)
    return PublishedPeaks(allocated, reserved, device, _oom(held, context, width, usable))


def _step(work: Workload | Perceptron | ImageWorkload, batch: float) -> Step:
    if not isinstance(work, Workload):
        return Step(work.moments(), batch, convolutions=isinstance(work, ImageWorkload))
    recipe = work.recipe
    return Step(
        moments=moments_of(work),
        batch=batch,
        logits=float(work.logits),
        cached=kernel("loss", recipe.loss).cached,
        loss=recipe.loss,
        ranks=recipe.world,
        shards_everything=recipe.shards_parameters and recipe.method == "full",
    )


def _because(work: Workload | Perceptron | ImageWorkload, step: Step) -> str:
    moment = max(step.moments, key=lambda found: found.total_bytes(step.batch))
    name = work.model.name if isinstance(work, Workload) else "a network"
    return f"closed form of {name}, peak in the {moment.phase}"


def _beside(tensors: Quantity, extra: float, because: str) -> Quantity:
    """`tensors` with what is kept beside them."""
    return Quantity(
        p10=tensors.p10 + SLACK.low * extra,
        p50=tensors.p50 + extra,
        p90=tensors.p90 + SLACK.high * extra,
        source="closed_form",
        because=because,
    )


def _device(tensors: Quantity, held: Held, context: Context, usable: float | None) -> Quantity:
    extra = held.process - held.allocated
    because = f"{format_bytes(held.process)} of the process and a context of {format_bytes(context.middle)}"
    whole = _beside(tensors, extra, because)
    middle = whole.p50 + context.middle
    high = whole.p90 + context.high
    if usable is not None:
        middle, high = min(middle, max(usable, tensors.p50)), min(high, max(usable, middle))
    low = min(whole.p10 + context.low, middle)
    return Quantity(p10=low, p50=middle, p90=max(high, middle), source="closed_form", because=because)


def _oom(held: Held, context: Context, width: Width, usable: float | None) -> float:
    """That the least the process can do with is more than there is, if errors are normal."""
    if usable is None:
        return 0.0
    need = held.least + context.middle
    spread = held.allocated * (width.high - width.low) / 2.56 + UNKNOWN_CAPACITY_SHARE * usable
    return 0.5 * (1 + math.erf((need - usable) / (spread * math.sqrt(2))))
