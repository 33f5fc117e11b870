"""How long the command line keeps people waiting: `--help`, `--version`, plans of 1,000 runs, a first market plan.

    python benchmarks/startup.py [--json FILE]

Prints a table and writes JSON (default benchmarks/results/startup.json). The bar: `--help` under 100 ms, the plan
under a second, the first of the market's plans on the screen 300 ms after its problem is ready. Times are wall-clock,
the smallest and the median of several fresh processes; of the first market plan the whole process too, and what of it
is Python and its imports, the spec, the offers and the estimates.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from gpuplan.expand import expand
from gpuplan.place.improve import improve
from gpuplan.place.market import market_of
from gpuplan.place.problem import Goal
from gpuplan.place.search import Search
from gpuplan.spec import load
from gpuplan.world import capture
from gpuplan.world.asked import Asked
from gpuplan.world.market import with_offers

RESULTS = Path(__file__).parent / "results" / "startup.json"
SPEC = """
name: thousand
command: python train.py --lr {lr} --width {width} --seed {seed}
settings: {batch: 32, rows: 10000, epochs: 2, sequence: 128}
vary: {lr: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], width: [64, 128, 256, 512, 1024]}
seeds: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]
roles: {batch: batch, train_rows: rows, epochs: epochs, sequence: sequence}
footprint:
  model: {kind: encoder, layers: 4, d_model: width, heads: 8, feedforward: 1024, vocabulary: 20000, classes: 4}
"""
MARKET = (
    SPEC.replace("[64, 128, 256, 512, 1024]", str([64 * number for number in range(1, 21)]))
    .replace("seeds: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]", "seeds: [1, 2, 3, 4, 5]")
    .replace("epochs: 2, sequence", "epochs: 900, sequence")
)
"""1,000 runs in 20 classes; `gpuplan price` asks every place."""


class Timing(NamedTuple):
    """Seconds of one command over several processes."""

    what: str
    smallest_s: float
    median_s: float
    repeats: int
    bar_s: float


def timing(what: str, words: list[str], *, repeats: int, bar_s: float, cwd: Path) -> Timing:
    """Run `gpuplan WORDS` several times; the first, which fills caches, does not count."""
    command = [str(Path(sys.executable).with_name("gpuplan")), *words]
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
    return _timing(what, seconds, repeats=repeats, bar_s=bar_s)


def first_market_plan(*, repeats: int, cwd: Path) -> list[Timing]:
    """Until the list scheduler's plan is on stderr: from the start of the process, and from the problem being ready."""
    command = [str(Path(sys.executable).with_name("gpuplan")), "price", "market.yaml"]
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        with subprocess.Popen(
            command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            line = process.stderr.readline()
            seconds.append(time.perf_counter() - started)
            process.terminate()
            process.stderr.read()
        assert line.endswith("first plan\n"), line
    search_s = [_search_s(cwd / "market.yaml") for _ in range(repeats + 1)]
    return [
        _timing("first market plan, from the problem", search_s, repeats=repeats, bar_s=0.3),
        _timing("first market plan, from the start", seconds, repeats=repeats, bar_s=1.5),
    ]


def _search_s(path: Path) -> float:
    """Seconds from the problem to its first plan, with all offers that are shipped."""
    spec = load(str(path), ())
    runs = expand(spec.experiment)
    seen = capture(spec, runs, state=path.parent / ".gpuplan", store=None)
    world = with_offers(seen, spec.experiment, Asked(anywhere=True, cache=path.parent))
    market = market_of(spec.experiment, runs, world.offers, world=world, search=Search())
    problem = market.stages[0].needs.problem
    started = time.perf_counter()
    next(improve(problem, Goal("cheapest")))
    return time.perf_counter() - started


def _timing(what: str, seconds: list[float], *, repeats: int, bar_s: float) -> Timing:
    return Timing(what, min(seconds[1:]), statistics.median(seconds[1:]), repeats, bar_s)


def main(arguments: list[str]) -> int:
    """Measure, print, write."""
    output = Path(arguments[arguments.index("--json") + 1]) if "--json" in arguments else RESULTS
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "experiment.yaml").write_text(SPEC)
        (home / "market.yaml").write_text(MARKET)
        (home / "train.py").write_text("print('a trainer')\n")
        timings = [
            timing("gpuplan --help", ["--help"], repeats=20, bar_s=0.1, cwd=home),
            timing("gpuplan --version", ["--version"], repeats=20, bar_s=0.1, cwd=home),
            timing("gpuplan plan, 1,000 runs", ["plan"], repeats=5, bar_s=1.0, cwd=home),
            timing("gpuplan plan --json, 1,000 runs", ["plan", "--json"], repeats=5, bar_s=1.0, cwd=home),
            *first_market_plan(repeats=5, cwd=home),
        ]
    for found in timings:
        verdict = "ok" if found.median_s <= found.bar_s else "OVER"
        print(
            f"{found.what:<34} {found.smallest_s * 1000:7.0f} ms smallest {found.median_s * 1000:7.0f} ms median "
            f"of {found.repeats}   bar {found.bar_s * 1000:.0f} ms  {verdict}"
        )
    answer = {
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "timings": [found._asdict() for found in timings],
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(answer, indent=2) + "\n")
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
