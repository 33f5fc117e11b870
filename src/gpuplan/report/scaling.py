"""Do more ranks help, and does each train on its own share of the rows? Pure; the verdict on sharding is `learn`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan import learn
from gpuplan.report.figures import Speed
from gpuplan.report.groups import configurations, finished, label, measured, spread, tied, varied
from gpuplan.report.table import Column, Table, clean, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuplan.model import Experiment, Measurement, RunRecord
    from gpuplan.report.groups import Configuration
    from gpuplan.report.table import Spread

__all__ = ["Scaled", "scaled", "sentences", "speeds", "table"]

UNSHARDED = "every rank trained on all rows"
MOST_SENTENCES = 3


class Scaled(NamedTuple):
    """One configuration at one number of ranks, against its smallest number of ranks."""

    where: str
    ranks: int
    base_ranks: int
    epoch_s: Spread | None
    apparent: float | None
    true: float | None
    efficiency: float | None
    rows_per_rank: float | None
    rows_all_ranks: float | None
    dataset_rows: int | None
    verdict: str
    because: str


def scaled(experiment: Experiment, records: Sequence[RunRecord]) -> tuple[Scaled, ...]:
    """Every configuration that ran at several numbers of ranks, or at more than one; means over the seeds."""
    fixed = {"ranks", *tied(experiment, ["ranks"])}
    names = [name for name in varied(experiment, records) if name not in fixed]
    done = [record for record in finished(records) if record.run.control is None and record.run.train]
    rows = [row for group in configurations(names, done) for row in _group(group)]
    return tuple(rows)


def table(rows: Sequence[Scaled]) -> Table:
    """One row for each number of ranks: what the epoch times say, what the throughput says, and why they differ."""
    columns = (
        Column("configuration", "configuration", "text", 8),
        Column("ranks", "ranks", "count", 9),
        Column("epoch_s", "epoch", "duration", 6),
        Column("apparent_speedup", "apparent speed-up", "ratio", 7),
        Column("true_speedup", "true speed-up", "ratio", 9),
        Column("efficiency", "efficiency", "percent", 7),
        Column("rows_per_rank_and_epoch", "rows per rank and epoch", "count", 4),
        Column("dataset_rows", "rows in the dataset", "count", 4),
        Column("sharding", "sharding", "text", 8),
    )
    cells = tuple(
        (
            *(one.where, one.ranks, one.epoch_s, one.apparent, one.true, one.efficiency),
            *(one.rows_per_rank, one.dataset_rows, _verdict(one)),
        )
        for one in rows
    )
    notes = ("Apparent: by seconds per epoch. True: by samples per second of all ranks.",)
    return Table("scaling", "Speed-up against the fewest ranks", columns, cells, notes)


def sentences(rows: Sequence[Scaled]) -> tuple[str, ...]:
    """What is wrong with the sharding, in words with the figures; nothing if nothing is."""
    places: dict[str, list[str]] = {}
    for one in rows:
        if one.verdict == UNSHARDED:
            places.setdefault(_unsharded(one), []).append(one.where)
    several = len({one.where for one in rows}) > 1
    said = [f"{' and '.join(where)}: {text}" if several else text for text, where in places.items()]
    more = [f"The same in {len(said) - MOST_SENTENCES} more cases, listed below."] if len(said) > MOST_SENTENCES else []
    return (*said[:MOST_SENTENCES], *more)


def speeds(rows: Sequence[Scaled]) -> dict[str, tuple[Speed, ...]]:
    """The points of a figure for each configuration that ran at several numbers of ranks."""
    groups: dict[str, list[Speed]] = {}
    for one in rows:
        speed = Speed(one.ranks, one.apparent, one.true, one.ranks / one.base_ranks)
        groups.setdefault(one.where, []).append(speed)
    return {where: tuple(points) for where, points in groups.items() if len(points) > 1}


def _group(group: Configuration) -> list[Scaled]:
    by_ranks = sorted(configurations(("ranks",), group.records), key=lambda one: one.records[0].run.ranks)
    if by_ranks[-1].records[0].run.ranks == 1:
        return []
    base = by_ranks[0]
    return [_scaled(clean(label(group.values)), base, one) for one in by_ranks]


def _scaled(where: str, base: Configuration, other: Configuration) -> Scaled:
    compared = learn.scaling(_mean(base.records), _mean(other.records))
    sharded = _sharding(other.records)
    ranks, base_ranks = other.records[0].run.ranks, base.records[0].run.ranks
    return Scaled(
        where=where,
        ranks=ranks,
        base_ranks=base_ranks,
        epoch_s=spread(measured(other.records, lambda one: one.epoch_s)),
        apparent=compared.apparent,
        true=compared.true,
        efficiency=compared.true_efficiency,
        rows_per_rank=_rows_per_rank(other.records),
        rows_all_ranks=sharded.rows_per_epoch_all_ranks,
        dataset_rows=sharded.dataset_rows,
        verdict=sharded.verdict,
        because=sharded.because,
    )


def _mean(records: Sequence[RunRecord]) -> Measurement:
    """One measurement with the means over the seeds, where `learn` compares two."""
    first = next(record.measurement for record in records if record.measurement is not None)
    epoch = spread(measured(records, lambda one: one.epoch_s))
    throughput = spread(measured(records, lambda one: one.samples_per_s))
    means = {"epoch_s": epoch.mean if epoch else None, "samples_per_s": throughput.mean if throughput else None}
    return first.model_copy(update=means)


def _sharding(records: Iterable[RunRecord]) -> learn.Sharding:
    """The verdict on one configuration: the worst of its seeds, and unknown only if nothing is known of any."""
    verdicts = [learn.sharding(record.measurement) for record in records if record.measurement is not None]
    order = (UNSHARDED, "sharded", "unknown")
    return min(verdicts, key=lambda one: order.index(one.verdict) if one.verdict in order else len(order))


def _rows_per_rank(records: Iterable[RunRecord]) -> float | None:
    """Of one epoch, the mean over ranks and seeds."""
    rows = [count for record in records if record.measurement for count in record.measurement.samples_per_epoch_by_rank]
    found = spread(rows)
    return found.mean if found else None


def _verdict(one: Scaled) -> str | None:
    if one.ranks == 1:
        return None
    return f"{one.verdict}: {one.because}" if one.verdict == "unknown" else one.verdict


def _unsharded(one: Scaled) -> str:
    rows = f"{one.ranks} ranks x {show(one.rows_per_rank, 'count')} = {show(one.rows_all_ranks, 'count')} rows an epoch"
    parts = [f"{UNSHARDED}: {rows} of a {show(one.dataset_rows, 'count')}-row dataset"]
    if one.apparent is not None and one.true is not None and one.ranks > one.base_ranks:
        apparent, true = show(one.apparent, "ratio"), show(one.true, "ratio")
        parts.append(f"apparent speed-up {apparent}, true throughput scaling {true}")
    parts.append("no sampler divides the rows (DistributedSampler / shard).")
    return "; ".join(parts)
