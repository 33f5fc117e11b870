"""Are measurements what they seem? Small checks over runs that were logged. It never changes or drops a number.

Each finding names the log it is about and the figures it rests on.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.estimate.communication import all_reduce_s, link_of
from gpuplan.estimate.evidence import mean_step_s
from gpuplan.learn.scaling import sharding
from gpuplan.units import format_bytes, format_count, format_duration, format_number
from gpuplan.verify.asked import asked_of
from gpuplan.verify.logged import about, log_ranks, program_of
from gpuplan.verify.packing import packed_beside_unpacked, packed_rows
from gpuplan.verify.precisions import half_without_effect
from gpuplan.verify.rewards import flat_rewards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gpuplan.model import Finding, Footprint, Gpu, LoggedRun

__all__ = ["CHECKS", "Context", "Group", "doubts", "groups", "log_ranks"]

UNSHARDED_LOSS = 0.97
"""The loss after one epoch on n ranks over that on fewer, below which more optimizer steps must have been taken. With
divided rows a rank takes 1/n of the steps, and the loss after an epoch is higher, as in the IMDB runs of
codeharris/multi-gpu-ddp (0.69 on 4 GPUs, 0.61 on one); their AG News runs, undivided, show 0.42 against 0.57."""

IMPLAUSIBLE_STEP = 3.0
"""How many times as long a step of equal rows on n ranks may seem to take; gradients of 33 MB over PCIe cost 1.25."""

ALIKE = 1e-6
SAME_TIME = 0.02
FASTER_LINK = 1.25
"""How much faster than its class a link may be."""
IDLE_BUSY = 0.05
STARVED_BUSY = 0.5
BYTES_TO_TRAIN = 2
"""Per parameter, at least: weights in 16 bits."""


class Context(NamedTuple):
    """What is known beside the logs; None is not known."""

    batch_rows: int | None = None
    """Rows of one step on one rank."""
    gpus: Mapping[str, Gpu] = {}
    """By the names that the logs use."""
    footprint: Footprint | None = None
    machine_has_gpu: bool = False


class Group(NamedTuple):
    """Runs of one program on one data set, which may differ in their ranks; the fewest ranks first."""

    runs: tuple[LoggedRun, ...]

    @property
    def base(self) -> LoggedRun:
        """The run on the fewest ranks."""
        return self.runs[0]

    @property
    def wider(self) -> tuple[LoggedRun, ...]:
        """The runs on more ranks than the base."""
        return tuple(run for run in self.runs if log_ranks(run) > log_ranks(self.base))


def doubts(logs: Sequence[LoggedRun], context: Context) -> tuple[Finding, ...]:
    """What is odd in the logs, each as a finding with its evidence; the same logs give the same findings."""
    found = [finding for log in logs for check in CHECKS for finding in check(log, context)]
    compared = [finding for group in groups(logs) for finding in _compared(group, context)]
    return (*found, *compared, *half_without_effect(logs, context.gpus), *packed_beside_unpacked(logs))


def groups(logs: Sequence[LoggedRun]) -> tuple[Group, ...]:
    """The logs by what they trained, in which precision: equal settings but for ranks, and alike names."""
    found: dict[object, list[LoggedRun]] = {}
    for log in logs:
        found.setdefault((program_of(log), asked_of(log).precision), []).append(log)
    return tuple(Group(tuple(sorted(runs, key=lambda run: (log_ranks(run), run.path)))) for runs in found.values())


# ---------------------------------------------------------------- one log


def unsharded(log: LoggedRun, _context: Context) -> Iterator[Finding]:
    """Every rank trained on all rows: the rows that the ranks counted, against the data set's."""
    verdict = sharding(log.measurement)
    if verdict.verdict == "every rank trained on all rows":
        yield about(
            log,
            "error",
            "unsharded",
            message=f"every rank trained on all rows: {verdict.because}",
            because="an epoch on n ranks that do not divide the rows is n epochs",
            fix="divide the rows among the ranks (DistributedSampler, shard), then compare samples per second",
        )


def over_roofline(log: LoggedRun, context: Context) -> Iterator[Finding]:
    """More FLOPs a second than the accelerator can do."""
    step_s, gpu = mean_step_s(log.measurement), context.gpus.get(log.gpu or "")
    if not step_s or gpu is None or context.footprint is None or not context.batch_rows or not gpu.peak_flops:
        return
    rate = context.footprint.flops(context.batch_rows) / step_s
    most = max(gpu.peak_flops.values())
    if rate > most:
        yield about(
            log,
            "error",
            "over-roofline",
            message=f"{format_count(rate)}FLOP/s on {gpu.name}, which can do {format_count(most)}FLOP/s at the most",
            because=f"a step takes {format_duration(step_s)} by this log",
            fix="check the unit of the step time, what it spans, and whether every step did all its work",
        )


