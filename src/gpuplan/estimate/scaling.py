"""From a measured size to another one: ratios of closed forms, of samples, of ranks, and lines through two points.

It never says how certain the whole is: `time` and `memory` do. What ranks cost each other is in `communication`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from gpuplan.estimate.answers import Assumption, Width
from gpuplan.estimate.communication import (
    RANKS_OF_A_NODE,
    Measured,
    Strategy,
    Topology,
    brief,
    calibrated,
    exchange,
    link_of,
    network_of,
    slow_down,
    width_of,
)
from gpuplan.estimate.roofline import step_seconds
from gpuplan.footprint.declared import SHARDED
from gpuplan.units import format_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuplan.estimate.case import Case
    from gpuplan.estimate.evidence import Clue
    from gpuplan.model import Evidence

__all__ = [
    "LINEAR_RANKS",
    "WORTH",
    "BreakEven",
    "Efficiency",
    "Point",
    "Ranked",
    "Ratio",
    "affine",
    "alone_seconds",
    "break_even",
    "break_even_of",
    "differs_in_batch_only",
    "measured_here",
    "on_ranks",
    "ratio",
    "topology_of",
]

LINEAR_RANKS = Assumption(
    text="scaling over ranks is linear less what they cost each other, calculated for the usual link of such devices",
    change="`gpuplan probe --all-ranks` measures it",
)

WORTH = 0.75
"""Efficiency of each rank from which more ranks are worth having: the bar of public tables (reference time.md)."""
LEAST_ALONE = 0.2
"""Of a measured step on several ranks, that is compute at the least: a calculated exchange may be too long."""
HALVINGS = 30
MOST_FACTS = 200
HALVES = {"fp16", "bf16"}


class Ratio(NamedTuple):
    """The step time of one case over that of another, by what rule, and how sure it is what ranks cost each other."""

    value: float
    because: str
    width: Width = Width(1.0, 1.0)


class Point(NamedTuple):
    """A measured value at a size."""

    at: float
    value: float


class Ranked(NamedTuple):
    """A step on the ranks of a case over one on a single rank with the same rows, and how sure that is."""

    slow: float
    width: Width
    because: str
    assumption: Assumption


class Efficiency(NamedTuple):
    """A step on some ranks, each with the same rows: its seconds, and what is left of linear scaling, 0 to 1."""

    ranks: int
    step_s: float
    efficiency: float


class BreakEven(NamedTuple):
    """How many ranks are worth having, and why no more."""

    ranks: int
    at: tuple[Efficiency, ...]
    slower: tuple[int, ...]
    """Counts that get through fewer rows a second than one rank."""
    words: str


def ratio(now: Case, then: Case, *, measured_s: float | None = None) -> Ratio:
    """How much longer a step of `now` takes: by closed forms, else by FLOPs, else by samples, else equally long.

    Between counts of ranks the exchange of gradients is taken off and put on in seconds, so that it wants the
    measured seconds of `then`; without them the closed form's, without those the mean of other programs.
    """
    work = _work(now, then)
    if now.run.ranks == then.run.ranks == 1:
        return work
    there = topology_of(then)
    roofline = None if measured_s else step_seconds(then)
    alone = roofline.seconds if roofline else alone_seconds(then, measured_s, there)
    before = _ranked(then, alone, there)
    after = on_ranks(now, alone * work.value if alone else None)
    value = work.value * after.slow / before.slow
    said = f"; {after.because}" if now.run.ranks > 1 else f"; taken off: {before.because}"
    width = Width(1.0, 1.0) if now.run.ranks == then.run.ranks else max(before.width, after.width, key=_reach)
    return Ratio(value, work.because + said, width)


def on_ranks(case: Case, alone_s: float | None = None) -> Ranked:
    """What the ranks of `case` make of a step that takes `alone_s` on one of them; seconds None: not known.

    `alone_s` is an optimizer step with all its accumulated passes: its gradients are exchanged once.
    """
    return _ranked(case, alone_s, topology_of(case))


def _reach(width: Width) -> float:
    return width.high / width.low


def _ranked(case: Case, alone_s: float | None, topology: Topology) -> Ranked:
    if topology.ranks <= 1:
        return Ranked(1.0, Width(1.0, 1.0), "one rank", LINEAR_RANKS)
    size, strategy = _exchanged_bytes(case), _strategy(case)
    slow = slow_down(alone_s, topology, size_bytes=size, strategy=strategy)
    blind = not (size and alone_s)
    because = (
        f"as other programs on {topology.ranks} ranks over {topology.within.words}"
        if blind or size is None
        else exchange(size, topology, strategy=strategy).because
    )
    return Ranked(slow, width_of(slow, blind=blind), f"x{format_number(slow)} on ranks: {because}", LINEAR_RANKS)


def alone_seconds(case: Case, together_s: float | None, topology: Topology) -> float | None:
    """Seconds on one rank from those on all of them: the share of every doubling and the exchange taken off.

    Both with the same rows a rank; None where `together_s` is not known.
    """
    if not together_s or case.run.ranks == 1:
        return together_s
    size, strategy = _exchanged_bytes(case), _strategy(case)
    low, high = LEAST_ALONE * together_s, together_s
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        is_too_long = middle * slow_down(middle, topology, size_bytes=size, strategy=strategy) > together_s
        low, high = (low, middle) if is_too_long else (middle, high)
    return high


def topology_of(case: Case, *, ranks: int | None = None) -> Topology:
    """The ranks of `case` and what joins them: a node has at most eight GPUs, unless this machine has more."""
    count = ranks or case.run.ranks
    within = calibrated(link_of(case.gpu), measured_here(case), ranks=count) if count > 1 else link_of(case.gpu)
    here = sum(device.gpu == case.gpu.name for device in case.world.machine.devices)
    per_node = max(here, RANKS_OF_A_NODE)
    several = case.gpu.kind == "gpu" and count > per_node
    return Topology(count, within, network_of() if several else None, per_node)


def measured_here(case: Case) -> list[Measured]:
    """Programs that ran on one rank and on several of this GPU, with the same rows a rank: they show its links."""
    facts = [each for each in case.world.evidence if each.gpu == case.gpu.name and each.measurement.step_s]
    facts = [each for each in facts if not each.measurement.flags][:MOST_FACTS]
    several = [each for each in facts if each.ranks > 1]
    alone = {_program(each): each for each in facts if each.ranks == 1} if several else {}
    found = []
    for each in several:
        base = alone.get(_program(each))
        if base:
            size = 4.0 * each.measurement.parameters if each.measurement.parameters else None
            found.append(Measured(each.ranks, base.measurement.step_s or 0, each.measurement.step_s or 0, size))
    return found


def break_even(
    alone_s: float,
    topology: Topology,
    *,
    size_bytes: float | None,
    strategy: Strategy = "ddp",
    worth: float = WORTH,
    between: bool = True,
) -> BreakEven:
    """Up to the ranks of `topology`: the most that keep `worth` of linear, each with the rows of the one rank.

    `alone_s`: seconds of an optimizer step on one rank; `size_bytes`: what the ranks exchange, None where unknown;
    without `between`, only one rank and all of them are looked at, and the words are of all.
    """
    powers = {2**power for power in range(topology.ranks.bit_length())} if between else {1}
    counts = sorted(powers | {topology.ranks})
    at = tuple(
        _efficiency(alone_s, topology._replace(ranks=count), size_bytes, strategy)
        for count in counts
        if count <= topology.ranks
    )
    enough = [each.ranks for each in at if each.efficiency >= worth]
    slower = tuple(each.ranks for each in at if each.efficiency * each.ranks < 1)
    return BreakEven(max(enough), at, slower, _words(at, topology, size_bytes, strategy, most=max(enough)))


def break_even_of(case: Case, alone_s: float, *, most: int, between: bool = True) -> BreakEven:
    """The same for the program of `case`, whose optimizer step takes `alone_s` on one rank, up to `most` ranks."""
    topology, size_bytes = topology_of(case, ranks=most), _exchanged_bytes(case)
    return break_even(alone_s, topology, size_bytes=size_bytes, strategy=_strategy(case), between=between)


def affine(points: Sequence[Point], at: float) -> float | None:
    """The value at `at` of the line through the two measured sizes nearest to it; None without two, or if it falls."""
    by_size: dict[float, float] = {}
    for point in points:
        by_size.setdefault(point.at, point.value)
    sizes = sorted(by_size, key=lambda size: (abs(size - at), size))[:2]
    if len(sizes) < 2:
        return None
    low, high = sorted(sizes)
    slope = (by_size[high] - by_size[low]) / (high - low)
    value = by_size[low] + slope * (at - low)
    return value if slope >= 0 and value > 0 else None


def differs_in_batch_only(clue: Clue, case: Case) -> bool:
    """Whether the batch is all in which the measured run is another one."""
    roles = case.experiment.roles
    return all(name in (roles.batch, roles.micro_batch) for name in clue.differs)


# ---------------------------------------------------------------- ranks


def _exchanged_bytes(case: Case) -> float | None:
    """Gradients; the parameters as they are gathered, where ranks share them."""
    footprint = case.known
    if footprint is None:
        return None
    if _strategy(case) in ("fsdp", "zero3"):
        return footprint.parameters * (2.0 if footprint.precision in HALVES else 4.0)
    return float(footprint.gradient_bytes) or None


def _strategy(case: Case) -> Strategy:
    said = case.known.versions.get(SHARDED, "ddp") if case.known else "ddp"
    return cast("Strategy", said) if said in ("fsdp", "zero1", "zero2", "zero3") else "ddp"


def _program(evidence: Evidence) -> tuple[object, ...]:
    """One program at one count of rows a rank: its settings but for those that state the batch of all ranks."""
    measurement = evidence.measurement
    batch = measurement.batch_size
    settings = {name: value for name, value in evidence.settings.items() if value != batch or batch is None}
    per_rank = batch / evidence.ranks if batch else None
    told = tuple(sorted((name, str(value)) for name, value in settings.items()))
    return evidence.experiment, evidence.command, evidence.threads, per_rank, measurement.parameters, told


def _efficiency(alone_s: float, topology: Topology, size_bytes: float | None, strategy: Strategy) -> Efficiency:
    slow = slow_down(alone_s, topology, size_bytes=size_bytes, strategy=strategy)
    return Efficiency(topology.ranks, alone_s * slow, 1 / slow)


def _words(
    at: Sequence[Efficiency], topology: Topology, size_bytes: float | None, strategy: Strategy, *, most: int
) -> str:
    """Of the first count that is not worth it, else of the largest."""
    shown = next((each for each in at if each.ranks > most), at[-1])
    if shown.ranks == 1:
        return "one rank exchanges nothing"
    step = f"a {brief(shown.step_s)} step on {shown.ranks} ranks"
    if not size_bytes:
        return (
            f"other programs over {topology.within.words} keep {shown.efficiency:.0%} of linear on {shown.ranks} ranks"
        )
    return f"{exchange(size_bytes, topology._replace(ranks=shown.ranks), strategy=strategy).because} of {step}"


# ---------------------------------------------------------------- work of one rank


def _work(now: Case, then: Case) -> Ratio:
    longer, shorter = step_seconds(now), step_seconds(then)
    if longer and shorter:
        value = longer.seconds / shorter.seconds
        return Ratio(value, f"x{format_number(value)} by closed form")
    if now.gpu.name != then.gpu.name:
        return Ratio(1.0, "taken over as it is: nothing relates the two GPUs")
    return _by_samples(now, then)


def _by_samples(now: Case, then: Case) -> Ratio:
    threads = then.threads / now.threads if now.gpu.kind == "cpu" else 1.0
    samples_now, samples_then = (now.rows or 0) * now.passes, (then.rows or 0) * then.passes
    if not samples_now or not samples_then:
        return Ratio(threads, f"x{format_number(threads)}: no role says how large a batch is")
    flops_now = now.known.flops(samples_now) if now.known else 0.0
    flops_then = then.known.flops(samples_then) if then.known else 0.0
    if flops_now and flops_then:
        value = threads * flops_now / flops_then
        return Ratio(value, f"x{format_number(value)} by FLOPs")
    value = threads * samples_now / samples_then
    return Ratio(value, f"x{format_number(value)} by samples")
