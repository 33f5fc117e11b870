"""What it costs to be interrupted now and then: checkpoint intervals and the work that is lost. It never sees a run.

Interruptions are taken to come at random, at a constant mean rate. Real ones come in bursts, and the formulas are still
good enough to plan by: within 0.02 of 15 replayed traces of spot machines (reference placement.md, section 6).
"""

from __future__ import annotations

import math

__all__ = ["best_interval_s", "expected_interruptions", "repeats", "useful_share"]

HOUR_S = 3600
MOST_EXPONENT = 50.0


def best_interval_s(*, checkpoint_s: float, mean_s: float) -> float:
    """Seconds of work between checkpoints that lose least: sqrt(2 C M) (Young 1974).

    `checkpoint_s` is what one takes to write, `mean_s` the mean time between interruptions.
    """
    return math.sqrt(2 * checkpoint_s * mean_s)


def useful_share(*, mean_s: float, checkpoint_s: float, restart_s: float, interval_s: float | None = None) -> float:
    """The share of the time that is work which counts: 1 - C/T - T/(2M) - R/M (Daly 2006, first order), 0 at the least.

    `interval_s` T is the program's own interval, else the best one; `restart_s` R from an interruption until it
    goes on from its checkpoint.
    """
    interval_s = interval_s or best_interval_s(checkpoint_s=checkpoint_s, mean_s=mean_s)
    saving = checkpoint_s / interval_s if interval_s else 0.0
    return max(0.0, 1 - saving - interval_s / (2 * mean_s) - restart_s / mean_s)


def repeats(duration_s: float, *, mean_s: float, restart_s: float) -> float:
    """How many times its length a run of `duration_s` takes if each interruption means from the start again.

    (M + R) (exp(t / M) - 1) / t, the mean of independent attempts (Daly 2006, without a checkpoint); infinite where it
    would never end.
    """
    if duration_s <= 0:
        return 1.0
    if duration_s / mean_s > MOST_EXPONENT:
        return math.inf
    return max(1.0, (mean_s + restart_s) * math.expm1(duration_s / mean_s) / duration_s)


def expected_interruptions(duration_s: float, per_h: float) -> float:
    """How many come in `duration_s` of one machine."""
    return duration_s / HOUR_S * per_h
