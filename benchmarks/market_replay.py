"""What a bill's interval is worth: plans made with predicted times, played with the times that were measured.

    python benchmarks/market_replay.py time_single.csv [--sweeps N] [--failed SHARE] [--json FILE]

A sweep is some models of one family, at one precision and with a log each on one GPU, planned on the shipped offers of
some of the other GPUs that they were measured on. Their times there are predicted with the model held out of every
constant, and so are the widths: one log on another GPU, as in `accuracy.py time`. Then the plan is played with the
measured times, and with failures: so many of the runs end badly, at a random share of their time, and begin again. The
bill's p10 and p90 are those of place/money.py, which knows the share of failures and no residual.
Prints a table and writes JSON (default benchmarks/results/market_replay.json), last line included.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
from collections import defaultdict
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from time_rows import pairs_of, read_time_rows
from time_tasks import HOLD_OUTS, ours, residuals

from gpuplan.data import gpus
from gpuplan.data.derates import shipped_tables
from gpuplan.estimate import estimate
from gpuplan.estimate.refit import fitted_widths
from gpuplan.estimate.transfer import residual_scale
from gpuplan.expand import expand
from gpuplan.model import Compute, Device, Experiment, Machine, Quantity, World
from gpuplan.offers import offers
from gpuplan.offers.snapshot import Snapshot
from gpuplan.place.bill import in_cents
from gpuplan.place.improve import plan
from gpuplan.place.money import Solved, data_usd, priced
from gpuplan.place.needs import Work, needs_of
from gpuplan.place.problem import Goal, Solution
from gpuplan.place.replay import replay
from gpuplan.place.search import Search

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from decimal import Decimal

    from time_rows import Pair, TimeRow

    from gpuplan.estimate.refit import Residual
    from gpuplan.place.needs import Needs
    from gpuplan.place.problem import Assignment, Rented

RESULTS = Path(__file__).parent / "results" / "market_replay.json"
TODAY = "2026-11-20"
MODELS = (2, 8)
GPUS = (2, 4)
COUNTS = (1, 40)
HOURS = (0.25, 6.0)
FACTOR = 2.5
"""Of the fastest plan's time: the deadline of every sweep's second plan."""
REPLAYS = 2
"""Of each plan, which differ in the failures."""
HOUR_S = 3600


class Forecast(NamedTuple):
    """Of one model, the log of its time on another GPU over that where its log is from: predicted and measured."""

    predicted: float
    measured: float
    width: float


class Sheet(NamedTuple):
    """Everything that is forecast from the logs of one family on one GPU at one precision: by model and GPU."""

    family: str
    source: str
    models: Mapping[str, Mapping[str, Forecast]]


class Sweep(NamedTuple):
    """What is planned, by how much longer than planned each class takes on each GPU, and how often attempts fail."""

    sheet: Sheet
    needs: Needs
    stretch: Mapping[tuple[str, str], float]
    failed: float


class Played(NamedTuple):
    """One replay: the family, what was foretold of the bill, what it was, and the same of the time."""

    family: str
    goal: str
    low_usd: float
    high_usd: float
    bill_usd: float
    exact: bool
    in_time: bool

    @property
    def covered(self) -> bool:
        """Whether the bill is within its interval."""
        return self.low_usd <= self.bill_usd <= self.high_usd


def main(arguments: Sequence[str]) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="see the module's docstring")
    parser.add_argument("files", type=Path, nargs="+", help="columns of time_single.csv")
    parser.add_argument("--sweeps", type=int, default=280)
    parser.add_argument("--failed", type=float, default=0.1, help="share of the attempts that end badly")
    parser.add_argument("--json", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    sheets = sheets_of(read_time_rows(chosen.files).rows)
    rows = [row for seed in range(chosen.sweeps) for row in _sweep_rows(sheets, random.Random(seed), chosen.failed)]
    answer = _summary(rows) | {
        "failed": chosen.failed,
        "sweeps": chosen.sweeps,
        "sheets": len(sheets),
        "by_family": {name: _summary(group) for name, group in _by(rows, lambda row: row.family)},
        "by_goal": {name: _summary(group) for name, group in _by(rows, lambda row: row.goal)},
    }
    _print(answer)
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_text(json.dumps(answer, indent=1) + "\n")
    print(json.dumps(answer))
    return 0


def sheets_of(rows: Sequence[TimeRow]) -> list[Sheet]:
    """All forecasts with the model held out, where at least two models share the GPU of their logs."""
    pairs = pairs_of(rows)
    hold_out = HOLD_OUTS["model"]
    scored = ours(pairs, rows, hold_out, shipped_tables())
    left = residuals(pairs, rows, hold_out)
    widths = _widths(pairs, left)
    sheets: dict[tuple[str, str, str], dict[str, dict[str, Forecast]]] = defaultdict(lambda: defaultdict(dict))
    for pair, one, residual in zip(pairs, scored, left, strict=True):
        if one.error_pct is None:
            continue
        source, target = pair.source, pair.target
        predicted = pair.log_ratio + math.log1p(one.error_pct / 100)
        width = _width(widths[source.sample.model], residual) * residual_scale(source.sample.chip, target.sample.chip)
        of_model = sheets[source.family, source.gpu.name, source.level][source.sample.model]
        of_model.setdefault(target.gpu.name, Forecast(predicted, pair.log_ratio, width))
    return [Sheet(key[0], key[1], models) for key, models in sorted(sheets.items()) if len(models) >= MODELS[0]]


def _widths(pairs: Sequence[Pair], left: Sequence[Residual]) -> dict[str, dict[tuple[str, bool], float]]:
    """For each model, widths fitted on the errors of all the others."""
    models = [pair.source.sample.model for pair in pairs]
    return {
        model: fitted_widths([one for other, one in zip(models, left, strict=True) if other != model])
        for model in set(models)
    }


def _width(widths: Mapping[tuple[str, bool], float], residual: Residual) -> float:
    tables = replace(shipped_tables(), widths=dict(widths))
    return tables.width(residual.regime, measured=residual.measured)


def _sweep_rows(sheets: Sequence[Sheet], dice: random.Random, failed: float) -> Iterator[Played]:
    sweep = _sweep(dice.choice(sheets), dice, failed)
    if sweep is None:
        return
    quickest = _planned(sweep, Goal("fastest"))
    for goal in (Goal("cheapest"), Goal("cheapest", deadline_s=FACTOR * quickest.makespan_s)):
        solution = _planned(sweep, goal)
        for _ in range(REPLAYS):
            yield _play(sweep, goal, solution, dice)


def _sweep(sheet: Sheet, dice: random.Random, failed: float) -> Sweep | None:
    """Some of the models, some of the GPUs that all of them were measured on; None where none of those is offered."""
    models = dice.sample(sorted(sheet.models), dice.randint(MODELS[0], min(MODELS[1], len(sheet.models))))
    world = _world()
    offered = {offer.gpu for offer in world.offers}
    common = sorted(set.intersection(*(set(sheet.models[model]) for model in models)) & offered)
    if not common:
        return None
    kinds = dice.sample(common, min(len(common), dice.randint(*GPUS)))
    points = [{"model": model, "copy": copy} for model in models for copy in range(dice.randint(*COUNTS))]
    experiment = Experiment.model_validate({"name": "s", "command": "train {model} {copy}", "points": points})
    works = tuple(_works(experiment, sheet, kinds, world, dice))
    needs = needs_of(works, experiment, [one for one in world.offers if one.gpu in kinds], world=world)
    stretch = {
        (work.first.name, gpu): math.exp(forecast.measured - forecast.predicted)
        for work in works
        for gpu in kinds
        for forecast in [sheet.models[str(work.first.settings["model"])][gpu]]
    }
    return Sweep(sheet, needs, stretch, failed)


def _world() -> World:
    devices = (Device(index=0, gpu="RTX 4090", memory_bytes=24 * 10**9),)
    machine = Machine(cpu="EPYC", cores=8, memory_bytes=64 * 10**9, devices=devices)
    offered = offers(Compute(), Snapshot(), today=TODAY).offers
    return World(today=TODAY, machine=machine, gpus=gpus(), offers=offered)


def _works(
    experiment: Experiment, sheet: Sheet, kinds: Sequence[str], world: World, dice: random.Random
) -> Iterator[Work]:
    """One class a model, each of its runs as long as its logs' would have been times the forecast."""
    runs = expand(experiment)
    for model in dict.fromkeys(str(run.settings["model"]) for run in runs):
        mine = tuple(run for run in runs if run.settings["model"] == model)
        log_s = math.log(math.exp(dice.uniform(*map(math.log, HOURS))) * HOUR_S)
        estimates = {}
        for gpu in kinds:
            usual = estimate(mine[0], experiment, world.gpus[gpu], world)
            duration_s = _duration(log_s, sheet.models[model][gpu])
            estimates[gpu] = usual.model_copy(update={"duration_s": duration_s})
        yield Work(runs=mine, estimates=estimates, busy={}, reckoned={}, checkpoint_bytes=0.0)