def below_exchange(log: LoggedRun, context: Context) -> Iterator[Finding]:
    """A step shorter than its gradients can be exchanged in, by the link that joins such GPUs."""
    step_s, ranks, gpu = mean_step_s(log.measurement), log_ranks(log), context.gpus.get(log.gpu or "")
    gradient_bytes = _gradient_bytes(log, context)
    if not step_s or gpu is None or not gradient_bytes:
        return
    least_s = all_reduce_s(gradient_bytes, ranks, over=link_of(gpu)) / FASTER_LINK
    if step_s < least_s:
        yield about(
            log,
            "error",
            "no-gradient-sync",
            message=f"a step of {format_duration(step_s)} on {ranks} ranks: exchanging {format_bytes(gradient_bytes)} "
            f"of gradients alone takes {format_duration(least_s)}",
            because="the ranks seem to train models of their own",
            fix="check that the model is wrapped (DistributedDataParallel) and that gradients are averaged",
        )


def idle_gpu(log: LoggedRun, context: Context) -> Iterator[Finding]:
    """A GPU that did nothing while the program trained."""
    busy = log.measurement.device_busy
    uses_cpu = busy is not None and busy < IDLE_BUSY
    if uses_cpu and (log.gpu is not None or context.machine_has_gpu):
        yield about(
            log,
            "error",
            "trains-on-cpu",
            message=f"the GPU was busy {_percent(busy)} of the time: the program seems to train on the CPU",
            because="sampled while it ran",
            fix="move model and batch to the GPU; look for `use_cpu`, `no_cuda` and checks for another backend",
        )


def starved_gpu(log: LoggedRun, _context: Context) -> Iterator[Finding]:
    """A GPU that waits for data."""
    busy = log.measurement.device_busy
    if busy is not None and IDLE_BUSY <= busy < STARVED_BUSY:
        yield about(
            log,
            "warning",
            "data-bound",
            message=f"the GPU was busy {_percent(busy)} of the time only",
            because="it waits for data, for the host, or for many small kernels",
            fix="more loader workers, larger batches, or share the card with another run",
        )


def peak_below_weights(log: LoggedRun, context: Context) -> Iterator[Finding]:
    """A peak that could not even hold the weights: taken at another time, or in another unit."""
    peak = log.measurement.peak_device_bytes or log.measurement.peak_reserved_bytes
    peak = peak or log.measurement.peak_allocated_bytes
    parameters = log.measurement.parameters or (context.footprint.parameters if context.footprint else None)
    if peak and parameters and peak < BYTES_TO_TRAIN * parameters:
        yield about(
            log,
            "warning",
            "peak-below-weights",
            message=f"a peak of {format_bytes(peak)} for {format_count(parameters)} parameters, which need "
            f"{format_bytes(BYTES_TO_TRAIN * parameters)} in 16 bits alone",
            because="it was read before the first training step, or is of one shard, or in another unit",
            fix="take torch.cuda.max_memory_allocated() after some training steps",
        )


def rows_in_a_step(log: LoggedRun, context: Context) -> Iterator[Finding]:
    """An epoch whose steps see far fewer rows than the data has: they are packed."""
    return packed_rows(log, context.batch_rows)


def without_signal(log: LoggedRun, _context: Context) -> Iterator[Finding]:
    """Rewards that never differ, or never rise above zero."""
    return flat_rewards(log)


CHECKS: tuple[Callable[[LoggedRun, Context], Iterator[Finding]], ...] = (
    unsharded,
    over_roofline,
    below_exchange,
    idle_gpu,
    starved_gpu,
    peak_below_weights,
    rows_in_a_step,
    without_signal,
)


# ---------------------------------------------------------------- several logs of one program


def _compared(group: Group, context: Context) -> Iterator[Finding]:
    for other in group.wider:
        idle = _idle_ranks(group.base, other)
        yield from idle
        if not idle:
            yield from _undivided(group.base, other, context)
            yield from _steps_do_not_fall(group.base, other)


def _idle_ranks(base: LoggedRun, other: LoggedRun) -> list[Finding]:
    """The same losses in the same time on more ranks: the ranks more did nothing."""
    first, second = _losses(base), _losses(other)
    common = list(zip(first, second, strict=False))
    times = (
        base.measurement.epoch_s or mean_step_s(base.measurement),
        (other.measurement.epoch_s or mean_step_s(other.measurement)),
    )
    if len(common) < 2 or not times[0] or not times[1]:
        return []
    alike = all(math.isclose(one, two, rel_tol=ALIKE) for one, two in common)
    if not alike or abs(times[1] / times[0] - 1) > SAME_TIME:
        return []
    message = (
        f"the same losses and the same time on {log_ranks(other)} ranks as on {log_ranks(base)}: the others are idle"
    )
    fix = "check the number of devices that the trainer was told (`devices: 1` is a common default)"
    return [about(other, "error", "idle-ranks", message=message, because=f"against {base.path}", fix=fix)]


