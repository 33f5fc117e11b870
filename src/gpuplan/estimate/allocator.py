"""From the tensors of a step to what the allocator reserves and the device shows. It knows no model and no recipe.

What is reserved is the largest of the step's instants with the blocks that cannot be used again beside it; where that
is more than the card has, the allocator gives its free blocks back and starts over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.model import Quantity
from gpuplan.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuplan.model import Moment

__all__ = ["FITTED", "USABLE", "Fitted", "Held", "Step", "held_by", "least_of"]

USABLE = 0.988
"""Of a card's memory: the most that nvidia-smi showed in 244 runs on an A100 80GB is 79.3 GiB (fms)."""
UNKNOWN_USABLE = 0.025
"""Of a card's memory, each way at the 80 % interval: what drivers and displays leave of it differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """Constants fitted on measured rows (fms: 244 pairs of allocated and nvidia-smi; decision 5 has their errors).

    Shares are of what comes and goes in a step: activations, logits and temporaries. `cached` overrides the loss
    kernels' own figure, by name. `without` names rows that a held-out test may not know.
    """

    segments_bytes: float = 0.25 * GIB
    transient: float = 0.10
    optimizer: float = 0.07
    after_flush: float = 0.07
    communication_bytes: float = 2.3 * GIB
    sharded_transient: float = 0.17
    sharded_full: float = 0.30
    convolution_bytes: float = 0.1 * GIB
    cached: Mapping[str, float] = field(default_factory=dict)
    without: frozenset[str] = frozenset()


FITTED = Fitted()


NEAR = 1.08
"""Up to this multiple of the room the prediction may be wrong, and the card is taken to be just full."""
SMALLEST_SEGMENTS = 22.0 * MIB
"""One segment of 20 MiB and one of 2 MiB."""


class Step(NamedTuple):
    """What the allocator sees: the instants, the batch, and how many ranks share.

    What it keeps beside logits is `cached` bytes for each of the `logits` of one row, or where the loss kernel is not
    known `cached_share` of their bytes. `replayed` bytes are what its own rules come to, where a trace has them.
    """

    moments: Sequence[Moment]
    batch: float
    logits: float = 0.0
    cached: float = 0.0
    cached_share: float = 0.0
    loss: str = ""
    ranks: int = 1
    shards_everything: bool = False
    convolutions: bool = False
    replayed: float | None = None


class Held(NamedTuple):
    """Bytes of tensors, reserved by the allocator, and held by the process without its context; and after a flush."""

    allocated: float
    reserved: float
    process: float
    least: float
    flushed: bool


def held_by(step: Step, *, room_bytes: float | None = None, fitted: Fitted = FITTED) -> Held:
    """What a rank holds, on a device with `room_bytes` beside the context."""
    allocated = max(moment.total_bytes(step.batch) for moment in step.moments)
    counted = max(_reserved(step, moment, fitted) for moment in step.moments)
    reserved = counted if step.replayed is None else max(allocated, step.replayed)
    beside = fitted.communication_bytes if step.ranks > 1 else 0.0
    beside += fitted.convolution_bytes if step.convolutions else 0.0
    least = allocated * (1 + fitted.after_flush / 2) + _segments(allocated, fitted)
    room = None if room_bytes is None else room_bytes - beside
    flushed = room is not None and reserved > NEAR * room
    if room is not None and reserved > room:
        kept = allocated * (1 + fitted.after_flush) + _segments(allocated, fitted)
        reserved = max(allocated, min(kept if flushed else reserved, room))
    return Held(allocated, reserved, reserved + beside, least + beside, flushed)


def least_of(tensors: Quantity, held: Held, *, context_bytes: float, usable_bytes: float) -> Quantity:
    """What a process cannot do without on a card, as far as `tensors` are known.

    PyTorch's allocator gives its free blocks back before it fails, so that a step needs less than it takes where
    there is room. What is not known of the card is counted here too.
    """
    middle = held.least + context_bytes
    unsure = UNKNOWN_USABLE * usable_bytes
    return Quantity(
        p10=max(0.0, middle - (tensors.p50 - tensors.p10) - unsure),
        p50=middle,
        p90=middle + (tensors.p90 - tensors.p50) + unsure,
        source=tensors.source,
        because=f"{tensors.because}, without the blocks that the allocator can give back",
    )


def _reserved(step: Step, moment: Moment, fitted: Fitted) -> float:
    alive = {name: line.at(step.batch) for name, line in moment.alive_bytes.items()}
    whole = sum(alive.values())
    transient = alive.get("activations", 0.0) + alive.get("logits", 0.0) + alive.get("temporaries", 0.0)
    if step.shards_everything:
        extra = fitted.sharded_full * whole
    elif moment.phase == "optimizer":
        extra = fitted.optimizer * whole
    else:
        share = fitted.sharded_transient if step.ranks > 1 else fitted.transient
        extra = share * transient
    if alive.get("logits"):
        extra = max(extra, fitted.cached.get(step.loss, step.cached) * step.logits * step.batch)
        extra = max(extra, step.cached_share * alive["logits"])
    return whole + extra + _segments(whole, fitted)


def _segments(allocated: float, fitted: Fitted) -> float:
    """Ends of segments, and for a small model not even one whole of each kind."""
    return min(fitted.segments_bytes, SMALLEST_SEGMENTS + 0.1 * allocated)
