"""`--cautious` on this machine: p90 durations decide who goes first and where, and the plan says so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from test_place import Job, placed

SPEC = """
name: tiny
command: python train.py --lr {lr}
vary: {lr: [0.1, 0.2]}
environment: {python: PYTHON}
"""
SAYS = "planned with p90 durations, not with medians (--cautious)"


def test_the_run_that_may_take_longest_goes_first() -> None:
    jobs = [Job(30, spread=2), Job(25, spread=4), Job(20, spread=2)]
    assert [one.run for one in placed(jobs, 1).placements] == ["run0", "run1", "run2"]
    assert [one.run for one in placed(jobs, 1, cautious=True).placements] == ["run1", "run0", "run2"]


def test_a_device_is_free_when_it_is_so_with_nine_in_ten() -> None:
    jobs = [Job(30, spread=1), Job(29, spread=2), Job(10, spread=1)]
    usual, cautious = (placed(jobs, 2, cautious=cautious) for cautious in (False, True))
    assert {one.run: one.devices for one in usual.placements}["run2"] == (1,)
    last = {one.run: one.devices for one in cautious.placements}
    assert last["run2"] == last["run0"]
    assert cautious.totals.makespan_s.p90 < usual.totals.makespan_s.p90


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(1, 1000), st.floats(1, 9)), min_size=1, max_size=8), st.integers(1, 3))
def test_by_the_durations_that_it_plans_with_it_is_as_good_as_any_plan_by_its_own(
    given_jobs: list[tuple[float, float]], devices: int
) -> None:
    cautious = placed([Job(seconds, spread=spread) for seconds, spread in given_jobs], devices, cautious=True)
    slow = placed([Job(seconds * spread, spread=1) for seconds, spread in given_jobs], devices)
    assert abs(cautious.totals.makespan_s.p90 - slow.totals.makespan_s.p50) <= 1e-6 * slow.totals.makespan_s.p50


def gpuplan(folder: Path, *words: str) -> str:
    command = [str(Path(sys.executable).with_name("gpuplan")), *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def test_the_option_is_said_in_the_plan_and_kept_in_its_file(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import sys\nprint(sys.argv)\n")
    (tmp_path / "experiment.yaml").write_text(SPEC.replace("PYTHON", sys.executable))
    assert SAYS not in " ".join(gpuplan(tmp_path, "plan").split())
    assert SAYS in " ".join(gpuplan(tmp_path, "plan", "--cautious", "-o", "plan.json").split())
    plan: dict[str, Any] = json.loads((tmp_path / "plan.json").read_text())
    assert plan["cautious"]
    assert any(SAYS in one["text"] for one in plan["assumptions"])
    assert "2 of 2 runs finished" in gpuplan(tmp_path, "apply", "plan.json", "-q")