def _undivided(base: LoggedRun, other: LoggedRun, context: Context) -> Iterator[Finding]:
    """A lower loss after one epoch on more ranks; with the sizes known, the step time that divided rows would mean."""
    losses = _losses(base)[:1] + _losses(other)[:1]
    starts_alike = _starts_at_first_epoch(base) and _starts_at_first_epoch(other)
    if len(losses) < 2 or not starts_alike or losses[1] >= UNSHARDED_LOSS * losses[0]:
        return
    lower = (
        f"the loss after one epoch is {format_number(losses[1])} on {log_ranks(other)} ranks and "
        f"{format_number(losses[0])} on {log_ranks(base)}"
    )
    sizes = _sizes(base, context)
    times = base.measurement.epoch_s, other.measurement.epoch_s
    named = _named(base, other, sizes) if sizes and times[0] and times[1] else None
    if named:
        yield about(
            other,
            "error",
            "unsharded",
            message=named,
            because=f"{lower}, with fewer steps if rows were divided",
            fix="give each rank its share (DistributedSampler): the time of an epoch then falls",
        )
    else:
        yield about(
            other,
            "warning",
            "unsharded-suspected",
            message=f"the rows may not be divided among the ranks: {lower}",
            because="with divided rows each rank takes fewer steps, and the loss after an epoch is higher",
            fix="tell the rows of the data set and of a batch (--dataset-rows, --batch-rows) to make sure",
        )


class _Sizes(NamedTuple):
    dataset_rows: int
    batch_rows: int


def _named(base: LoggedRun, other: LoggedRun, sizes: _Sizes) -> str | None:
    """Words that name the missing sampler; None if divided rows would mean a plausible step."""
    ratio = log_ranks(other) / log_ranks(base)
    base_s, other_s = base.measurement.epoch_s or 0.0, other.measurement.epoch_s or 0.0
    steps = sizes.dataset_rows / (sizes.batch_rows * log_ranks(base))
    slower_if_divided = ratio * other_s / base_s
    if slower_if_divided < IMPLAUSIBLE_STEP:
        return None
    return (
        f"every rank trained on all {sizes.dataset_rows:,} rows: {format_count(steps)} steps of "
        f"{format_duration(other_s / steps)} an epoch (divided rows would mean steps "
        f"{format_number(slower_if_divided)} times as long as on {log_ranks(base)}); "
        f"apparent speed-up {format_number(base_s / other_s)}x, true throughput scaling "
        f"{format_number(ratio * base_s / other_s)}x"
    )


def _steps_do_not_fall(base: LoggedRun, other: LoggedRun) -> Iterator[Finding]:
    """As many optimizer steps an epoch on more ranks, by the logs' own counts."""
    steps = _steps_an_epoch(base), _steps_an_epoch(other)
    if not steps[0] or not steps[1] or abs(steps[1] / steps[0] - 1) > SAME_TIME:
        return
    batches = base.measurement.batch_size, other.measurement.batch_size
    if batches[0] and batches[0] == batches[1]:
        return  # the global batch was kept: each rank has smaller ones
    yield about(
        other,
        "warning",
        "steps-do-not-fall",
        message=f"{format_count(steps[1])} steps an epoch on {log_ranks(other)} ranks, as on {log_ranks(base)}",
        because=f"with divided rows and equal batches there are fewer; against {base.path}",
        fix="check that the rows are divided (DistributedSampler), or that batches shrink with the ranks",
    )


# ---------------------------------------------------------------- what logs say, in one place


def _losses(log: LoggedRun) -> tuple[float, ...]:
    return next((log.epochs[name] for name in ("train_loss", "loss", "train/loss") if log.epochs.get(name)), ())


def _starts_at_first_epoch(log: LoggedRun) -> bool:
    epochs = log.epochs.get("epoch", ())
    return not epochs or epochs[0] <= 1


def _steps_an_epoch(log: LoggedRun) -> float | None:
    found = log.measurement
    return found.steps / found.epochs if found.steps and found.epochs else None


def _gradient_bytes(log: LoggedRun, context: Context) -> int | None:
    """By the footprint, else of as many 32-bit gradients as the log counts parameters."""
    if context.footprint is not None:
        return context.footprint.gradient_bytes
    return 4 * log.measurement.parameters if log.measurement.parameters else None


def _sizes(log: LoggedRun, context: Context) -> _Sizes | None:
    rows, batch = log.measurement.dataset_rows, context.batch_rows
    return _Sizes(rows, batch) if rows and batch else None


def _percent(share: float | None) -> str:
    return f"{100 * (share or 0.0):.0f} %"
