"""Runs a step for real and prints the most bytes its tensors ever held, by the profiler's memory events."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

from torch.profiler import ProfilerActivity, profile

STEPS = 10


def main(target: str, settings: dict[str, Any]) -> int:
    module, _, function = target.partition(":")
    make_step = getattr(importlib.import_module(module), function)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step = make_step(settings)
        for _ in range(STEPS):
            step()
    kineto: Any = profiler.profiler
    events = [event for event in kineto.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda one: one.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


if __name__ == "__main__":
    sys.path.insert(0, ".")
    print(main(sys.argv[1], json.loads(sys.argv[2])))  # noqa: T201  the answer
