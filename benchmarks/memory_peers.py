"""Other estimators on the same rows, run by a Python that has them installed. It never imports one of them here."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuplan.footprint.census import census_of
from gpuplan.footprint.training import Workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memory_rows import Row
    from memory_score import Answer

__all__ = ["peer_errors"]

CHILD = Path(__file__).with_name("peers_child.py")
TIMEOUT_S = 600
REASONS = 5


def peer_errors(rows: Sequence[Row], answers: Sequence[Answer], *, python: str) -> dict[str, dict[str, Any]]:
    """Each peer's version and errors on the rows that it answers, ours on the same rows, and why it left others.

    Asked are the transformers among the rows that count (tier A, a measured peak).
    """
    ours = {found.id: found for found in answers if found.scored and found.p50_gib is not None and found.tier == "A"}
    asked = [row for row in rows if row.id in ours and isinstance(row.work, Workload) and row.measured_bytes]
    lines = "".join(f"{json.dumps(_request(row))}\n" for row in asked)
    try:
        done = subprocess.run(
            [python, str(CHILD)], input=lines, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"peers": {"reason": str(error)[:200]}}
    if done.returncode:
        return {"peers": {"reason": done.stderr.strip().rsplit("\n", 1)[-1][:200]}}
    first, *replies = (json.loads(line) for line in done.stdout.splitlines())
    return {name: _scores(name, asked, ours, replies, version) for name, version in first["versions"].items()}


def _request(row: Row) -> dict[str, Any]:
    work = row.work
    if not isinstance(work, Workload):
        raise TypeError("only a transformer has this form")
    model, recipe = work.model, work.recipe
    return {
        "id": row.id, "batch": row.batch, "sequence": work.sequence, "metric": row.metric,
        "kind": model.kind, "family": model.family, "gated": model.gated, "classes": model.classes,
        "positions": model.positions, "experts": model.experts, "experts_per_token": model.experts_per_token,
        "world": recipe.world, "sharding": recipe.sharding, "storage": recipe.storage, "compute": recipe.compute,
        "optimizer": recipe.optimizer, "trained_bytes": recipe.trained_bytes, "method": recipe.method,
        "rank": recipe.rank, "targets": recipe.targets, "checkpointing": recipe.checkpointing,
        "attention": recipe.attention, "vram_mib": int((row.capacity_bytes or 80 * 2**30) / 2**20),
        "model": {
            "name": model.name, "num_params": census_of(model).total, "hidden_size": model.d_model,
            "num_layers": model.layers, "num_attention_heads": model.heads, "num_kv_heads": model.kv_heads,
            "intermediate_size": model.feedforward, "vocab_size": model.vocabulary, "head_dim": model.head_dim,
            "tie_word_embeddings": model.tied,
        },
    }  # fmt: skip


def _scores(
    name: str, asked: Sequence[Row], ours: dict[str, Answer], replies: Sequence[dict[str, Any]], version: str | None
) -> dict[str, Any]:
    measured = {row.id: row.measured_bytes or 1.0 for row in asked}
    answered = {reply["id"]: reply[name] for reply in replies if isinstance(reply[name], float)}
    left = Counter(reply[name] for reply in replies if not isinstance(reply[name], float))
    why = "; ".join(f"{reason}: {count}" for reason, count in left.most_common(REASONS))
    scores = {"version": version or "none", "rows": len(answered), "not_answered": left.total(), "reason": why}
    if not answered:
        return scores
    errors = [abs(100 * (value / measured[row] - 1)) for row, value in answered.items()]
    same = [abs(ours[row].error_pct) for row in answered]
    return scores | {
        "mean_abs_pct": round(statistics.fmean(errors), 1),
        "median_abs_pct": round(statistics.median(errors), 1),
        "gpuplan_mean_abs_pct": round(statistics.fmean(same), 1),
        "gpuplan_median_abs_pct": round(statistics.median(same), 1),
    }
