"""What a log says of its program and its ranks, and how a finding is about it. It compares no figures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from gpuplan.model import Finding
from gpuplan.verify.asked import precision_settings, without_precision
from gpuplan.verify.options import is_output

if TYPE_CHECKING:
    from gpuplan.model import LoggedRun

__all__ = ["about", "log_ranks", "program_of"]

OF_GPUS = frozenset({"gpu", "gpus", "ddp", "single", "multi", "node", "nodes", "rank", "ranks", "dp", "fsdp", "exp"})
OF_ONE_RUN = frozenset({"ranks", "world_size", "seed", "run_name"})


def log_ranks(log: LoggedRun) -> int:
    """Its ranks, or what its records count, which is one where they count nothing."""
    return log.ranks or log.measurement.world_size


def program_of(log: LoggedRun) -> object:
    """What it trained: settings but for ranks, seed, precision and places; its name without numbers and GPU words."""
    words = re.findall(r"[a-z]+|\d+", without_precision(log.name))
    kept = frozenset(word for word in words if word not in OF_GPUS and not word.isdigit())
    left_out = OF_ONE_RUN | precision_settings(log)
    settings = {name: value for name, value in log.settings.items() if name not in left_out and not is_output(name)}
    return kept, tuple(sorted((name, without_precision(str(value))) for name, value in settings.items()))


def about(
    log: LoggedRun, severity: Literal["error", "warning", "note"], check: str, *, message: str, because: str, fix: str
) -> Finding:
    """A finding at the place of the log."""
    place = f"{log.path}:{log.lines}" if log.lines else log.path
    return Finding(severity=severity, check=check, message=message, place=place, because=because, fix=fix)
