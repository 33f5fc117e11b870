from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import workbench
from workbench import ByExitCode, plan, run, site

from gpuplan.launch import LocalLauncher, conduct
from gpuplan.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

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
    """Most runs on one device, and longer than a gpuplan lives, so that it is killed often before they are through."""
    witness = 'echo "$GPUPLAN_RUN $$ begin" >> witness; sleep {}; echo "$GPUPLAN_RUN $$ end" >> witness'
    runs = [
        run(f"r{number}", f"sh -c '{witness.format(round(chance.uniform(0.35, 0.5), 3))}'") for number in range(RUNS)
    ]
    devices: dict[str, tuple[int, ...]] = {
        one.name: (1,) if number % 6 == 5 else (0,) for number, one in enumerate(runs)
    }
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


LINES = 25


def test_a_gpuplan_that_is_killed_at_any_line_loses_and_duplicates_nothing(tmp_path: Path) -> None:
    """A child is killed at a line of launch/ or store/ that it executes; then the run is completed here."""
    killed(tmp_path / "whole", line=0)
    total = int((tmp_path / "whole" / "count").read_text())
    assert total > 10 * LINES
    kills = 0
    for line in range(1, total, total // LINES):
        base = tmp_path / str(line)
        kills += killed(base, line=line)
        conduct_here(base)
        assert (base / "witness").read_text().split() == ["begin", "end"], f"killed at line {line}"
        with Store(base / "state" / "store.db") as store:
            (record,) = store.records("sweep")
            assert (record.state, record.ending and record.ending.exit_code) == ("finished", 0)
    assert kills > LINES // 2


def killed(base: Path, *, line: int) -> bool:
    """Conduct in a forked child that dies at the given line, if it comes so far; how often it polls is chance."""
    (base / "state").mkdir(parents=True, exist_ok=True)
    pid = os.fork()
    if pid == 0:
        count_lines(base, line)
    _, code = os.waitpid(pid, 0)
    assert code in {0, signal.SIGKILL}
    return code == signal.SIGKILL


def count_lines(base: Path, fatal: int) -> NoReturn:
    count = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Callable[..., Any] | None:
        nonlocal count
        if "/gpuplan/launch/" not in frame.f_code.co_filename and "/gpuplan/store/" not in frame.f_code.co_filename:
            return None
        count += event == "line"
        if count == fatal != 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    try:
        sys.settrace(trace)
        conduct_here(base)
        sys.settrace(None)
        (base / "count").write_text(str(count))
        os._exit(0)
    finally:
        os._exit(1)


def conduct_here(base: Path) -> None:
    made = plan(base, [run("a", "sh -c 'echo begin >> witness; sleep 0.02; echo end >> witness'")])
    with Store(base / "state" / "store.db") as store:
        conduct(
            site(base, made, state=base / "state"),
            launcher=LocalLauncher(),
            store=store,
            observer=ByExitCode(),
            poll_s=0.02,
            sample_s=0.01,
        )


@pytest.fixture(autouse=True)
def clear(tmp_path: Path) -> object:
    yield
    workbench.end_all([*tmp_path.glob("state/runs/*"), *tmp_path.glob("*/state/runs/*")])