def _duration(log_s: float, forecast: Forecast) -> Quantity:
    low, middle, high = (math.exp(log_s + forecast.predicted + way * forecast.width) for way in (-1, 0, 1))
    return Quantity(p10=low, p50=middle, p90=high, source="scaled", because="one log on another GPU")


def _planned(sweep: Sweep, goal: Goal) -> Solution:
    answer = plan(sweep.needs.problem, goal, search=Search(rounds=0))
    assert isinstance(answer, Solution), answer
    return answer


def _play(sweep: Sweep, goal: Goal, solution: Solution, dice: random.Random) -> Played:
    solved = Solved(None, sweep.needs, solution)
    foretold = priced([solved], failed=sweep.failed)
    total = foretold.bill.total_usd

    def seconds(machine: Rented, one: Assignment) -> float:
        return (one.end_s - one.start_s) * sweep.stretch[one.job, machine.offer.gpu]

    def lost(machine: Rented, one: Assignment) -> float:
        attempts_s = 0.0
        while dice.random() < sweep.failed:
            attempts_s += dice.random() * seconds(machine, one)
        return attempts_s

    problem = sweep.needs.problem
    really = replay(solution, problem, seconds=seconds, lost=lost)
    beside_usd = data_usd([solved._replace(solution=replace(solution, machines=really.machines))])
    bill_usd = float(really.cost_usd) + beside_usd
    as_planned = replay(solution, problem).cost_usd
    kind = "deadline" if math.isfinite(goal.deadline_s) else "cheapest"
    exact = as_planned == _cents(priced([solved]).bill.total_usd.p50 - data_usd([solved]))
    in_time = foretold.makespan_s.p10 <= really.makespan_s <= foretold.makespan_s.p90
    return Played(sweep.sheet.family, kind, total.p10, total.p90, bill_usd, exact, in_time)


