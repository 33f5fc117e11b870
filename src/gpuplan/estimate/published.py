"""Peak memory of training a published model on a GPU: allocated, reserved and on the device, and whether it fits.

It never mixes the three, and says how sure it is by what the kernels are known from. It looks at no evidence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from gpuplan.data.contexts import context_for
from gpuplan.data.kernels import Kind, kernel
from gpuplan.estimate.allocator import FITTED, USABLE, Held, Step, held_by, least_of
from gpuplan.estimate.answers import Width, around, exceeds
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

__all__ = ["Confidence", "Origin", "PublishedPeaks", "confidence_in", "published_peaks"]

Confidence = Literal["counted", "fitted", "assumed", "unseen", "unseen_assumed", "guessed"]

ALLOCATED = {
    "counted": Width(0.991, 1.012),
    "fitted": Width(0.965, 1.045),
    "assumed": Width(0.90, 1.18),
    "unseen": Width(0.83, 1.13),
    "unseen_assumed": Width(0.78, 1.30),
    "guessed": Width(0.65, 1.5),
}
"""Of tensors. Counted: every kernel's figure follows from its code, and rows confirm it. Fitted: rows alone give one
of them (LitGPT held out of its own: 3 % mean, 19 % worst). Assumed: something that changes memory was not said.
Unseen: no measured row is of that program, with everything said or not: what the groups of rows missed by when each
was predicted from the others alone (decision 5). Guessed: the model's own dimensions are not known."""
SLACK = Width(0.82, 1.22)
UNSEEN_SLACK = Width(0.6, 1.6)
"""Of what the allocator keeps beside the tensors: it depends on the order of requests (reserved differs by up to 18 %
between equal runs, memory.md). Unseen: as above."""
KINDS: tuple[Kind, ...] = ("loss", "norm", "adapter", "attention", "feedforward")
SEEN_SHARDING = frozenset({"none", "fsdp"})


class Origin(NamedTuple):
    """Whose code ran: a program as rows and specs name it, its version, and torch's, as far as they are said."""

    program: str
    version: str = ""
    torch: str = ""


class _Seen(NamedTuple):
    """Versions of a program whose measured rows the widths were fitted on; `torch` counts where no version is said."""

    program: str
    evidence: frozenset[str]
    versions: tuple[str, ...] = ()
    torch: tuple[str, ...] = ()


FMS = frozenset({"fms-0017", "fms-0033", "fms-0175", "fms-0237", "fms-0351"})
SEEN = (
    _Seen("hf", FMS, versions=("4.45", "4.46", "4.47", "4.48"), torch=("2.4", "2.5")),
    _Seen("hf", frozenset({"hf-bert-0001", "hf-bert-0004", "hf-bert-0006"}), versions=("4.15",), torch=("1.0",)),
    _Seen("litgpt", frozenset({"litgpt-0001", "litgpt-0011", "litgpt-0041"}), torch=("2.1",)),
    _Seen("torchtune", frozenset({"torchtune-0005", "torchtune-0010", "torchtune-0014"}), torch=("",)),
    _Seen("perceptron", frozenset({"mlp-0001", "mlp-0002"}), torch=("",)),
    _Seen("image", frozenset({"timm-0001", "timm-0002"}), torch=("",)),
)
"""Rows of each that a held-out test takes away; an empty text of `torch` stands for every version."""


class PublishedPeaks(NamedTuple):
    """The three numbers of one rank, and the probability that the step does not fit on the card."""

    allocated: Quantity
    reserved: Quantity
    device: Quantity
    oom: float


def confidence_in(
    assumed: tuple[str, ...],
    recipe: Recipe | None = None,
    *,
    origin: Origin | None = None,
    without: frozenset[str] = frozenset(),
) -> Confidence:
    """How sure the tensors are when these things were taken for granted and these kernels run, of this origin if given.

    `without` names measured rows that may not be known.
    """
    if any("dimensions" in text for text in assumed):
        return "guessed"
    if origin is not None and not _is_seen(origin, recipe, without):
        return "unseen_assumed" if assumed else "unseen"
    if assumed or recipe is None:
        return "assumed" if assumed else "fitted"
    used = (kernel(kind, getattr(recipe, kind)) for kind in KINDS)
    return "fitted" if any(entry.fallback for entry in used) else "counted"


def _is_seen(origin: Origin, recipe: Recipe | None, without: frozenset[str]) -> bool:
    """Whether measured rows are of this program in this version, and of this way to share and to offload."""
    if recipe is not None and (recipe.sharding not in SEEN_SHARDING or recipe.offload != "none"):
        return False
    return any(
        seen.program == origin.program and _names(seen, origin) and not seen.evidence <= without for seen in SEEN
    )


def _names(seen: _Seen, origin: Origin) -> bool:
    if origin.version and seen.versions:
        return _release(origin.version) in seen.versions
    return any(not version or _release(origin.torch) == version for version in seen.torch)


def _release(version: str) -> str:
    """`4.48.1` is of the release 4.48."""
    return ".".join(version.split(".")[:2])


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
    slack = SLACK if confidence in {"counted", "fitted", "assumed"} else UNSEEN_SLACK
    extra = held.reserved - held.allocated
    reserved = _beside(allocated, extra, slack, because=f"{format_bytes(held.reserved)} in segments")
    device = _device(allocated, held, context, usable=usable, slack=slack)
    return PublishedPeaks(allocated, reserved, device, _oom(allocated, held, context, usable))


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


def _beside(tensors: Quantity, extra: float, slack: Width, *, because: str) -> Quantity:
    """`tensors` with what is kept beside them."""
    return Quantity(
        p10=tensors.p10 + slack.low * extra,
        p50=tensors.p50 + extra,
        p90=tensors.p90 + slack.high * extra,
        source="closed_form",
        because=because,
    )


def _device(tensors: Quantity, held: Held, context: Context, *, usable: float | None, slack: Width) -> Quantity:
    extra = held.process - held.allocated
    because = f"{format_bytes(held.process)} of the process and a context of {format_bytes(context.middle)}"
    whole = _beside(tensors, extra, slack, because=because)
    middle = whole.p50 + context.middle
    high = whole.p90 + context.high
    if usable is not None:
        middle, high = min(middle, max(usable, tensors.p50)), min(high, max(usable, middle))
    low = min(whole.p10 + context.low, middle)
    return Quantity(p10=low, p50=middle, p90=max(high, middle), source="closed_form", because=because)


def _oom(tensors: Quantity, held: Held, context: Context, usable: float | None) -> float:
    """That the least the process can do with is more than there is."""
    if usable is None:
        return 0.0
    return exceeds(least_of(tensors, held, context_bytes=context.middle, usable_bytes=usable), usable)
