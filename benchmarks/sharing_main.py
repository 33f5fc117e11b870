"""`accuracy.py sharing FILE.csv [--result OUT.json]`: speeds of runs that share one GPU, by the product's own rule.

A row is predicted from the utilizations that it states, else from what other rows tell of the same programs. The
last line printed is one JSON object. A row's own speed is never looked at before it is predicted.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import statistics
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuplan.data import find_gpu
from gpuplan.estimate.sharing import Shared, mode_on, sharing, utilizations
from gpuplan.model import Gpu

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gpuplan.estimate.sharing import Mode

__all__ = ["Pair", "Row", "main", "read_rows", "speeds"]

RESULT = Path(__file__).parent / "results" / "sharing.json"
LONGEST_FIELD = 1 << 17
FOLDS = 10
MOST_RUNS = 1000
NOTHING = Gpu(name="unknown", memory_bytes=0, source="none", checked="assumed")


@dataclass(frozen=True, slots=True)
class Row:
    """Runs that shared a GPU: the mean of their speeds, of their speeds alone."""

    id: str
    mode: Mode
    place: str
    programs: tuple[str, ...]
    busy: tuple[float | None, ...]
    part: int | None
    workload: str
    speed: float
    problem: str


@dataclass(frozen=True, slots=True)
class Pair:
    """One row answered: speeds of each run."""

    row: Row
    speed: float
    low: float
    high: float


def main(arguments: Sequence[str]) -> int:
    """Print the scores of a file; 2 if it cannot be read."""
    parser = argparse.ArgumentParser(prog="accuracy.py sharing", description=__doc__)
    parser.add_argument("file", type=Path, help="columns of colocation.csv")
    parser.add_argument("--result", type=Path, default=RESULT, help="where the scores are written as JSON")
    options = parser.parse_args(arguments)
    try:
        rows = read_rows(options.file)
    except (OSError, csv.Error) as error:
        print(f"{options.file} cannot be read: {error}", file=sys.stderr)
        return 2
    silent = [row for row in rows if row.problem]
    answered = [row for row in rows if not row.problem]
    if silent:
        print(f"not answered ({len(silent)}): " + "; ".join(f"{row.id}: {row.problem}" for row in silent[:20]))
    result = _result(answered, len(rows))
    if options.result:
        options.result.write_text(f"{json.dumps(result, indent=1)}\n", encoding="utf-8")
    print(json.dumps({key: value for key, value in result.items() if not isinstance(value, dict)}))
    return 0


def read_rows(path: Path) -> list[Row]:
    """All rows. OSError or csv.Error where the file cannot be read."""
    csv.field_size_limit(LONGEST_FIELD)  # of the whole process: other readers leave theirs behind
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        lines = csv.DictReader(line.replace("\0", "") for line in file)
        return [_row(line, index) for index, line in enumerate(lines, start=2) if any(line.values())]


def speeds(rows: Sequence[Row], *, others: bool) -> list[Pair]:
    """Every row predicted; with `others`, from the utilizations that nine tenths of the rows tell of the programs."""
    found = []
    for row, busy in zip(rows, _busy(rows) if others else [row.busy for row in rows], strict=True):
        times = sharing(busy, row.mode, part=row.part).times
        found.append(Pair(row, 1 / times.p50, 1 / times.p90, 1 / times.p10))
    return found


def _busy(rows: Sequence[Row]) -> list[tuple[float | None, ...]]:
    """As stated, else as the rows of other tenths on the same GPU tell it."""
    tenths: dict[tuple[str, int], dict[str, float]] = {}
    found = []
    for index, row in enumerate(rows):
        place = (row.place, index % FOLDS)
        if place not in tenths:
            shared = [Shared(each.programs, each.speed) for position, each in enumerate(rows)
                      if each.place == row.place and position % FOLDS != place[1]]  # fmt: skip
            tenths[place] = utilizations(shared, mode=row.mode)
        told = [tenths[place].get(program) for program in row.programs]
        found.append(
            tuple(stated if stated is not None else other for stated, other in zip(row.busy, told, strict=True))
        )
    return found


# ---------------------------------------------------------------- one line


def _row(line: Mapping[str, str | None], index: int) -> Row:
    runs, together = _float(_text(line, "k")), _float(_text(line, "aggregate_x"))
    said, gpu = _text(line, "sharing"), find_gpu(_text(line, "gpu"))
    count = int(runs) if runs and runs == int(runs) and runs <= MOST_RUNS else 0
    first = _program(line, "a")
    last = first if _text(line, "model_b") in ("", "same") else _program(line, "b")
    stated = [_share(_text(line, f"solo_gpu_util_{name}_pct")) for name in ("a", "b")]
    many = max(count, 1)
    half = many - many // 2
    part = re.search(r"(\d)g\b|(\d)g\.", said.lower())
    mode = mode_on(gpu or NOTHING, said)
    return Row(
        id=f"line {index}",
        mode=mode,
        place=f"{_text(line, 'gpu')} {said}",
        programs=(first,) * half + (last,) * (many - half),
        busy=(stated[0],) * half + (stated[1] if stated[1] is not None else stated[0],) * (many - half),
        part=int(part.group(1) or part.group(2)) if part and mode == "mig" else None,
        workload=_text(line, "workload"),
        speed=(together or 0.0) / many,
        problem=_problem(said, count, together, line),
    )


def _problem(said: str, runs: int, together: float | None, line: Mapping[str, str | None]) -> str:
    if runs < 1:
        return f"no count of runs: {_text(line, 'k')[:20]!r}"
    if not together:
        return f"no measured speed: {_text(line, 'aggregate_x')[:20]!r}"
    return "fused in one process: nothing is shared" if "fusion" in said.lower() or "fused" in said.lower() else ""


def _program(line: Mapping[str, str | None], name: str) -> str:
    return " ".join(_text(line, f"{column}_{name}") for column in ("model", "batch", "precision"))


def _share(text: str) -> float | None:
    value = _float(text)
    return min(value / 100, 1.0) if value else None


def _text(line: Mapping[str, str | None], name: str) -> str:
    value = line.get(name)
    return value.strip() if isinstance(value, str) else ""


def _float(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


# ---------------------------------------------------------------- scores


def _result(rows: list[Row], total: int) -> dict[str, Any]:
    training = [row for row in rows if row.workload in ("train", "")] or rows
    told, unseen = speeds(rows, others=True), speeds(rows, others=False)
    tables = {
        "by_way": _by(told, lambda pair: f"{pair.row.mode}, {len(pair.row.programs)} runs, {_source(pair)}"),
        "by_workload": _by(told, lambda pair: pair.row.workload or "not stated"),
        "rules": {
            "utilization stated, or told by other rows": _scores([pair for pair in told if pair.row in training]),
            "utilization stated, else the usual one": _scores([pair for pair in unseen if pair.row in training]),
            "baseline: no slow-down": _scores(_plain(training, lambda _: 1.0)),
            "baseline: 1 / runs": _scores(_plain(training, lambda row: 1 / len(row.programs))),
            "baseline: 1 / sum of utilizations, where stated": _scores(_plain(_stated(training), _by_sum)),
        },
    }
    for name, table in tables.items():
        print(f"\n{name:56}{'rows':>6}{'points':>8}{'mean %':>8}{'median %':>10}{'bias':>8}{'cover':>7}")
        for key, row in table.items():
            figures = [row.get(column, "-") for column in COLUMNS]
            print("{:56}{:>6}{:>8}{:>8}{:>10}{:>8}{:>7}".format(key[:55], *figures))
    whole: dict[str, Any] = tables["rules"]["utilization stated, or told by other rows"]
    return {**whole, "answered": round(len(rows) / total, 4) if total else None, **tables}


COLUMNS = ("rows", "mean_abs_points", "mean_abs_pct", "median_abs_pct", "bias_points", "coverage")


def _source(pair: Pair) -> str:
    return "utilization stated" if all(each is not None for each in pair.row.busy) else "told by other rows"


def _stated(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if all(each is not None for each in row.busy)]


def _by_sum(row: Row) -> float:
    return min(1.0, 1 / sum(each or 1.0 for each in row.busy))


def _plain(rows: Sequence[Row], rule: Callable[[Row], float]) -> list[Pair]:
    return [Pair(row, rule(row), rule(row), rule(row)) for row in rows]


def _by(pairs: Sequence[Pair], key: Callable[[Pair], str]) -> dict[str, dict[str, Any]]:
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[key(pair)].append(pair)
    return {name: _scores(found) for name, found in sorted(groups.items())}


def _scores(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Errors in points of the mean relative speed and in percent of it, and how many lie in the interval."""
    if not pairs:
        return {"rows": 0}
    points = [100 * (pair.speed - pair.row.speed) for pair in pairs]
    percent = [abs(100 * (pair.speed / pair.row.speed - 1)) for pair in pairs]
    return {
        "rows": len(pairs),
        "mean_abs_points": round(statistics.fmean(map(abs, points)), 2),
        "mean_abs_pct": round(statistics.fmean(percent), 2),
        "median_abs_pct": round(statistics.median(percent), 2),
        "bias_points": round(statistics.fmean(points), 2),
        "coverage": round(sum(pair.low <= pair.row.speed <= pair.high for pair in pairs) / len(pairs), 3),
    }
