"""What a plan's intervals are worth: plans made with predicted times, played with the times that were measured.

    python benchmarks/market_replay.py time_single.csv [--sweeps N] [--failed SHARES] [--hold-out WHAT] [--json FILE]

A sweep is some models of one family, at one precision and with a log each on one GPU, planned on the shipped offers of
some of the other GPUs that they were measured on. Their times there are predicted with the model (or its family, or
the chip) held out of every constant: one log on another GPU, as in `accuracy.py time`; the widths know nothing of the
model. `correlation` is that of the errors of two models on one pair of GPUs. Then the plan is played with the measured
times, and with what goes wrong: so many of the attempts end badly, at a random share of their time, and begin again;
spot machines are taken away at their stated or assumed rate, every second sweep goes on from a checkpoint then, the
others' runs begin again. That is simulated here, event by event, by other code and other chance than the plan's own
draws in place/luck.py. The p10 and p90 of bill and makespan are those of place/money.py, once with the share of
failures and once without; it never knows the residuals.
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
from gpuplan.place.rentable import spot_of
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
CHECKPOINT_S = 1800
AWAY_H = (0.8, 3.6)
"""How long a spot machine is away: the mean down-times of public traces (placement.md, section 6)."""
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
    """What is planned, and by how much longer than planned each class takes on each GPU."""

    sheet: Sheet
    needs: Needs
    stretch: Mapping[tuple[str, str], float]


class Interval(NamedTuple):
    """What was foretold of a figure, and what it was."""

    p10: float
    p50: float
    p90: float
    came: float


class Played(NamedTuple):
    """One replay: what the plan was, what it was told, and what came of the bill and of the time."""

    family: str
    goal: str
    machines: str
    failed: float
    told: bool
    exact: bool
    bill_usd: Interval
    makespan_s: Interval


def main(arguments: Sequence[str]) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="see the module's docstring")
    parser.add_argument("files", type=Path, nargs="+", help="columns of time_single.csv")
    parser.add_argument("--sweeps", type=int, default=280)
    parser.add_argument("--failed", default="0,0.05,0.1", help="shares of the attempts that end badly")
    parser.add_argument("--hold-out", choices=HOLD_OUTS, default="model", help="of every constant")
    parser.add_argument("--json", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    sheets = sheets_of(read_time_rows(chosen.files).rows, chosen.hold_out)
    shares = [float(share) for share in chosen.failed.split(",")]
    rows = [row for seed in range(chosen.sweeps) for row in _sweep_rows(sheets, seed, shares)]
    answer = {
        "sweeps": chosen.sweeps,
        "sheets": len(sheets),
        "hold_out": chosen.hold_out,
        "correlation": round(correlation(sheets), 3),
        **{name: _summary(group) | {"by": _parts(group)} for name, group in _by(rows, _asked)},
    }
    _print(answer)
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_text(json.dumps(answer, indent=1) + "\n")
    print(json.dumps(answer))
    return 0


def sheets_of(rows: Sequence[TimeRow], held_out: str = "model") -> list[Sheet]:
    """All forecasts with something held out, where at least two models share the GPU of their logs."""
    pairs = pairs_of(rows)
    hold_out = HOLD_OUTS[held_out]
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


def correlation(sheets: Sequence[Sheet]) -> float:
    """Of the errors of two models of one family, from one GPU to another: the mean product over the mean square."""
    products = squares = 0.0
    for sheet in sheets:
        for gpu in sorted({gpu for by_gpu in sheet.models.values() for gpu in by_gpu}):
            found = [by_gpu[gpu] for by_gpu in sheet.models.values() if gpu in by_gpu]
            errors = [one.measured - one.predicted for one in found]
            if len(errors) > 1:
                square = math.fsum(error**2 for error in errors)
                products += (math.fsum(errors) ** 2 - square) / (len(errors) - 1)
                squares += square
    return products / squares


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


def _sweep_rows(sheets: Sequence[Sheet], seed: int, shares: Sequence[float]) -> Iterator[Played]:
    dice = random.Random(seed)
    sweep = _sweep(dice.choice(sheets), dice, resumes=bool(seed % 2))
    if sweep is None:
        return
    quickest = _planned(sweep, Goal("fastest"))
    for goal in (Goal("cheapest"), Goal("cheapest", deadline_s=FACTOR * quickest.makespan_s)):
        solution = _planned(sweep, goal)
        for failed in shares:
            yield from _plays(sweep, goal, solution, failed, dice)


def _sweep(sheet: Sheet, dice: random.Random, *, resumes: bool) -> Sweep | None:
    """Some of the models, some of the GPUs that all of them were measured on; None where none of those is offered."""
    models = dice.sample(sorted(sheet.models), dice.randint(MODELS[0], min(MODELS[1], len(sheet.models))))
    world = _world()
    offered = {offer.gpu for offer in world.offers}
    common = sorted(set.intersection(*(set(sheet.models[model]) for model in models)) & offered)
    if not common:
        return None
    kinds = dice.sample(common, min(len(common), dice.randint(*GPUS)))
    points = [{"model": model, "copy": copy} for model in models for copy in range(dice.randint(*COUNTS))]
    checkpoint = {"every": f"{CHECKPOINT_S} s", "resume": "--resume"} if resumes else {}
    experiment = Experiment.model_validate(
        {"name": "s", "command": "train {model} {copy}", "points": points, "checkpoint": checkpoint}
    )
    works = tuple(_works(experiment, sheet, kinds, world, dice))
    needs = needs_of(works, experiment, [one for one in world.offers if one.gpu in kinds], world=world)
    stretch = {
        (work.first.name, gpu): math.exp(forecast.measured - forecast.predicted)
        for work in works
        for gpu in kinds
        for forecast in [sheet.models[str(work.first.settings["model"])][gpu]]
    }
    return Sweep(sheet, needs, stretch)


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


class Fate:
    """What befalls the machines of one replay: attempts that fail, spot machines that are taken away."""

    def __init__(self, sweep: Sweep, failed: float, dice: random.Random) -> None:
        self.sweep, self.failed, self.dice = sweep, failed, dice
        self.taken_s: dict[tuple[str, int], list[float]] = {}

    def seconds(self, machine: Rented, one: Assignment) -> float:
        """How long an assignment takes when nothing goes wrong."""
        planned_s = (one.end_s - one.start_s) / machine.offer.pace
        return planned_s * self.sweep.stretch[one.job, machine.offer.gpu]

    def lost(self, machine: Rented, one: Assignment, start_s: int) -> float:
        """What failed attempts and interruptions add to an assignment."""
        length_s = self.seconds(machine, one)
        now_s = float(start_s)
        while self.dice.random() < self.failed:
            now_s = self.through(machine, now_s, self.dice.random() * length_s)
        return self.through(machine, now_s, length_s) - start_s - length_s

    def through(self, machine: Rented, now_s: float, left_s: float) -> float:
        """When so much work is done on a machine that is taken away at times."""
        needs = self.sweep.needs
        spot = spot_of(needs.offers[machine.offer.offer], needs.load)
        if spot is None or not spot.per_h:
            return now_s + left_s
        setup_s, kept_every_s = machine.offer.setup_s, CHECKPOINT_S if needs.load.resumes else math.inf
        while True:
            taken_s = next(moment for moment in self.moments(machine, spot.per_h, now_s) if moment >= now_s)
            if now_s + left_s <= taken_s:
                return now_s + left_s
            done_s = taken_s - now_s
            left_s -= done_s - math.fmod(done_s, kept_every_s)
            now_s = taken_s + setup_s

    def moments(self, machine: Rented, per_h: float, until_s: float) -> list[float]:
        """When a machine is taken away, until one is later; on the clock of the time that it is there."""
        start_s = machine.offer.wait_s + machine.offer.setup_s
        taken_s = self.taken_s.setdefault((machine.offer.offer, machine.index), [])
        while not taken_s or taken_s[-1] < until_s:
            begin_s = taken_s[-1] + machine.offer.setup_s if taken_s else start_s
            taken_s.append(begin_s + self.dice.expovariate(per_h / HOUR_S))
        return taken_s

    def end_s(self, machine: Rented) -> float:
        """When its last run ends, with the time in which it was away."""
        taken_s = self.taken_s.get((machine.offer.offer, machine.index), [])
        away = sum(moment < machine.end_s for moment in taken_s)
        return machine.end_s + math.fsum(self.dice.uniform(*AWAY_H) * HOUR_S for _ in range(away))


def _plays(sweep: Sweep, goal: Goal, solution: Solution, failed: float, dice: random.Random) -> Iterator[Played]:
    solved = Solved(None, sweep.needs, solution)
    problem = sweep.needs.problem
    as_planned = replay(solution, problem).cost_usd
    kind = "deadline" if math.isfinite(goal.deadline_s) else "cheapest"
    machines = "some on spot" if any(one.offer.spot for one in solution.machines) else "none on spot"
    foretold = {
        told: priced([solved], failed=failed if told else 0.0) for told in ((True, False) if failed else (True,))
    }
    exact = as_planned == _cents(priced([solved]).bill.total_usd.p50 - data_usd([solved]))
    for _ in range(REPLAYS):
        fate = Fate(sweep, failed, dice)
        really = replay(solution, problem, seconds=fate.seconds, lost=fate.lost)
        beside_usd = data_usd([solved._replace(solution=replace(solution, machines=really.machines))])
        end_s = max(map(fate.end_s, really.machines))
        for told, one in foretold.items():
            bill = _interval(one.bill.total_usd, float(really.cost_usd) + beside_usd)
            taken = _interval(one.makespan_s, end_s)
            yield Played(sweep.sheet.family, kind, machines, failed, told, exact, bill, taken)


def _interval(foretold: Quantity, came: float) -> Interval:
    return Interval(foretold.p10, foretold.p50, foretold.p90, came)


def _cents(amount_usd: float) -> Decimal:
    """To the cent, halves up, without what floating point leaves."""
    return in_cents(Fraction(str(round(amount_usd, 9))))


def _by(rows: Sequence[Played], key: Callable[[Played], str]) -> Iterator[tuple[str, list[Played]]]:
    for name in sorted({key(row) for row in rows}):
        yield name, [row for row in rows if key(row) == name]


def _asked(row: Played) -> str:
    return f"{row.failed:.2f} fail{'' if row.told else ', not told'}"


def _parts(rows: Sequence[Played]) -> dict[str, Any]:
    keys: tuple[Callable[[Played], str], ...] = (
        lambda row: row.family,
        lambda row: row.goal,
        lambda row: row.machines,
    )
    return {name: _summary(group) for key in keys for name, group in _by(rows, key)}


def _summary(rows: Sequence[Played]) -> dict[str, Any]:
    return {
        "replays": len(rows),
        "exact_to_the_cent": round(statistics.fmean(row.exact for row in rows), 4),
        "bill": _coverage([row.bill_usd for row in rows]),
        "makespan": _coverage([row.makespan_s for row in rows]),
    }


def _coverage(intervals: Sequence[Interval]) -> dict[str, float]:
    below = statistics.fmean(one.came < one.p10 for one in intervals)
    above = statistics.fmean(one.came > one.p90 for one in intervals)
    return {
        "coverage": round(1 - below - above, 3),
        "below": round(below, 3),
        "above": round(above, 3),
        "under_p50": round(statistics.fmean(one.came <= one.p50 for one in intervals), 3),
        "median_p90_over_p10": round(statistics.median(one.p90 / one.p10 for one in intervals), 3),
    }


def _print(answer: dict[str, Any]) -> None:
    heads = ("coverage", "below", "above", "under_p50", "median_p90_over_p10")
    print(f"{'':40}{'replays':>8}" + "".join(f"{head[:9]:>10}" for _ in range(2) for head in heads))
    for asked, whole in answer.items():
        if isinstance(whole, dict):
            for name, group in ((asked, whole), *((f"  {part}", each) for part, each in whole["by"].items())):
                figures = [group[what][head] for what in ("bill", "makespan") for head in heads]
                print(f"{name:40}{group['replays']:>8}" + "".join(f"{figure:>10}" for figure in figures))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
