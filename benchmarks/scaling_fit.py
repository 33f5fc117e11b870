"""Constants of the link classes, fitted on questions. It never sees the rows of a model that is held out.

`fit_scaling.py` prints them for links.toml; `scaling_predict` fits them anew for every model that it leaves out.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data.links import Link, Spread, links, spread
from gpuplan.estimate.communication import BUCKET_BYTES, RANKS_OF_A_NODE, link_of, network_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from scaling_rows import Question

__all__ = ["SHIPPED", "Residual", "Spreads", "fit_class", "fit_links", "fit_spreads", "plain_links"]

WIRE_BYTES_PER_S = {
    "pcie3": 15.75e9, "pcie": 15.75e9, "pcie4": 31.5e9, "pcie5": 63e9, "nvlink2": 150e9, "nvlink3": 300e9,
    "nvlink4": 450e9, "xgmi": 200e9,
}  # fmt: skip
"""One direction, by the first word of a class's name: data sheets."""
WIRE_SHARE = 0.4
PLAIN_OVERHEAD, PLAIN_SLOWDOWN, PLAIN_FALLS = 0.01, 0.04, 0.25
"""Of a class that no row speaks about."""
FEWEST, FEWEST_RESIDUALS = 3, 30
CLIP, PULL = 0.5, 0.5
"""Of one row, at the most, as some hosts are broken; and of a bandwidth e times that of the data sheet. Of pulls from
0.02 to 2 all were within 0.1 % on the whole; 0.5 keeps V100s from the bandwidth of one cloud's."""
BANDWIDTHS = [1e9 * 1.16**step for step in range(41)]
FALLS = [0.0, 0.25, 0.5, 0.75, 1.0]
OVERHEADS = [0.0, 0.003, 0.006, 0.01, 0.015, 0.02, 0.03, 0.045]
ROUNDS = 4


class Residual(NamedTuple):
    """What was predicted of a row that was held out, and the logarithm of measured over predicted."""

    slow: float
    off: float
    blind: bool


class Spreads(NamedTuple):
    """How wide answers are where the bytes that ranks exchange are known, and where they are not."""

    known: Spread
    blind: Spread


SHIPPED = Spreads(spread(), spread(blind=True))


class _Point(NamedTuple):
    """One row: bytes over the link a second of the step, latency's share of it, doublings, and what was measured."""

    bytes_per_s: float
    waiting: float
    ranks: int
    slow: float


def plain_links() -> dict[str, Link]:
    """Every class with what the data sheet of its wire says, and nothing that was fitted."""
    return {name: _plain(each) for name, each in links().items()}


def fit_links(questions: Iterable[Question]) -> dict[str, Link]:
    """Every class, fitted on those of `questions` that it has enough of."""
    by_class: dict[str, list[Question]] = defaultdict(list)
    for question in questions:
        if question.row.gpu and question.base.gpus == 1:
            by_class[link_of(question.row.gpu, question.row.link).name].append(question)
    plain = plain_links()
    fitted = plain | {name: fit_class(plain[name], found) for name, found in by_class.items()}
    return fitted | _networks(fitted, [question for found in by_class.values() for question in found])


def _networks(fitted: dict[str, Link], questions: Sequence[Question]) -> dict[str, Link]:
    """What every doubling of the machines costs, where rows say that there were several."""
    found: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for question in questions:
        row = question.row
        if row.gpu and "node" in row.link.lower() and row.gpus > RANKS_OF_A_NODE:
            within = fitted[link_of(row.gpu, row.link).name].slowdown * math.log2(RANKS_OF_A_NODE)
            beyond = (question.slow - 1 - within) / math.log2(row.gpus / RANKS_OF_A_NODE)
            found[network_of(row.link).name].append((row.family, beyond))
    return {
        name: replace(
            links()[name],
            slowdown=max(0.0, statistics.median(beyond for _, beyond in costs)),
            overhead=max(0.0, statistics.median(beyond for _, beyond in costs)),
            rows=len(costs),
            models=len({family for family, _ in costs}),
            status="fitted",
        )
        for name, costs in found.items()
    }


