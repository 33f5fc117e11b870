"""One short probe of the AG News trainer on the CPU, and all else predicted from it: `agnews_cpu.py [--json OUT]`.

Probes one size at one batch on one rank, plans other batches, other sizes and two ranks, runs them all, and holds the
plan against what they took. Nothing else may run on the machine meanwhile. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLES = Path(__file__).parents[1] / "examples"
RESULTS = Path(__file__).parent / "results" / "agnews_cpu.json"
BASE = {"d_model": 64, "batch_size": 32, "ranks": 1}
SPEC = """
name: one-probe
workload: agnews
settings:
  {data: rows.csv, train_rows: 3200, eval_rows: 200, vocabulary: 10000, sequence: 48, learning_rate: 4e-3,
   warmup_steps: 10, epochs: 2, layers: 1}
zip: {d_model: [64, 128, 192], feedforward: [128, 256, 384]}
vary: {batch_size: [16, 32, 64], ranks: [1, 2]}
compute: {threads: 1}
"""


class Compared(NamedTuple):
    """The step time of one run: what differs from the probed one, what was predicted, what it took."""

    what: str
    point: dict[str, int]
    predicted_s: float
    measured_s: float
    inside: bool

    @property
    def error_pct(self) -> float:
        """Of the measured time; positive where too much was predicted."""
        return 100 * (self.predicted_s - self.measured_s) / self.measured_s


def main(arguments: Sequence[str] | None = None) -> int:
    """Probe, plan, run, compare, print and write."""
    parser = argparse.ArgumentParser(description="Predict the AG News trainer from one probe.")
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, str(EXAMPLES / "make_docstrings.py"), str(folder / "rows.csv")], check=True)
        (folder / "experiment.yaml").write_text(SPEC, "utf-8")
        gpuplan(folder, "probe", "--seconds", "6", "-q")
        plan = json.loads(gpuplan(folder, "plan", "--json"))
        gpuplan(folder, "apply", "-y")
        report = json.loads(gpuplan(folder, "report", "--json"))
    found = compared(plan, report)
    for one in found:
        print(f"{one.what:24}{one.point!s:50} {one.predicted_s * 1e3:7.2f} ms of {one.measured_s * 1e3:7.2f} "
              f"{one.error_pct:+6.1f} % {'inside' if one.inside else ''}")  # fmt: skip
    answer = {"load_before": load_before, **summary(found)}
    options.json.write_text(json.dumps({**answer, "runs": [one._asdict() for one in found]}, indent=2) + "\n", "utf-8")
    print(json.dumps(answer))
    return 0


def _only_base() -> list[str]:
    """The probe's spec: the one point that is measured."""
    return ["--set", "zip.d_model=[64]", "--set", "zip.feedforward=[128]", "--set", "vary.batch_size=[32]",
            "--set", "vary.ranks=[1]"]  # fmt: skip


def gpuplan(folder: Path, *words: str) -> str:
    """One command in `folder`; its output."""
    done = subprocess.run(
        [sys.executable, "-m", "gpuplan", *words], cwd=folder, check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise SystemExit(f"gpuplan {' '.join(words)}: {done.stderr[-2000:]}")
    return done.stdout


def compared(plan: dict[str, Any], report: dict[str, Any]) -> list[Compared]:
    """Every run's step time beside its prediction."""
    points = {run["name"]: run["settings"] | {"ranks": run["ranks"]} for run in plan["runs"]}
    found = []
    for row in report["predictions"]:
        if row["quantity"] == "step_s":
            point = {name: points[row["run"]][name] for name in BASE}
            found.append(Compared(_what(point), point, row["predicted"], row["measured"], row["inside"]))
    return sorted(found, key=lambda one: one.what)


def _what(point: dict[str, int]) -> str:
    words = {"batch_size": "other batch", "d_model": "other size", "ranks": "two ranks"}
    differs = [words[name] for name in BASE if point[name] != BASE[name]]
    return ", ".join(differs) or "as probed"


def summary(found: Sequence[Compared]) -> dict[str, Any]:
    """Errors on one rank and on two, without the probed run itself."""
    one = [abs(run.error_pct) for run in found if run.point["ranks"] == 1 and run.what != "as probed"]
    two = [abs(run.error_pct) for run in found if run.point["ranks"] == 2]
    return {
        "one_rank": {
            "runs": len(one),
            "median_abs_pct": round(statistics.median(one), 1),
            "worst_pct": round(max(one), 1),
        },
        "two_ranks": {
            "runs": len(two),
            "median_abs_pct": round(statistics.median(two), 1),
            "worst_pct": round(max(two), 1),
        },
        "coverage": round(sum(run.inside for run in found) / len(found), 3),
    }


if __name__ == "__main__":
    sys.exit(main())
