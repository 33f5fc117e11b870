"""Plans of generated sweeps, clusters and trace-shaped workloads: seconds, and how far above the proven bound.

    python benchmarks/market.py [--seeds N] [--trace-seeds N] [--only SECTION] [--json FILE]

Beside our plan stand, on the same instances, the list scheduler that gives the first plan, one-run-per-GPU LPT and
whole-GPU first-come-first-served. Prints a table and writes JSON (default benchmarks/results/market.json), last line
included. Searches stop by the process's CPU seconds (one thread), so that neighbours on the machine change little;
wall-clock seconds stand beside them, the machine's load in the JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from market_baselines import first_come_first_served, longest_first
from market_cases import TRACES, like_trace, owned, sweep

from gpuplan.place.fastest import bound_makespan_s
from gpuplan.place.highs import Effort
from gpuplan.place.improve import improve
from gpuplan.place.problem import Goal, Problem, Solution
from gpuplan.place.search import Search, horizon_s
from gpuplan.place.tables import tables_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gpuplan.place.fleet import Fleet

RESULTS = Path(__file__).parent / "results" / "market.json"
FACTORS = (2.5, 6.0, 12.0)
SECTIONS = ("classes", "distinct", "small", "owned", "traces")


class Row(NamedTuple):
    """One instance planned. Gaps are shares above the bound; nan where a method found no plan."""

    section: str
    case: str
    seed: int
    first_s: float
    first_cpu_s: float
    wall_s: float
    cpu_s: float
    gap: float
    first_gap: float
    longest_first_gap: float
    queue_gap: float
    method: str


LIMIT_S = {"classes": 1.8, "distinct": 3.5, "small": 3.0, "owned": 0.9, "traces": 3.5}
"""CPU seconds after which a search stops at the next occasion: the section's bar less what the last step may take."""
SOLVER_S = 60.0
"""HiGHS's own clock is the wall's, so it is only a safety net here."""


