"""What a table of metrics says of time: seconds of steps and epochs, samples and tokens a second, warm-up left out.

A column is known by its name, and its unit is held against the clock of the rows where they have one. What cannot be
right, or has no unit that could be told, is said and left out; it never becomes a number.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.observe.values import Weighted, quantile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuplan.observe.records import Doubts
    from gpuplan.observe.writers import Row

__all__ = ["CLOCKS", "TIMES", "Timing", "timing"]

STEP_SECONDS: dict[str, float | None] = {
    "step_time_s": 1.0,
    "step_s": 1.0,
    "step_seconds": 1.0,
    "seconds_per_step": 1.0,
    "s_per_step": 1.0,
    "sec_per_step": 1.0,
    "iter_time_s": 1.0,
    "step_time_ms": 1e-3,
    "ms_per_step": 1e-3,
    "iter_time_ms": 1e-3,
    "step_ms": 1e-3,
    "step_time": None,
    "time_per_step": None,
    "iter_time": None,
    "iteration_time": None,
    "batch_time": None,
    "train/step_time": None,
    "dt": None,
}
"""Seconds that one unit of a column stands for; None where its name has no unit."""
STEP_RATES = ("train_steps_per_second", "steps_per_second", "steps_per_sec", "it/s", "iterations_per_second")
EPOCH_SECONDS = (
    "train_time",
    "train_time_s",
    "epoch_time",
    "epoch_time_s",
    "epoch_seconds",
    "time_per_epoch",
    "epoch_s",
)
SAMPLE_RATES = (
    "samples_per_second",
    "train_samples_per_second",
    "samples_per_s",
    "samples_per_sec",
    "samples/s",
    "examples_per_second",
    "images_per_second",
    "images_per_sec",
)
TOKEN_RATES = (
    "tokens_per_second",
    "train_tokens_per_second",
    "tokens_per_sec",
    "tokens_per_s",
    "tokens/s",
    "tok/s",
    "tok_per_sec",
)
RANK_TOKEN_RATES = ("tokens_per_second_per_gpu",)
CLOCKS = ("time_s", "timestamp", "_timestamp", "wall_time", "walltime", "_runtime", "elapsed_s", "elapsed", "bar_s")
BAR = "bar_s"
"""Seconds on a progress bar, which begins anew with each epoch."""
BAR_NUMBER = "bar_number"
"""Which bar that is, counted from the first."""
TIMES = frozenset(
    {BAR_NUMBER, *STEP_SECONDS, *STEP_RATES, *EPOCH_SECONDS, *SAMPLE_RATES, *TOKEN_RATES, *RANK_TOKEN_RATES, *CLOCKS}
)
MOST_SECONDS = 1e8
MOST_RATE = 1e12
LONGEST_UNITLESS_STEP = 30.0
WINDOW_TICKS = 20
GAP_S = 3600.0


class Timing(NamedTuple):
    """Seconds and rates that a table states, the first ones left out as warm-up."""

    epochs_s: tuple[float, ...]
    steps: tuple[Weighted, ...]
    samples_per_s: tuple[Weighted, ...]
    tokens_per_s: tuple[Weighted, ...] = ()
    tokens_per_s_of_rank: tuple[Weighted, ...] = ()
    notes: tuple[str, ...] = ()


class Tick(NamedTuple):
    """Where a row stands, and what the clock said there."""

    at: float
    clock: float
    bar: float | None


class Steady(NamedTuple):
    """Figures after the warm-up, and how many were left out before."""

    figures: list[Weighted]
    left_out: int


def timing(rows: Sequence[Row], name: str, doubts: Doubts, *, clocked: bool = True) -> Timing:
    """The seconds in the rows of the file `name`. Of the epochs the first is left out, of the steps the first tenth.

    At most ten rows are left out. `clocked`: the rows stand at steps, so that a clock in them tells of steps.
    """
    notes: list[str] = []
    epochs_s = _above_zero(rows, dict.fromkeys(EPOCH_SECONDS, 1.0), MOST_SECONDS, name, doubts)
    by_clock = _by_clock(rows, name, doubts) if clocked else []
    stated = _confirmed(rows, _median(by_clock), name, doubts, notes)
    steps = _steady(stated or by_clock)
    samples, tokens, of_rank = (
        _rates(rows, keys, name, doubts) for keys in (SAMPLE_RATES, TOKEN_RATES, RANK_TOKEN_RATES)
    )
    longest = max((steps, samples, tokens, of_rank), key=lambda each: each.left_out)
    if longest.left_out:
        of = longest.left_out + len(longest.figures)
        notes.append(f"the first {longest.left_out} of {of} figures of steps are left out as warm-up")
    if len(epochs_s) > 1:
        notes.append(f"the first of {len(epochs_s)} epoch times is left out as warm-up")
    return Timing(
        epochs_s=tuple(epoch.value for epoch in epochs_s[1:] or epochs_s),
        steps=tuple(steps.figures),
        samples_per_s=tuple(samples.figures),
        tokens_per_s=tuple(tokens.figures),
        tokens_per_s_of_rank=tuple(of_rank.figures),
        notes=tuple(notes),
    )


def _steady(figures: list[Weighted]) -> Steady:
    left_out = min(10, len(figures) // 10) or min(1, max(0, len(figures) - 1))
    return Steady(figures[left_out:], left_out)


def _rates(rows: Iterable[Row], keys: Iterable[str], name: str, doubts: Doubts) -> Steady:
    found = _above_zero(rows, dict.fromkeys(keys, 1.0), MOST_RATE, name, doubts, what="a rate")
    return _steady(found) if len(found) > 10 else Steady(found, 0)


def _above_zero(
    rows: Iterable[Row], factors: Mapping[str, float], most: float, name: str, doubts: Doubts, *, what: str = "seconds"
) -> list[Weighted]:
    """The figure of the first of these columns in each row that has one; what is not above zero is said."""
    found = []
    for row in rows:
        key = next((key for key in factors if key in row.numbers), None)
        if key is None:
            continue
        figure = row.numbers[key] * factors[key]
        if 0 < figure < most:
            found.append(Weighted(figure, 1))
        else:
            doubts[f"{name}: a row without {what} above zero"] += 1
    return found


def _median(figures: Iterable[Weighted]) -> float | None:
    found = quantile(figures, (0.5,))
    return found[0] if found else None


def _confirmed(
    rows: Sequence[Row], clock_s: float | None, name: str, doubts: Doubts, notes: list[str]
) -> list[Weighted]:
    """Seconds of the steps as a column states them, once the clock or their size has confirmed the unit."""
    key = next((key for key in STEP_SECONDS if any(key in row.numbers for row in rows)), None)
    if key is None:
        return _from_rates(rows, name, doubts)
    factor = STEP_SECONDS[key]
    stated = _above_zero(rows, {key: factor or 1.0}, MOST_SECONDS, name, doubts)
    typical = _median(stated)
    if typical is None:
        return []
    if clock_s is not None and 300 < typical / clock_s < 3000:
        if factor is not None:
            doubts[f"{name}: {key} is {typical / clock_s:.0f} times what the clock says; the clock counts"] += 1
            return []
        notes.append(f"{key} has no unit; by the clock it is milliseconds")
        return [Weighted(each.value / 1000, each.weight) for each in stated]
    if clock_s is not None and typical > 1.5 * clock_s:
        doubts[f"{name}: {key} is {typical / clock_s:.1f} times what the clock says"] += 1
    if factor is None and clock_s is None:
        if typical > LONGEST_UNITLESS_STEP:
            doubts[f"{name}: {key} has no unit, and {typical:g} may be milliseconds: left out"] += 1
            return []
        notes.append(f"{key} has no unit; taken as seconds")
    return stated


def _from_rates(rows: Sequence[Row], name: str, doubts: Doubts) -> list[Weighted]:
    rates = _above_zero(rows, dict.fromkeys(STEP_RATES, 1.0), MOST_RATE, name, doubts, what="a rate")
    return [Weighted(1 / each.value, each.weight) for each in rates]


def _by_clock(rows: Sequence[Row], name: str, doubts: Doubts) -> list[Weighted]:
    """Seconds of a step by the clock of the rows, over windows long enough for a clock that counts whole seconds."""
    key = next((key for key in CLOCKS if any(key in row.numbers for row in rows)), None)
    known = (
        [
            Tick(row.at, row.numbers[key], row.numbers.get(BAR_NUMBER, row.numbers.get("epoch")))
            for row in rows
            if math.isfinite(row.numbers.get(key, math.nan))
        ]
        if key
        else []
    )
    unit = _clock_unit([tick.clock for tick in known])
    coarse = key == BAR and all(tick.clock == int(tick.clock) for tick in known)
    found: list[Weighted] = []
    start = known[0] if known else Tick(0.0, 0.0, None)
    for before, now in pairwise(known):
        passed_s = (now.clock - start.clock) * unit
        if now.clock < before.clock or now.at <= before.at:
            if key != BAR or now.bar == before.bar:
                doubts[f"{name}: the clock goes back"] += 1
                del found[-1:]  # it may have jumped ahead before
            start = now
        elif passed_s > 0 and passed_s >= (WINDOW_TICKS if coarse else 0):
            found.append(Weighted(passed_s / (now.at - start.at), now.at - start.at))
            start = now
    if not found and coarse:
        found = _whole_bars(known)
    return _without_gaps([each for each in found if each.value < MOST_SECONDS], name, doubts)


def _clock_unit(clocks: Sequence[float]) -> float:
    """Seconds of one tick: since 1970 in seconds, in milliseconds or in microseconds, by the size of the figures."""
    largest = max(clocks, default=0.0)
    return 1e-6 if largest > 1e14 else 1e-3 if largest > 1e11 else 1.0


def _whole_bars(known: Sequence[Tick]) -> list[Weighted]:
    """Of bars too short for windows: from the first to the last place of the longest one, if that is five seconds."""
    starts = [0, *(index for index in range(1, len(known)) if known[index].clock < known[index - 1].clock), len(known)]
    bars = [(known[first], known[last - 1]) for first, last in pairwise(starts) if last > first]
    spans = [(late.clock - early.clock, late.at - early.at) for early, late in bars]
    return [Weighted(seconds / steps, steps) for seconds, steps in spans if seconds >= 5 and steps > 0]


def _without_gaps(found: list[Weighted], name: str, doubts: Doubts) -> list[Weighted]:
    typical = _median(found) or 0.0
    kept = [each for each in found if each.value * each.weight < GAP_S or each.value < 50 * typical]
    if len(kept) < len(found):
        doubts[f"{name}: the clock jumps ahead by an hour or more"] += len(found) - len(kept)
    return kept
