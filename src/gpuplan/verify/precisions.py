"""Did 16 bits do anything? Logs alike in all but the precision, 16 bits against 32. It never changes a number."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.estimate.transfer import chip_of
from gpuplan.units import format_bytes, format_duration
from gpuplan.verify.asked import HALVES, asked_of
from gpuplan.verify.logged import about, log_ranks, program_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from gpuplan.footprint.dimensions import PrecisionName
    from gpuplan.model import Finding, Gpu, LoggedRun

__all__ = ["half_without_effect"]

SAME_TIME = 0.02
"""How far apart steps are that 16 bits did not change. In 53 pairs of public rows at equal batches (NVIDIA's
DeepLearningExamples) they take 0.59 of the time of TF32 or FP32 in the median; one pair is closer than this, a column
that its table has twice. So are 21 of Lambda's 30 pairs of tacotron2, waveglow and ncf, whose programs were passed an
option that they do not have, or none (time_single.csv, counted 2026-11-20). Equal machines differ by 1.5 %."""

SAME_PEAK = 0.01
OTHER_WORK = 0.1
"""How far apart the rates of equal steps are if their batches differ."""
WAITS_BUSY = 0.5
FIRST_WITH_BF16 = 8.0
"""Compute capability. Of older cards the table has every 16-bit rate that there is."""

TIMES = {"step_s": "a step", "epoch_s": "an epoch"}
PEAKS = ("peak_allocated_bytes", "peak_reserved_bytes", "peak_device_bytes")
RATES = ("samples_per_s", "tokens_per_s")
BATCH_WORD = re.compile(r"(?<![a-z])(?:batch(?:[-_]?size)?|mbs|bs|b)[-_]?(\d+)")


class _Both(NamedTuple):
    """One figure of the run in 16 bits and of that in 32."""

    name: str
    half: float
    full: float

    @property
    def apart(self) -> float:
        """The share by which 16 bits take more; below zero, less."""
        return self.half / self.full - 1


class _Compared(NamedTuple):
    half: LoggedRun
    full: LoggedRun
    time: _Both | None
    peak: _Both | None


class _Kept(NamedTuple):
    """What 16 bits left as it was while they changed something else, and what that means."""

    what: str
    because: str
    fix: str


TIME_KEPT = _Kept(
    "the time",
    because="the memory shows that they had an effect: something else, as data, launches or the host, bounds the step",
    fix="do not expect 16 bits to be faster; look for what bounds the step",
)
PEAK_KEPT = _Kept(
    "the peak memory",
    because="autocast leaves weights, gradients and optimizer states in 32 bits, and some frameworks take memory ahead",
    fix="do not count on a larger batch in 16 bits",
)


def half_without_effect(logs: Sequence[LoggedRun], gpus: Mapping[str, Gpu]) -> Iterator[Finding]:
    """Runs in 16 bits that take the time or the memory of their like in 32; of several runs, the median one."""
    alike: dict[object, dict[PrecisionName, list[LoggedRun]]] = {}
    for log in logs:
        precision = asked_of(log).precision
        if precision is not None:
            alike.setdefault(_all_but_precision(log), {}).setdefault(precision, []).append(log)
    for runs in alike.values():
        full = runs.get("tf32") or runs.get("fp32")
        for precision in sorted(runs.keys() & HALVES if full else ()):
            yield from _judged(_compared(_median(runs[precision]), _median(full or ()), gpus))


def _all_but_precision(log: LoggedRun) -> object:
    batch = BATCH_WORD.search(log.name.lower())
    return program_of(log), log.gpu, log_ranks(log), log.measurement.batch_size, batch and batch[1]


def _median(runs: Sequence[LoggedRun]) -> LoggedRun:
    """The run of the median step, the lower one of two; the first where no step is known."""
    timed = sorted((run for run in runs if run.measurement.step_s), key=lambda run: run.measurement.step_s or 0.0)
    return timed[(len(timed) - 1) // 2] if timed else runs[0]


def _compared(half: LoggedRun, full: LoggedRun, gpus: Mapping[str, Gpu]) -> _Compared:
    """Without the time where the card does 16 bits no faster, and without anything where the work differs."""
    rate = _both(half, full, RATES)
    if rate is not None and abs(rate.apart) > OTHER_WORK and _is_same(_both(half, full, ("step_s",)), SAME_TIME):
        return _Compared(half, full, None, None)
    time = _both(half, full, TIMES) if _is_faster(half, full, gpus) else None
    return _Compared(half, full, time, _both(half, full, PEAKS))


def _is_faster(half: LoggedRun, full: LoggedRun, gpus: Mapping[str, Gpu]) -> bool:
    """Whether the card does more FLOPs a second in 16 bits; that is believed of one that is new or not known."""
    gpu = gpus.get(half.gpu or "")
    if gpu is None or not gpu.compute_capability or float(gpu.compute_capability) >= FIRST_WITH_BF16:
        return True
    chips = [chip_of(gpu, asked_of(log).precision or "") for log in (half, full)]
    return chips[0] is None or chips[1] is None or chips[0].flops > chips[1].flops


def _both(half: LoggedRun, full: LoggedRun, names: Iterable[str]) -> _Both | None:
    """The first figure that both logs have."""
    found = ((name, getattr(half.measurement, name), getattr(full.measurement, name)) for name in names)
    return next((_Both(*each) for each in found if each[1] and each[2]), None)


def _is_same(both: _Both | None, share: float) -> bool:
    return both is not None and abs(both.apart) < share


def _judged(pair: _Compared) -> Iterator[Finding]:
    same_time, same_peak = _is_same(pair.time, SAME_TIME), _is_same(pair.peak, SAME_PEAK)
    if same_peak and pair.time and pair.time.apart <= -SAME_TIME:
        yield _partial(pair, PEAK_KEPT)
    elif same_time and pair.peak and not same_peak:
        yield _partial(pair, TIME_KEPT)
    elif same_time or same_peak:
        yield _nothing(pair, same_peak=same_peak)


def _partial(pair: _Compared, kept: _Kept) -> Finding:
    message = f"{_half(pair)} did not change {kept.what}: {_figures(pair)}"
    because = f"{kept.because}; against {pair.full.path}"
    return about(pair.half, "note", "precision-part", message=message, because=because, fix=kept.fix)


def _nothing(pair: _Compared, *, same_peak: bool) -> Finding:
    reasons = [_reading(pair, same_peak=same_peak), *_open_questions(pair)]
    return about(
        pair.half,
        "warning",
        "precision-no-effect",
        message=f"{_half(pair)} seem to have had no effect: {_figures(pair)}",
        because=f"alike in all but the precision, against {pair.full.path}: {'; '.join(reasons)}",
        fix="look for an option that the program ignores (parse_known_args) and for a step outside of torch.autocast "
        "(print torch.is_autocast_enabled() and torch.get_autocast_dtype('cuda') inside of it); compare peak memory",
    )


def _reading(pair: _Compared, *, same_peak: bool) -> str:
    busy = pair.half.measurement.device_busy
    if same_peak:
        return "with the same peak memory, the option most likely did nothing"
    waits = f", as a GPU that is busy {busy:.0%} of the time suggests" if busy is not None and busy < WAITS_BUSY else ""
    works = f", with a GPU busy {busy:.0%} of the time" if busy is not None and not waits else ""
    return f"the option did nothing{works}, or data, launches or the host bound the step{waits}"


def _open_questions(pair: _Compared) -> Iterator[str]:
    """What the logs leave open."""
    if not asked_of(pair.full).by:
        yield "the other says no precision, and may be in 16 bits by default"
    if not _tells_batch(pair.half):
        yield "their batches are not in the logs: at different ones, equal times say nothing"


def _tells_batch(log: LoggedRun) -> bool:
    in_settings = any(re.search(r"batch|(^|_)bs$", name.lower()) for name in log.settings)
    return in_settings or log.measurement.batch_size is not None or BATCH_WORD.search(log.name.lower()) is not None


def _half(pair: _Compared) -> str:
    return f"16 bits ({asked_of(pair.half).by})"


def _figures(pair: _Compared) -> str:
    """`a step takes 1.483s against 1.478s in 32 bits (+0.3 %); the peak memory is ...`."""
    parts = [f"{TIMES[pair.time.name]} takes {_against(pair.time, format_duration)}"] if pair.time else []
    parts += [f"the peak memory is {_against(pair.peak, format_bytes)}"] if pair.peak else []
    return "; ".join(parts)


def _against(both: _Both, shown: Callable[[float], str]) -> str:
    return f"{shown(both.half)} against {shown(both.full)} in 32 bits ({100 * both.apart:+.1f} %)"
