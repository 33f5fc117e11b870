"""Lines as gpuplan.track writes them, for tests of what reads them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

START = 1_000_000.0


def write(run_dir: Path, *lines: dict[str, Any] | str, rank: int = 0) -> Path:
    name = "metrics.jsonl" if rank == 0 else f"metrics.rank{rank}.jsonl"
    with (run_dir / name).open("a", encoding="utf-8") as file:
        file.writelines((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    return run_dir


def start(step: int = 0, at: float = START, **facts: Any) -> dict[str, Any]:
    return {"event": "start", "time_s": at, "rank": 0, "world_size": 1, "step": step, "attempt": 1} | facts


def steps(
    step: int, at: float, *, seconds: float = 0.5, count: int = 1, samples: int = 32, **more: Any
) -> dict[str, Any]:
    return {
        "event": "steps", "time_s": at, "step": step, "steps": count, "samples": samples, "seconds": seconds,
    } | more  # fmt: skip


def epoch(number: int, step: int, *, seconds: float, samples: int, at: float = START, **more: Any) -> dict[str, Any]:
    return {
        "event": "epoch", "time_s": at, "epoch": number, "step": step, "samples": samples, "seconds": seconds,
    } | more  # fmt: skip


def walk(first: int, last: int, *, at: float, seconds: float = 0.5) -> list[dict[str, Any]]:
    """One record a step."""
    return [steps(step, at + (step - first + 1) * seconds, seconds=seconds) for step in range(first, last + 1)]
