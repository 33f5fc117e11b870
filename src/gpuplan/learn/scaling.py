"""Do the ranks of a run divide the rows, and how much do more ranks gain? It never reads a record or a log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from gpuplan.units import format_count

if TYPE_CHECKING:
    from gpuplan.model import Measurement

__all__ = ["Scaling", "Sharding", "Verdict", "scaling", "sharding"]

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
