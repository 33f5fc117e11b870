"""Checks of a staged search's configuration (AI Scientist's bfts_config.yaml) against the GPUs that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gpuplan.data.loaders import loaders_of
from gpuplan.verify.visible import local_gpus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.model import Finding, SourceFact
    from gpuplan.verify.case import Case

__all__ = ["IGNORED_SEEDS", "SEED_LIST", "search_fits_gpus", "seeds_without_gpus", "workers_without_gpus"]

SOURCE = "AI-Scientist-v2@defddb8, parallel_agent.py"
SEED_LIST = ("agent", "multi_seed_eval", "seeds")
IGNORED_SEEDS = f"its seeds are 0, 1, 2, ... up to `num_seeds` ({SOURCE})"


class Gpus(NamedTuple):
    """How many a search can have, and who says so."""

    number: int
    words: str


def search_fits_gpus(case: Case) -> Iterator[Finding]:
    """A staged search with more seeds or workers than GPUs, which run on the CPU or never; seeds that it ignores."""
    for source in case.sources("config"):
        if loaders_of(source.path):
            gpus = _gpus(case, source)
            seeds = _count(source, "agent", "multi_seed_eval", "num_seeds")
            workers = _count(source, "agent", "num_workers")
            if gpus and seeds and seeds > gpus.number:
                yield _seeds(case, source, seeds, gpus)
            if gpus and workers and workers > gpus.number:
                yield _workers(case, source, workers, gpus)
            yield from _ignored(case, source)


def seeds_without_gpus(seeds: int, gpus: int) -> str:
    """What becomes of the seeds that are too many."""
    left = f"seed {gpus + 1}" if seeds == gpus + 1 else f"seeds {gpus + 1} to {seeds}"
    return f"each seed takes a GPU and keeps it ({SOURCE}); {left} find none and run on the CPU"


def workers_without_gpus(workers: int, gpus: int) -> str:
    """What becomes of the workers that are too many."""
    return f"it takes no more workers than GPUs ({SOURCE}), so a step tries {gpus} nodes and not {workers}"


def _ignored(case: Case, source: SourceFact) -> Iterator[Finding]:
    at = source.places.get(".".join(SEED_LIST))
    if at is not None:
        yield case.finding(
            "warning",
            "search-seeds",
            message=f"{source.path} lists seeds, which the search takes and never reads",
            because=IGNORED_SEEDS,
            fix="give `num_seeds` alone",
            at=at,
        )


def _gpus(case: Case, source: SourceFact) -> Gpus | None:
    """Of this machine; elsewhere what the file states, else what a run is planned on."""
    if "local" in case.experiment.compute.on:
        count = local_gpus(case)
        return Gpus(count, f"this machine has {count}") if count else None
    stated = _count(source, "compute", "gpu", "count")
    if stated:
        return Gpus(stated, f"its `compute.gpu.count` is {stated}")
    ranks = max(run.ranks for run in case.runs)
    return Gpus(ranks, f"a run is planned on {ranks}, by `ranks`")


def _count(source: SourceFact, *path: str) -> int | None:
    value: Any = source.content
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _seeds(case: Case, source: SourceFact, seeds: int, gpus: Gpus) -> Finding:
    key = "agent.multi_seed_eval.num_seeds"
    return case.finding(
        "warning",
        "search-seeds",
        message=f"{source.path} has {seeds} seeds on {gpus.number} GPU{'s' * (gpus.number > 1)}: "
        f"{seeds - gpus.number} of them would train on the CPU",
        because=f"{gpus.words}; {seeds_without_gpus(seeds, gpus.number)}",
        fix=f"`num_seeds: {gpus.number}`, or as many GPUs as seeds on one machine",
        at=source.places.get(key, source.path),
    )


def _workers(case: Case, source: SourceFact, workers: int, gpus: Gpus) -> Finding:
    return case.finding(
        "note",
        "search-workers",
        message=f"{source.path} has {workers} workers on {gpus.number} GPU{'s' * (gpus.number > 1)}: "
        f"{workers - gpus.number} are never started",
        because=f"{gpus.words}; {workers_without_gpus(workers, gpus.number)}",
        fix=f"`num_workers: {gpus.number}`, and plan time and cost for it",
        at=source.places.get("agent.num_workers", source.path),
    )
