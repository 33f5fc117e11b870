"""What finished runs teach: evidence for the next plan, diagnoses of scaling, and how far predictions were off.

Pure: it takes measurements as values and never reads a file, a clock or the network.
"""

from __future__ import annotations

import hashlib
import statistics
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from gpuplan.model import Evidence, Measurement, Quantity, RunRecord
from gpuplan.units import format_count

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "Backtest",
    "Pair",
    "Residual",
    "Scaling",
    "Sharding",
    "backtest",
    "evidence_of",
    "refusal",
    "residual",
    "scaling",
    "sharding",
]

SAME_ROWS = 0.05
"""How far the rows of a rank may be off, as a share; at least by a batch, which may be dropped or padded."""


Verdict: TypeAlias = Literal["sharded", "every rank trained on all rows", "unknown"]


class Sharding(NamedTuple):
    """Whether the ranks of a run divided the training rows among them."""

    verdict: Verdict
    because: str
    rows_per_epoch_all_ranks: float | None = None
    dataset_rows: int | None = None
    factor: float | None = None
    """Rows trained on in one epoch, as a multiple of the data set's."""


class Scaling(NamedTuple):
    """How much more ranks gained. Speed-ups are multiples of the smaller run's, efficiencies shares of the ideal."""

    ranks_ratio: float
    apparent: float | None
    """By the seconds of an epoch, which mislead where the ranks did not divide the rows."""
    true: float | None
    """By the rows trained on in a second."""
    apparent_efficiency: float | None
    true_efficiency: float | None


class Pair(NamedTuple):
    """What was predicted of one figure, and what it came to."""

    predicted: Quantity
    measured: float


class Residual(NamedTuple):
    """How far a prediction was off."""

    ratio: float
    """Measured over predicted."""
    percent: float
    """Predicted minus measured, in percent of the measured; positive where too much was predicted."""
    inside: bool
    """Whether the measured figure lies between p10 and p90."""


class Backtest(NamedTuple):
    """How far predictions were off on the whole; percentages are of the measured figures."""

    pairs: int
    median_abs_percent: float
    mean_abs_percent: float
    coverage: float
    """Share of measured figures between p10 and p90; 0.8 is honest."""
    median_ratio: float
    """Measured over predicted; above 1 where too little was predicted."""


def evidence_of(
    record: RunRecord, *, gpu: str, threads: int | None, today: str, kind: Literal["run", "probe"] = "run"
) -> Evidence | None:
    """The fact that a finished run is, or None where `refusal` has a reason against it.

    Its id is a hash of what ran and what was measured: the same run learned twice, or moved, is one fact.
    """
    measurement = record.measurement
    if measurement is None or refusal(record) is not None:
        return None
    fact = Evidence(
        id="",
        kind=kind,
        experiment=record.experiment,
        run=record.run.name,
        settings=record.run.settings,
        command=record.run.command,
        gpu=gpu,
        ranks=record.run.ranks,
        threads=threads,
        versions=record.provenance.versions if record.provenance else {},
        measurement=measurement,
        taken="",
        log=record.folder,
    )
    return fact.model_copy(update={"id": _content_hash(fact, record.run.key), "taken": today})


def refusal(record: RunRecord) -> str | None:
    """Why nothing can be learned from a run; None if something can."""
    measurement = record.measurement
    if record.outcome is None or record.outcome.status != "finished":
        how = record.outcome.status.replace("_", " ") if record.outcome else record.state
        return f"it did not finish: {how}"
    if measurement is None or not _measured_something(measurement):
        return "nothing was measured: no step or epoch time and no peak memory"
    if measurement.flags:
        return f"its figures are doubtful: {'; '.join(measurement.flags)}"
    return None


def sharding(measurement: Measurement) -> Sharding:
    """Whether the ranks divided the rows, from the rows each of them trained on in one epoch."""
    by_rank, dataset_rows = measurement.samples_per_epoch_by_rank, measurement.dataset_rows
    if measurement.world_size <= 1:
        return Sharding("unknown", "one rank: there is nothing to divide", dataset_rows=dataset_rows)
    if not dataset_rows or len(by_rank) != measurement.world_size:
        missing = "the rows of the data set are" if not dataset_rows else "the rows of each rank and epoch are"
        return Sharding("unknown", f"{missing} not known", dataset_rows=dataset_rows)
    rows = sum(by_rank)
    factor = rows / dataset_rows
    said = (
        f"{len(by_rank)} ranks trained on {format_count(rows)} rows an epoch, of {format_count(dataset_rows)} there are"
    )
    return Sharding(_verdict(measurement, dataset_rows), said, rows, dataset_rows, factor)


def scaling(base: Measurement, other: Measurement) -> Scaling:
    """How much faster `other` is than `base`, a run of the same kind on fewer ranks."""
    ranks_ratio = other.world_size / base.world_size
    apparent = _ratio(base.epoch_s, other.epoch_s)
    true = _ratio(other.samples_per_s, base.samples_per_s)
    return Scaling(
        ranks_ratio=ranks_ratio,
        apparent=apparent,
        true=true,
        apparent_efficiency=None if apparent is None else apparent / ranks_ratio,
        true_efficiency=None if true is None else true / ranks_ratio,
    )


def residual(predicted: Quantity, measured: float) -> Residual | None:
    """How far a prediction was off; None where one of the figures is not above zero."""
    if measured <= 0 or predicted.p50 <= 0:
        return None
    return Residual(
        ratio=measured / predicted.p50,
        percent=100 * (predicted.p50 - measured) / measured,
        inside=predicted.p10 <= measured <= predicted.p90,
    )


def backtest(pairs: Iterable[Pair]) -> Backtest | None:
    """How far predictions were off on the whole; None without a pair that can be judged."""
    judged = [found for found in (residual(pair.predicted, pair.measured) for pair in pairs) if found is not None]
    if not judged:
        return None
    off = [abs(each.percent) for each in judged]
    return Backtest(
        pairs=len(judged),
        median_abs_percent=statistics.median(off),
        mean_abs_percent=statistics.fmean(off),
        coverage=sum(each.inside for each in judged) / len(judged),
        median_ratio=statistics.median(each.ratio for each in judged),
    )


def _content_hash(fact: Evidence, key: str) -> str:
    content = fact.model_dump_json(exclude={"id", "taken", "log"})
    return hashlib.sha256(f"{key}\n{content}".encode()).hexdigest()[:16]


def _measured_something(measurement: Measurement) -> bool:
    figures = (
        measurement.step_s,
        measurement.epoch_s,
        measurement.peak_host_bytes,
        measurement.peak_allocated_bytes,
        measurement.peak_device_bytes,
        measurement.peak_tree_bytes,
    )
    return any(figures)


def _verdict(measurement: Measurement, dataset_rows: int) -> Verdict:
    """By the nearer of two: all rows, or a rank's share of them; neither if a rank is further off than a batch."""
    by_rank = measurement.samples_per_epoch_by_rank
    share = dataset_rows / len(by_rank)
    expected = min((share, float(dataset_rows)), key=lambda rows: abs(sum(by_rank) / len(by_rank) - rows))
    slack = max(SAME_ROWS * expected, (measurement.batch_size or 0) / len(by_rank), 1)
    if any(abs(rows - expected) > slack for rows in by_rank):
        return "unknown"
    return "sharded" if expected == share else "every rank trained on all rows"


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above and below else None
