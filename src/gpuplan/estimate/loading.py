"""How long loading the rows of a step takes, and what of a measured step was waiting for them. It never reads a row.

A row's cost is stated, or measured where a device waited: with worker processes the step then was as long as they
took, without any the main process loaded, and the device had the rest of the step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.estimate.answers import SCALED, Assumption, around, total
from gpuplan.estimate.roofline import step_seconds
from gpuplan.units import format_duration

if TYPE_CHECKING:
    from gpuplan.estimate.case import Case
    from gpuplan.estimate.evidence import Clue, Clues
    from gpuplan.model import Quantity, Source

__all__ = ["Loading", "device_seconds", "loading", "waited", "with_loading"]

IDLE, WAITING = 0.05, 0.5
"""Of its time, how long a device is busy that waits for data: `verify.measured` warns of the same; below, the program
does not use it at all."""
LEAST_DEVICE = 0.1
"""Of a measured step, that is not loading at the least: a stated cost may be too high."""

NO_WORKERS = Assumption(
    text="no role says how many processes load data: the main process is taken to, as is PyTorch's default",
    change="name the setting in `roles.workers`",
)
CORES = Assumption(
    text="a CPU core for each loader worker is assumed, as the machine is not this one",
    change="at least ranks x (workers + 1) cores",
)


class Loading(NamedTuple):
    """Loading the rows of one optimizer step on each rank: its seconds, and whether the main process does it."""

    seconds: Quantity
    is_serial: bool
    assumptions: tuple[Assumption, ...] = ()


class Loaded(NamedTuple):
    """A step with its loading, and whether that is the larger part."""

    quantity: Quantity
    rules: bool


class _Cost(NamedTuple):
    row_s: float
    source: Source
    because: str


def loading(case: Case, clues: Clues) -> Loading | None:
    """What loading costs a step of `case`; None where no cost of a row is stated or measured."""
    cost = _stated(case) or _measured(clues)
    return _of_step(case, cost) if cost and case.rows else None


def with_loading(step: Quantity, load: Loading) -> Loaded:
    """The longer of the two where workers load ahead, the sum where the main process does."""
    rules = load.seconds.p50 >= step.p50
    if load.is_serial:
        both = total([step, load.seconds], because=f"{step.because}; + {load.seconds.because}")
        return Loaded(both, rules)
    longer = {name: max(getattr(step, name), getattr(load.seconds, name)) for name in ("p10", "p50", "p90")}
    if not rules:
        return Loaded(step.model_copy(update=longer), rules)
    waits = f"the device waits for data, with {format_duration(step.p50)} of its own a step ({step.because})"
    because = f"{load.seconds.because}: {waits}"
    return Loaded(load.seconds.model_copy(update={**longer, "because": because}), rules)


def waited(clue: Clue) -> bool:
    """Whether the device waited for data there: it was idle for long, and not because its kernels start slowly."""
    busy = clue.evidence.measurement.device_busy
    if busy is None or not IDLE <= busy < WAITING:
        return False
    roofline = step_seconds(clue.case)
    return roofline is None or roofline.bound != "launch"


def device_seconds(clue: Clue, step_s: float) -> float:
    """What is left of a measured step of `step_s` without the wait for data."""
    if waited(clue):
        return step_s * (clue.evidence.measurement.device_busy or 1.0)
    cost = _stated(clue.case)
    if cost is None or clue.case.shape.workers or not clue.case.rows:
        return step_s
    return max(LEAST_DEVICE * step_s, step_s - _of_step(clue.case, cost).seconds.p50)


def _stated(case: Case) -> _Cost | None:
    row_s = case.shape.load_s
    return _Cost(row_s, "closed_form", "stated") if row_s else None


def _measured(clues: Clues) -> _Cost | None:
    for clue in (*clues.same, *clues.near, *clues.elsewhere):
        step_s = clue.evidence.measurement.step_s
        if step_s and clue.case.rows and waited(clue):
            busy = clue.evidence.measurement.device_busy or 0.0
            seconds = step_s if clue.case.shape.workers else (1 - busy) * step_s
            row_s = seconds * _lanes(clue.case) / (clue.case.rows * clue.case.passes)
            because = f"measured in {clue.evidence.run}, where the device was busy {busy:.0%} of the time"
            return _Cost(row_s, "scaled", because)
    return None


def _of_step(case: Case, cost: _Cost) -> Loading:
    rows, workers = (case.rows or 0) * case.passes, case.shape.workers
    seconds = rows * cost.row_s / _lanes(case)
    who = f"{workers} worker{'s' * (workers != 1)}" if workers else "the main process"
    cores = _cores(case)
    held = f" on {cores:.3g} cores of a rank" if workers and cores and cores < workers + _main_threads(case) else ""
    because = (
        f"{format_duration(seconds)} for {who}{held} to load {rows:,} rows "
        f"at {format_duration(cost.row_s)} each ({cost.because})"
    )
    quantity = around(seconds, SCALED, source=cost.source, because=because)
    return Loading(quantity, not workers, _assumptions(case))


def _lanes(case: Case) -> float:
    """How many rows are loaded at once: a worker each, as far as the cores of a rank reach for it and its workers."""
    workers, cores = case.shape.workers or 0, _cores(case)
    if not workers:
        return 1.0
    return workers * min(1.0, cores / (workers + _main_threads(case))) if cores else float(workers)


def _main_threads(case: Case) -> int:
    return case.threads if case.gpu.kind == "cpu" else 1


def _cores(case: Case) -> float | None:
    """CPU cores of one rank of one copy while all devices of this machine are in use; None if it is another machine."""
    machine, run = case.world.machine, case.run
    here = sum(device.gpu == case.gpu.name for device in machine.devices)
    at_once = max(1, here // run.ranks) * run.ranks * run.copies
    return machine.cores / at_once if here else None


def _assumptions(case: Case) -> tuple[Assumption, ...]:
    if case.shape.workers is None:
        return (NO_WORKERS,)
    return (CORES,) if case.shape.workers and _cores(case) is None else ()
