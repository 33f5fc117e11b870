"""Measures one training step on a real device: `python gpu_child.py CONFIG.json FOLDER NUMBER COPIES`.

Runs in the user's Python with torch, and never imports gpuplan. It warms up, says it is ready, waits until all copies
are, measures, and prints one JSON line.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import agreement_models
import torch

WARMUP_STEPS = 5
LEAST_STEPS, MOST_STEPS, SECONDS = 10, 200, 3.0
PATIENCE_S = 300.0


def main(config_path: str, folder: str, number: str, copies: str) -> None:
    """Measure, print."""
    config: dict[str, Any] = json.loads(Path(config_path).read_text("utf-8"))
    cuda = torch.cuda.is_available()
    agreement_models.DEVICE = "cuda" if cuda else "cpu"
    torch.manual_seed(0)
    step = agreement_models.make_step(config)
    for _ in range(WARMUP_STEPS):
        step()
    synchronize(cuda)
    wait_for_all(Path(folder), number, int(copies))
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds = timed(step, cuda=cuda)
    wait_for_all(Path(folder), f"done-{number}", int(copies))
    print(json.dumps({**memory(cuda), **times(seconds), "torch": torch.__version__, "steps": len(seconds)}))


def synchronize(cuda: bool) -> None:
    """Wait for the device's kernels; a CPU has none under way."""
    if cuda:
        torch.cuda.synchronize()


def wait_for_all(folder: Path, name: str, copies: int) -> None:
    """All copies stand at the same place: each leaves a file, and goes on when there are as many as copies."""
    (folder / f"at-{name}").touch()
    prefix = "at-done-" if name.startswith("done-") else "at-"
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        there = [path for path in folder.glob(f"{prefix}*") if prefix != "at-" or "done" not in path.name]
        if len(there) >= copies:
            return
        time.sleep(0.01)
    raise SystemExit("the other copies did not come")


def timed(step: Any, *, cuda: bool) -> list[float]:
    """Seconds of each step, with the device waited for after each."""
    seconds: list[float] = []
    while len(seconds) < LEAST_STEPS or (sum(seconds) < SECONDS and len(seconds) < MOST_STEPS):
        started = time.perf_counter()
        step()
        synchronize(cuda)
        seconds.append(time.perf_counter() - started)
    return seconds


def times(seconds: list[float]) -> dict[str, float]:
    """Median, mean and the fast and slow tenth of the steps."""
    ordered = sorted(seconds)
    return {
        "step_s": statistics.median(ordered),
        "mean_step_s": statistics.fmean(ordered),
        "step_p10_s": ordered[len(ordered) // 10],
        "step_p90_s": ordered[(9 * len(ordered)) // 10],
    }


def memory(cuda: bool) -> dict[str, int | None]:
    """Bytes of this process's tensors and allocator; of the device all that is used, by whomever."""
    if not cuda:
        return {"allocated_bytes": None, "reserved_bytes": None, "used_bytes": None}
    free, total = torch.cuda.mem_get_info()
    return {
        "allocated_bytes": torch.cuda.max_memory_allocated(),
        "reserved_bytes": torch.cuda.max_memory_reserved(),
        "used_bytes": total - free,
    }


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main(*sys.argv[1:])
