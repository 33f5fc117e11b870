from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import workbench
from workbench import plan, run

from gpuplan.store import Store

if TYPE_CHECKING:
    from gpuplan.model import Plan

RUNS = 30
KILLS = 20
SEED = 20261120


def test_a_gpuplan_that_is_killed_at_random_loses_and_duplicates_nothing(tmp_path: Path) -> None:
    """20 moments of a sweep of 30 runs; the runs write down themselves when they begin and end."""
    chance = random.Random(SEED)
    made = sweep(tmp_path, chance)
    (tmp_path / "plan.json").write_text(made.model_dump_json(by_alias=True))
    for _ in range(KILLS):
        driver = start_driver(tmp_path)
        kill_at_random(driver, chance)
    last = start_driver(tmp_path)
    assert last.communicate(timeout=workbench.LONG_S)[1] == b""
    assert last.returncode == 0
    lines = (tmp_path / "witness").read_text().splitlines()
    assert_each_ran_once(lines)
    for device in (0, 1):
        names = {one.run for one in made.placements if one.devices == (device,)}
        assert_one_after_the_other([line for line in lines if line.split()[0] in names])
    with Store(tmp_path / "state" / "store.db") as store:
        records = store.records("sweep")
        assert {one.run.name: one.state for one in records} == dict.fromkeys(
            (one.name for one in made.runs), "finished"
        )
        assert all(one.ending and one.ending.exit_code == 0 for one in records)
        ended = [attempt for one in records for attempt in store.attempts("sweep", one.run.name) if attempt.outcome]
        assert len(ended) == RUNS


def sweep(base: Path, chance: random.Random) -> Plan:
    """Most runs on one device, and longer than a gpuplan lives, so that it is killed 20 times before they are through."""
    witness = 'echo "$GPUPLAN_RUN $$ begin" >> witness; sleep {}; echo "$GPUPLAN_RUN $$ end" >> witness'
    runs = [
        run(f"r{number}", f"sh -c '{witness.format(round(chance.uniform(0.35, 0.5), 3))}'") for number in range(RUNS)
    ]
    devices = {one.name: (1,) if number % 6 == 5 else (0,) for number, one in enumerate(runs)}
    return plan(base, runs, devices=devices)


def start_driver(base: Path) -> subprocess.Popen[bytes]:
    program = Path(__file__).with_name("driver.py")
    command = [sys.executable, str(program), str(base / "plan.json"), str(base / "state")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)


def kill_at_random(driver: subprocess.Popen[bytes], chance: random.Random) -> None:
    """Mostly soon after its first word, when it takes up and starts runs; sometimes before it says anything."""
    assert driver.stdout is not None
    if chance.random() < 0.85:
        assert driver.stdout.readline()
    time.sleep(chance.choice([chance.uniform(0, 0.02), chance.uniform(0, 0.3)]))
    assert driver.poll() is None, "the sweep was through before it could be killed often enough"
    driver.kill()
    driver.communicate()


def assert_each_ran_once(lines: list[str]) -> None:
    begun, ended = (Counter(line.split()[0] for line in lines if line.endswith(word)) for word in ("begin", "end"))
    assert begun == ended == Counter(f"r{number}" for number in range(RUNS))


def assert_one_after_the_other(lines: list[str]) -> None:
    """Each end follows the beginning of the same process."""
    assert lines
    for begin, end in zip(lines[::2], lines[1::2], strict=True):
        assert (begin.split()[:2], begin.split()[2], end.split()[2]) == (end.split()[:2], "begin", "end")


@pytest.fixture(autouse=True)
def clear(tmp_path: Path) -> object:
    yield
    runs = tmp_path / "state" / "runs"
    workbench.end_all(runs.iterdir() if runs.exists() else [])
