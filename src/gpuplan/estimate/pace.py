"""What a step time means: samples and tokens a second, how busy the device is, and what rules it. It times nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.estimate.scaling import on_ranks
from gpuplan.units import format_count

if TYPE_CHECKING:
    from gpuplan.estimate.case import Case
    from gpuplan.estimate.roofline import Roofline
    from gpuplan.model import Bound

__all__ = ["Throughput", "bound_of", "mfu_of", "paced", "throughput"]

MOSTLY = 2.0
"""Times as long on several ranks as on one: from there on more of a step is exchange than work."""


class Throughput(NamedTuple):
    """What all ranks of all copies get through in a second."""

    samples_per_s: float
    tokens_per_s: float | None


def throughput(case: Case, step_s: float) -> Throughput | None:
    """Samples and tokens a second at `step_s` an optimizer step; None if no role says how large the batch is.

    Tokens are those of whole rows, with what pads them: of packed rows all of them count.
    """
    if not case.rows or not step_s:
        return None
    samples = case.rows * case.passes * case.run.ranks * case.run.copies / step_s
    return Throughput(samples, samples * case.shape.sequence if case.shape.sequence else None)


def paced(case: Case, step_s: float) -> str:
    """The throughput in words, to be said after a step time; empty where it is not known."""
    found = throughput(case, step_s)
    if found is None:
        return ""
    tokens = f", {format_count(found.tokens_per_s)} tokens/s" if found.tokens_per_s else ""
    return f"; {format_count(found.samples_per_s)} samples/s{tokens}"


def bound_of(case: Case, roofline: Roofline | None, *, waits: bool) -> Bound | None:
    """The largest part of a step: loading if the device `waits` for it, exchange among ranks, or what its work does."""
    if waits:
        return "loading"
    if roofline is None:
        return None
    if case.run.ranks > 1 and on_ranks(case, roofline.seconds).slow > MOSTLY:
        return "communication"
    return roofline.bound


def mfu_of(case: Case, roofline: Roofline | None, step_s: float) -> float | None:
    """Model FLOPs utilization at `step_s`, 0 to 1; None without a peak, or where the FLOPs cannot be the program's."""
    if roofline is None or roofline.mfu is None or not step_s:
        return None
    share = roofline.mfu * roofline.seconds * case.run.copies / step_s
    return share if share <= 1 else None