def fit_class(plain: Link, questions: Sequence[Question]) -> Link:
    """One class: bandwidth, its fall and overhead by a search on each in turn; the slow-down as a median."""
    found = replace(plain, rows=len(questions), models=len({question.row.family for question in questions}))
    if len(questions) >= FEWEST:
        doubled = [(question.slow - 1) / math.log2(question.row.gpus) for question in questions]
        found = replace(found, slowdown=max(0.0, statistics.median(doubled)), status="fitted")
    points = [point for point in map(_point, questions) if point]
    return _searched(found, plain, points) if len(points) >= FEWEST else found


def fit_spreads(residuals: Sequence[Residual]) -> Spreads:
    """Both widths; one with too few residuals stays as it is shipped."""
    known, blind = ([each for each in residuals if each.blind is is_blind] for is_blind in (False, True))
    return Spreads(
        _spread(known) if len(known) >= FEWEST_RESIDUALS else SHIPPED.known,
        _spread(blind) if len(blind) >= FEWEST_RESIDUALS else SHIPPED.blind,
    )


def _spread(residuals: Sequence[Residual]) -> Spread:
    """Quantiles of the residuals as lines in the predicted extra share of time: where 80 % lie between, 10 % above."""
    low = _line([each._replace(off=-each.off) for each in residuals])
    high = _line(list(residuals))
    return Spread(low=low[0], low_slope=low[1], high=high[0], high_slope=high[1], most=MOST)


MOST = 0.5
TAIL = 0.1


def _line(residuals: Sequence[Residual]) -> list[float]:
    """Intercept and slope with the least pinball loss at the upper tail."""
    best, least = [0.05, 0.2], math.inf
    for intercept in [0.01 * step for step in range(1, 31)]:
        for slope in [0.05 * step for step in range(21)]:
            loss = 0.0
            for slow, off, _ in residuals:
                over = off - intercept - slope * min(max(slow - 1, 0.0), MOST)
                loss += over * (1 - TAIL) if over > 0 else -over * TAIL
            if loss < least:
                best, least = [intercept, slope], loss
    return best


def _plain(each: Link) -> Link:
    wire = WIRE_BYTES_PER_S.get(each.name.split("-")[0])
    if wire is None:
        return each
    return replace(
        each,
        bandwidth_bytes_per_s=wire * WIRE_SHARE,
        falls=PLAIN_FALLS,
        overhead=PLAIN_OVERHEAD,
        slowdown=PLAIN_SLOWDOWN,
        status="nominal",
        rows=0,
        models=0,
    )


def _point(question: Question) -> _Point | None:
    size, ranks = question.row.size_bytes, question.row.gpus
    if not size or not question.alone_s:
        return None
    moved = 2 * (ranks - 1) / ranks * size / question.alone_s
    return _Point(moved, math.ceil(size / BUCKET_BYTES) / question.alone_s, ranks, question.slow)


def _searched(found: Link, plain: Link, points: Sequence[_Point]) -> Link:
    for _ in range(ROUNDS):
        before = found
        found = _best(found, plain, points, [replace(found, bandwidth_bytes_per_s=value) for value in BANDWIDTHS])
        found = _best(found, plain, points, [replace(found, falls=value) for value in FALLS])
        found = _best(found, plain, points, [replace(found, overhead=value) for value in OVERHEADS])
        if found == before:
            break
    return found


def _best(found: Link, plain: Link, points: Sequence[_Point], others: Sequence[Link]) -> Link:
    misfit = _misfit(plain, points)
    return min([found, *others], key=misfit)


def _misfit(plain: Link, points: Sequence[_Point]) -> Callable[[Link], float]:
    """Absolute errors of the logarithm, clipped as some hosts are broken; with a weak pull towards the data sheet."""

    def of(each: Link) -> float:
        bandwidth = {ranks: each.bandwidth_at(ranks) for ranks in {point.ranks for point in points}}
        off = 0.0
        for point in points:
            extra = each.overhead * math.log2(point.ranks) + each.latency_s * point.waiting
            predicted = 1 + extra + point.bytes_per_s / bandwidth[point.ranks]
            off += min(abs(math.log(predicted / point.slow)), CLIP)
        pull = math.log(each.bandwidth_bytes_per_s / plain.bandwidth_bytes_per_s)
        return off + 0.3 * (each.falls - PLAIN_FALLS) ** 2 + PULL * pull**2

    return of
