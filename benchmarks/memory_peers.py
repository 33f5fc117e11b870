"""Other estimators on the same rows, run by a Python that has them installed. It never imports one of them here."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections import defaultdict
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


def peer_errors(rows: Sequence[Row], answers: Sequence[Answer], *, python: str) -> dict[str, dict[str, Any]]:
    """Mean and median error of each peer on the rows that it answers, and ours on the same rows."""
    ours = {found.id: found for found in answers if found.scored and found.p50_gib is not None and found.tier == "A"}
    asked = [row for row in rows if row.id in ours and isinstance(row.work, Workload) and row.measured_bytes]
    lines = "".join(f"{json.dumps(_request(row))}\n" for row in asked)
    done = subprocess.run(
        [python, str(CHILD)], input=lines, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    if done.returncode:
        return {"peers": {"reason": done.stderr.strip().rsplit("\n", 1)[-1][:200]}}
    return _scores(asked, ours, [json.loads(line) for line in done.stdout.splitlines()])


def _request(row: Row) -> dict[str, Any]:
    work = row.work
    if not isinstance(work, Workload):
        raise TypeError("only a transformer has this form")
    model, recipe = work.model, work.recipe
    return {
        "id": row.id, "batch": row.batch, "sequence": work.sequence, "metric": row.metric, "kind": model.kind,
        "experts": model.experts, "world": recipe.world, "storage": recipe.storage, "compute": recipe.compute,
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
    asked: Sequence[Row], ours: dict[str, Answer], replies: Sequence[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    measured = {row.id: row.measured_bytes or 1.0 for row in asked}
    errors: dict[str, list[float]] = defaultdict(list)
    same: dict[str, list[float]] = defaultdict(list)
    reasons: dict[str, str] = {}
    for reply in replies:
        for name, value in reply.items():
            if isinstance(value, float):
                errors[name].append(abs(100 * (value / measured[reply["id"]] - 1)))
                same[name].append(abs(ours[reply["id"]].error_pct))
            elif name != "id":
                reasons[name] = value
    scores: dict[str, dict[str, Any]] = {
        name: {
            "rows": len(found),
            "mean_abs_pct": round(statistics.fmean(found), 1),
            "median_abs_pct": round(statistics.median(found), 1),
            "gpuplan_mean_abs_pct": round(statistics.fmean(same[name]), 1),
        }
        for name, found in errors.items()
    }
    return scores | {name: {"rows": 0, "reason": reason} for name, reason in reasons.items() if name not in scores}
