"""Each group or model family predicted with constants that its own rows had no part in. It never scores."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from memory_predict import answer

from gpuplan.data.contexts import context_for
from gpuplan.data.kernels import kernels
from gpuplan.estimate.allocator import FITTED, Fitted
from gpuplan.footprint.training import Workload, moments_of
from gpuplan.units import GIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memory_rows import Row
    from memory_score import Answer

__all__ = ["fit", "held_out"]

FEWEST = 10
"""Rows that a constant is fitted on; with fewer it keeps a plain default."""
LOGITS_COUNT = 0.2
"""Of what comes and goes: with a smaller share of logits a row says nothing of a loss kernel."""
HEAD_ROWS = frozenset({"litgpt-0041", "litgpt-0044", "litgpt-0054"})
GATHER_ROWS = frozenset({"litgpt-0030", "litgpt-0033", "litgpt-0036", "litgpt-0039"})
"""Rows of the other figures that code alone would not give."""
UNFITTED = Fitted(
    transient=0.10,
    optimizer=0.05,
    sharded_transient=0.10,
    sharded_full=0.10,
    after_flush=0.05,
    communication_bytes=1.0 * GIB,
    cached={name: 6.0 if entry.forward else 0.0 for (kind, name), entry in kernels().items() if kind == "loss"},
)
"""For what too few rows are left: the 1 to 10 % that a simulated allocator kept (trace.md), and for logits one more
gradient of four bytes and its copy of two; NCCL about 1 GiB."""


def held_out(rows: Sequence[Row], *, by: str) -> list[Answer]:
    """Answers in the order of `rows`, each fitted on the rows of other groups or families."""
    held = {key: frozenset(row.id for row in rows if _key(row, by) == key) for key in {_key(row, by) for row in rows}}
    fitted = {key: replace(fit([row for row in rows if row.id not in ids]), without=ids) for key, ids in held.items()}
    return [answer(_without_evidence(row, held[_key(row, by)]), fitted=fitted[_key(row, by)]) for row in rows]


def fit(rows: Sequence[Row]) -> Fitted:
    """The allocator's constants as medians over rows with the device metric and room left on the card.

    NCCL's share is not fitted apart from what grows: with sharded rows it is the product's own.
    """
    samples: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if (
            row.tier != "A"
            or row.metric != "device"
            or row.measured_bytes is None
            or not isinstance(row.work, Workload)
            or not row.gpu
        ):
            continue
        if row.capacity_bytes and row.measured_bytes > 0.93 * row.capacity_bytes:
            continue
        _sample(row, row.work, samples)
    value = {name: statistics.median(found) for name, found in samples.items() if len(found) >= FEWEST}
    losses = {name: value.get(f"cached/{name}", plain) for name, plain in UNFITTED.cached.items()}
    sharded = len(samples["sharded_transient"]) + len(samples["sharded_full"]) >= FEWEST
    return replace(
        UNFITTED,
        cached=losses,
        communication_bytes=FITTED.communication_bytes if sharded else UNFITTED.communication_bytes,
        transient=value.get("transient", UNFITTED.transient),
        optimizer=value.get("optimizer", UNFITTED.optimizer),
        sharded_transient=value.get("sharded_transient", UNFITTED.sharded_transient),
        sharded_full=value.get("sharded_full", UNFITTED.sharded_full),
    )


def _sample(row: Row, work: Workload, samples: dict[str, list[float]]) -> None:
    """What the row says of the constant that its peak depends on."""
    moment = max(moments_of(work), key=lambda found: found.total_bytes(row.batch))
    alive = {name: line.at(row.batch) for name, line in moment.alive_bytes.items()}
    whole = sum(alive.values())
    context = context_for((row.gpu.compute_capability or "") if row.gpu else "", torch=row.torch).middle
    extra = (row.measured_bytes or 0.0) - whole - context - UNFITTED.segments_bytes
    recipe = work.recipe
    if recipe.world > 1:
        extra -= UNFITTED.communication_bytes
    transient = alive["activations"] + alive["logits"] + alive["temporaries"]
    if recipe.shards_parameters and recipe.method == "full":
        samples["sharded_full"].append(extra / whole)
    elif moment.phase == "optimizer":
        samples["optimizer"].append(extra / whole)
    elif alive["logits"] > LOGITS_COUNT * transient:
        samples[f"cached/{recipe.loss}"].append(extra / (work.logits * row.batch))
    else:
        samples["sharded_transient" if recipe.world > 1 else "transient"].append(extra / max(transient, GIB))


def _without_evidence(row: Row, held: frozenset[str]) -> Row:
    """`row` with the stand-ins of kernels that only held-out rows have fixed."""
    if not isinstance(row.work, Workload):
        return row
    recipe = row.work.recipe
    names: dict[str, Any] = {"head_copies": not held >= HEAD_ROWS}
    if held >= GATHER_ROWS:
        names["gathers_under_way"] = 0
    names |= {kind: _stand_in(kind, getattr(recipe, kind), held) for kind in ("loss", "norm", "adapter", "attention")}
    return replace(row, work=row.work._replace(recipe=replace(recipe, **names)))


def _stand_in(kind: str, name: str, held: frozenset[str]) -> str:
    entry = kernels()[kind, name]
    while entry.fallback and entry.evidence and held >= set(entry.evidence):
        entry = kernels()[kind, entry.fallback]
    return entry.name


def _key(row: Row, by: str) -> str:
    return row.group if by == "group" else row.family