def _cents(amount_usd: float) -> Decimal:
    """To the cent, halves up, without what floating point leaves."""
    return in_cents(Fraction(str(round(amount_usd, 9))))


def _by(rows: Sequence[Played], key: Callable[[Played], str]) -> Iterator[tuple[str, list[Played]]]:
    for name in sorted({key(row) for row in rows}):
        yield name, [row for row in rows if key(row) == name]


def _summary(rows: Sequence[Played]) -> dict[str, Any]:
    return {
        "replays": len(rows),
        "coverage": round(statistics.fmean(row.covered for row in rows), 3),
        "exact_to_the_cent": round(statistics.fmean(row.exact for row in rows), 4),
        "below": round(statistics.fmean(row.bill_usd < row.low_usd for row in rows), 3),
        "above": round(statistics.fmean(row.bill_usd > row.high_usd for row in rows), 3),
        "median_p90_over_p10": round(statistics.median(row.high_usd / row.low_usd for row in rows), 3),
        "makespan_coverage": round(statistics.fmean(row.in_time for row in rows), 3),
    }


def _print(answer: dict[str, Any]) -> None:
    heads = ("replays", "coverage", "below", "above", "median_p90_over_p10", "makespan_coverage", "exact_to_the_cent")
    print(f"{'':26}" + "".join(f"{head:>21}" for head in heads))
    groups = {"all": answer, **answer["by_family"], **answer["by_goal"]}
    for name, group in groups.items():
        print(f"{name:26}" + "".join(f"{group[head]:>21}" for head in heads))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