def main(arguments: Sequence[str]) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="see the module's docstring")
    parser.add_argument("--seeds", type=int, default=9)
    parser.add_argument("--trace-seeds", type=int, default=3)
    parser.add_argument("--only", choices=SECTIONS, action="append")
    parser.add_argument("--json", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    load_before = os.getloadavg()[0]
    rows: list[Row] = []
    _warm_up()
    for section in chosen.only or SECTIONS:
        found = list(_section(section, chosen.trace_seeds if section == "traces" else chosen.seeds))
        rows += found
        _print(found)
    answer = {
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "load_before": load_before,
        "load_after": os.getloadavg()[0],
        "python": platform.python_version(),
        "seeds": chosen.seeds,
        "trace_seeds": chosen.trace_seeds,
        "summary": [_summary(case, group) for case, group in _by_case(rows)],
        "rows": [_plain(row) for row in rows],
    }
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_text(json.dumps(answer, indent=1) + "\n")
    print(json.dumps({key: value for key, value in answer.items() if key != "rows"}))
    return 0


def _warm_up() -> None:
    """The solver's import is not part of a plan's time: 0.1 s, once."""
    list(improve(sweep(10, 5, seed=0), Goal("cheapest")))


def _section(section: str, seeds: int) -> Iterator[Row]:
    for seed in range(1, seeds + 1):
        if section == "classes":
            yield from _deadlines(section, "1,000 x 400, 40 classes", sweep(1000, 400, seed=seed), seed)
        elif section == "distinct":
            problem = sweep(1000, 400, seed=seed, distinct=True)
            yield from _deadlines(section, "1,000 x 400, all distinct", problem, seed)
        elif section == "small":
            for runs in (10, 60, 300):
                yield from _deadlines(section, f"{runs} x 400", sweep(runs, 400, seed=seed), seed)
        elif section == "owned":
            for runs, gpus in ((60, 4), (60, 16), (300, 16), (300, 64), (1000, 64), (1000, 256)):
                yield _owned(f"owned, {runs} runs on {gpus} GPUs", owned(runs, gpus, seed=seed), seed)
            yield _owned("owned with gangs, 300 runs on 64 GPUs", owned(300, 64, seed=seed, gangs=True), seed)
        else:
            for name in TRACES:
                problem = like_trace(name, 1000, 400, seed=seed)
                yield from _deadlines(section, f"like {name}, 1,000 x 400", problem, seed)


def _deadlines(section: str, case: str, problem: Problem, seed: int) -> Iterator[Row]:
    tables = tables_of(problem)
    least_s = bound_makespan_s(tables, math.inf, Search(), at_most_s=horizon_s(tables))
    for factor in FACTORS:
        deadline_s = least_s * factor
        row = _planned(section, f"{case}, {factor:g} x", problem, Goal("cheapest", deadline_s=deadline_s), seed)
        others = [method(problem, deadline_s) for method in (longest_first, first_come_first_served)]
        yield _beside(row.row, others, row.solution.bound_cost_usd, cost=_cost_usd)


def _owned(case: str, problem: Problem, seed: int) -> Row:
    planned = _planned("owned", case, problem, Goal("fastest"), seed)
    others = [method(problem, math.inf) for method in (longest_first, first_come_first_served)]
    return _beside(planned.row, others, planned.solution.bound_makespan_s, cost=lambda fleet: fleet.end_s)


class _Planned(NamedTuple):
    row: Row
    solution: Solution


def _planned(section: str, case: str, problem: Problem, goal: Goal, seed: int) -> _Planned:
    started, cpu = time.perf_counter(), time.process_time()
    search = Search(
        keep_going=lambda: time.process_time() - cpu < LIMIT_S[section],
        effort=Effort(seconds=SOLVER_S),
        rounds=100_000,
    )
    first: Solution | None = None
    first_s, first_cpu_s, best = math.nan, math.nan, None
    for answer in improve(problem, goal, search=search):
        assert isinstance(answer, Solution), answer
        if first is None:
            first, first_s, first_cpu_s = answer, time.perf_counter() - started, time.process_time() - cpu
        best = answer
    assert best is not None
    assert first is not None
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    value, bound = _value(first, goal), best.bound_cost_usd if goal.kind == "cheapest" else best.bound_makespan_s
    row = Row(
        section,
        case,
        seed,
        first_s,
        first_cpu_s,
        wall_s,
        cpu_s,
        best.gap,
        value / bound - 1,
        math.nan,
        math.nan,
        best.method,
    )
    return _Planned(row, best)


def _value(solution: Solution, goal: Goal) -> float:
    return solution.cost_usd if goal.kind == "cheapest" else solution.makespan_s


def _beside(row: Row, others: list[Fleet | None], bound: float, *, cost: Callable[[Fleet], float]) -> Row:
    gaps = [math.nan if fleet is None else cost(fleet) / bound - 1 for fleet in others]
    return row._replace(longest_first_gap=gaps[0], queue_gap=gaps[1])


def _cost_usd(fleet: Fleet) -> float:
    return fleet.cost_usd + fleet.tables.extra_usd


def _by_case(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    for case in dict.fromkeys(row.case for row in rows):
        yield case, [row for row in rows if row.case == case]


def _summary(case: str, rows: Sequence[Row]) -> dict[str, object]:
    return {
        "case": case,
        "instances": len(rows),
        "proven_best": sum(row.method.startswith("optimal") for row in rows),
        **{name: _spread([getattr(row, name) for row in rows]) for name in SPREADS},
    }


SPREADS = ("first_s", "first_cpu_s", "wall_s", "cpu_s", "gap", "first_gap", "longest_first_gap", "queue_gap")


def _spread(values: list[float]) -> dict[str, float | int]:
    """Median, nearest-rank p90 and largest of those that are numbers, and how many are none."""
    known = sorted(value for value in values if math.isfinite(value))
    if not known:
        return {"missing": len(values)}
    p90 = known[math.ceil(0.9 * len(known)) - 1]
    return {
        "median": round(statistics.median(known), 4),
        "p90": round(p90, 4),
        "max": round(known[-1], 4),
        "missing": len(values) - len(known),
    }


def _print(rows: Sequence[Row]) -> None:
    heads = ("first s", "first cpu s", "seconds", "cpu s", "gap %", "list %", "LPT %", "FCFS %")
    print(f"{'median / p90 / max':<44}" + "".join(f"{head:>20}" for head in heads))
    for case, group in _by_case(rows):
        cells = [_cell([getattr(row, name) for row in group], 1 if name.endswith("_s") else 100) for name in SPREADS]
        print(f"{case:<44}" + "".join(f"{cell:>20}" for cell in cells), flush=True)


def _cell(values: list[float], scale: int) -> str:
    spread = _spread(values)
    if "median" not in spread:
        return "none"
    return " / ".join(f"{scale * spread[name]:.{2 if scale == 1 else 1}f}" for name in ("median", "p90", "max"))


def _plain(row: Row) -> dict[str, object]:
    rounded = {name: round(value, 5) if isinstance(value, float) else value for name, value in row._asdict().items()}
    return {name: None if value != value else value for name, value in rounded.items()}  # noqa: PLR0124  nan


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
