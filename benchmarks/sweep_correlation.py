"""How far the errors of two models go together that are predicted alike: RHO of place/draws.py. It fits nothing else.

    python benchmarks/sweep_correlation.py /work/shared/data/measured/time_single.csv

The step time on one GPU is predicted from that on another by the mean of the log ratios of peak rate and bandwidth. The
errors of different models of one family, at one precision and on the same pair of GPUs, are a group; what is printed
is the share of the variance that the group has in common (one-way analysis of variance, groups of unequal size).
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from time_rows import pairs_of, read_time_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from time_rows import Pair

    from gpuplan.model import Gpu


def grouped_errors(pairs: Iterable[Pair]) -> list[list[float]]:
    """By family, pair of GPUs and precision, the mean error of each model; groups of one model say nothing."""
    groups: dict[tuple[str, ...], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for pair in pairs:
        source, target = pair.source, pair.target
        if source.gpu.name < target.gpu.name and source.gpu.peak_flops and target.gpu.peak_flops:
            error = pair.log_ratio - _predicted(source.gpu, target.gpu)
            groups[source.family, source.gpu.name, target.gpu.name, source.level][source.model].append(error)
    return [[fmean(errors) for errors in models.values()] for models in groups.values() if len(models) > 1]


def shared_variance(groups: Sequence[Sequence[float]]) -> float:
    """The correlation of two members of one group."""
    count, number = sum(map(len, groups)), len(groups)
    middle = sum(map(sum, groups)) / count
    between = sum(len(group) * (fmean(group) - middle) ** 2 for group in groups) / (number - 1)
    within = sum((error - fmean(group)) ** 2 for group in groups for error in group) / (count - number)
    size = (count - sum(len(group) ** 2 for group in groups) / count) / (number - 1)
    return (between - within) / (between + (size - 1) * within)


def _predicted(source: Gpu, target: Gpu) -> float:
    rates = math.log(max(source.peak_flops.values()) / max(target.peak_flops.values()))
    bandwidths = math.log((source.bandwidth_bytes_per_s or 1.0) / (target.bandwidth_bytes_per_s or 1.0))
    return (rates + bandwidths) / 2


if __name__ == "__main__":
    rows = read_time_rows([Path(path) for path in sys.argv[1:]]).rows
    found = grouped_errors(pairs_of(rows))
    print(f"{shared_variance(found):.2f}: {sum(map(len, found)):,} ratios, {len(found)} groups, {len(rows):,} rows")
