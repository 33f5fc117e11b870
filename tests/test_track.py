from __future__ import annotations

import ast
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from gpuplan import track

SOURCE = Path(track.__file__)
PATIENCE_S = 60


def environment(**values: str) -> dict[str, str]:
    own = ("GPUPLAN_", "RANK", "WORLD_SIZE")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)} | values


def trainer(folder: Path, body: str, **values: str) -> subprocess.CompletedProcess[str]:
    """A real program that tracks itself, run to its end in `folder`."""
    program = f"from gpuplan import track\n{body}"
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=folder, env=environment(**values), capture_output=True, text=True, check=False)


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line, parse_constant=pytest.fail) for line in path.read_text("utf-8").splitlines()]


def total(found: list[dict[str, Any]], name: str) -> float:
    return float(sum(record.get(name, 0) for record in found if record["event"] == "steps"))


TRAIN = """
import time
run = track.start(dataset_rows=96, batch_size=32, optimizer='adam')
for step in range(3):
    run.step(samples=32, loss=float(step))
run.epoch(1, samples=96, seconds=0.5, accuracy=0.25)
run.checkpoint('checkpoint-3', step=3, seconds=0.1)
run.final(accuracy=0.5, note='größe')
run.step(samples=1)
run.final(accuracy=1.0)
"""


def test_the_record_of_a_small_run(tmp_path: Path) -> None:
    done = trainer(tmp_path, TRAIN, GPUPLAN_RUN_DIR=str(tmp_path / "run"), GPUPLAN_ATTEMPT="2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    found = records(tmp_path / "run" / "metrics.jsonl")
    assert [record["event"] for record in found] == ["start", "steps", "epoch", "checkpoint", "final"]
    start, steps, epoch, checkpoint, final = found
    assert start | {"rank": 0, "world_size": 1, "dataset_rows": 96, "batch_size": 32, "step": 0, "attempt": 2} == start
    assert start["optimizer"] == "adam"
    assert steps | {"step": 3, "steps": 3, "samples": 96, "loss": 1.0} == steps
    assert steps["seconds"] >= 0
    assert epoch | {"epoch": 1, "step": 3, "samples": 96, "seconds": 0.5, "accuracy": 0.25} == epoch
    assert checkpoint | {"path": "checkpoint-3", "step": 3, "seconds": 0.1} == checkpoint
    assert final | {"step": 3, "accuracy": 0.5, "note": "größe"} == final
    assert final["peak_host_bytes"] > 2**20
    assert all(record["time_s"] > 1.7e9 for record in found)


def test_steps_are_added_up_without_losing_one(tmp_path: Path) -> None:
    body = "run = track.start()\nfor step in range(20_000): run.step(samples=2, loss=3.0)\nrun.final()"
    assert trainer(tmp_path, body, GPUPLAN_RUN_DIR=str(tmp_path)).returncode == 0
    found = records(tmp_path / "metrics.jsonl")
    assert (total(found, "steps"), total(found, "samples")) == (20_000, 40_000)
    assert len(found) < 2000
    assert {record["loss"] for record in found if record["event"] == "steps"} == {3.0}


def test_each_rank_has_its_own_file(tmp_path: Path) -> None:
    for rank in range(3):
        body = f"run = track.start()\nrun.step(samples={rank + 1})\nrun.final()"
        done = trainer(tmp_path, body, GPUPLAN_RUN_DIR=str(tmp_path), RANK=str(rank), WORLD_SIZE="3")
        assert done.returncode == 0
    names = ["metrics.jsonl", "metrics.rank1.jsonl", "metrics.rank2.jsonl"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for rank, name in enumerate(names):
        found = records(tmp_path / name)
        assert (found[0]["rank"], found[0]["world_size"]) == (rank, 3)
        assert total(found, "samples") == rank + 1


def test_ranks_that_run_at_once_do_not_mix(tmp_path: Path) -> None:
    body = "run = track.start()\nfor step in range(500): run.step(samples=1); run.flush()\nrun.final()"
    program = [sys.executable, "-c", f"from gpuplan import track\n{body}"]
    started = [
        subprocess.Popen(program, env=environment(GPUPLAN_RUN_DIR=str(tmp_path), RANK=str(rank))) for rank in range(2)
    ]
    assert [process.wait(PATIENCE_S) for process in started] == [0, 0]
    for name in ("metrics.jsonl", "metrics.rank1.jsonl"):
        assert total(records(tmp_path / name), "samples") == 500


def test_a_resumed_run_goes_on_in_the_same_file(tmp_path: Path) -> None:
    for step in (0, 10):
        body = f"run = track.start(step={step})\nrun.step(samples=1)\nrun.final()"
        assert trainer(tmp_path, body, GPUPLAN_RUN_DIR=str(tmp_path)).returncode == 0
    found = records(tmp_path / "metrics.jsonl")
    assert [record["step"] for record in found if record["event"] == "steps"] == [1, 11]


def test_what_json_cannot_hold_is_written_as_text(tmp_path: Path) -> None:
    body = """
run = track.start(lr=float('inf'))
run.step(samples=1, loss=float('nan'))
run.final(loss=float('nan'), best=float('-inf'), nothing=None)
"""
    assert trainer(tmp_path, body, GPUPLAN_RUN_DIR=str(tmp_path)).returncode == 0
    start, steps, final = records(tmp_path / "metrics.jsonl")
    assert (start["lr"], steps["loss"], final["loss"], final["best"]) == ("inf", "nan", "nan", "-inf")
    assert "nothing" not in final


def test_arguments_win_over_the_environment(tmp_path: Path) -> None:
    body = "track.start(directory='own', rank=2, world_size=4).final()"
    assert trainer(tmp_path, body, RANK="7", WORLD_SIZE="9").returncode == 0
    (start, final) = records(tmp_path / "own" / "metrics.rank2.jsonl")
    assert (start["rank"], start["world_size"], final["event"]) == (2, 4, "final")


@pytest.mark.parametrize("rank", ["", "one", "-1", "1.5"])
def test_a_rank_that_is_no_number_is_the_first(rank: str, tmp_path: Path) -> None:
    assert trainer(tmp_path, "track.start().final()", GPUPLAN_RUN_DIR=str(tmp_path), RANK=rank).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_nothing_is_written_outside_gpuplan(tmp_path: Path) -> None:
    done = trainer(tmp_path, TRAIN)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_leaving_ends_with_try_again(tmp_path: Path) -> None:
    body = "run = track.start()\nrun.step(samples=1)\nrun.leave()\nprint('not reached')"
    done = trainer(tmp_path, body, GPUPLAN_RUN_DIR=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (track.TRY_AGAIN_EXIT_CODE, "", "")
    assert [record["event"] for record in records(tmp_path / "metrics.jsonl")] == ["start", "steps", "leave"]
    assert track.TRY_AGAIN_EXIT_CODE == os.EX_TEMPFAIL == 75


WAIT = """
import time
run = track.start()
print('listening', flush=True)
until = time.monotonic() + 60
while not run.stop_requested and time.monotonic() < until:
    run.step(samples=1)
    time.sleep(0.01)
run.checkpoint('checkpoint-1', step=1)
run.leave()
"""


def stopped(folder: Path, number: signal.Signals, **values: str) -> int:
    """How the waiting trainer ends after one signal."""
    program = [sys.executable, "-c", f"from gpuplan import track\n{WAIT}"]
    with subprocess.Popen(program, cwd=folder, env=environment(**values), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        process.send_signal(number)
        return process.wait(PATIENCE_S)


def test_a_signal_asks_the_run_to_stop(tmp_path: Path) -> None:
    assert stopped(tmp_path, signal.SIGTERM, GPUPLAN_RUN_DIR=str(tmp_path)) == 75
    assert [record["event"] for record in records(tmp_path / "metrics.jsonl")][-2:] == ["checkpoint", "leave"]


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_the_stop_signal_of_the_spec_is_heard_beside_sigterm(number: signal.Signals, tmp_path: Path) -> None:
    assert stopped(tmp_path, number, GPUPLAN_RUN_DIR=str(tmp_path), GPUPLAN_STOP_SIGNAL="SIGUSR1") == 75


def test_outside_gpuplan_signals_keep_their_meaning(tmp_path: Path) -> None:
    assert stopped(tmp_path, signal.SIGTERM) == -signal.SIGTERM


def test_it_imports_the_standard_library_alone() -> None:
    code = (
        "import sys\n"
        f"sys.path.insert(0, {str(SOURCE.parents[1])!r})\n"
        "import gpuplan.track\n"
        "own = {'gpuplan', 'gpuplan.track', '__main__'}\n"
        "print(*(name for name in sys.modules if name not in own and name.partition('.')[0] not in"
        " sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-S", "-E", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_it_is_python_3_9() -> None:
    tree = ast.parse(SOURCE.read_text("utf-8"), feature_version=(3, 9))
    assert "annotations" in {name.name for node in tree.body if isinstance(node, ast.ImportFrom) for name in node.names}
    unions = [node for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp)]
    assert unions == []


def test_its_own_example_is_a_program(tmp_path: Path) -> None:
    example = re.split(r"\n\n", track.__doc__ or "", maxsplit=1)[1].partition("\n\nEach process")[0]
    body = "\n".join(line[4:] for line in example.splitlines())
    setting = "class Loss:\n    def item(self): return 0.5\nloader, loss = [[0] * 32] * 3, Loss()\n"
    done = trainer(tmp_path, setting + body, GPUPLAN_RUN_DIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    found = records(tmp_path / "metrics.jsonl")
    assert total(found, "samples") == 96
    assert found[-1]["accuracy"] == 0.91


class Odd:
    def __float__(self) -> float:
        raise RuntimeError("no number")


class Tensor:
    def __float__(self) -> float:
        return 0.5


def test_no_value_ends_a_training(tmp_path: Path) -> None:
    facts: dict[str, Any] = {"path": tmp_path, "event": "mine", "sizes": [math.nan, Tensor()]}
    results: dict[str, Any] = {"step": 7, "odd": Odd(), "tensor": Tensor()}
    track.start(directory=str(tmp_path), rank=0, world_size=1, **facts).final(**results)
    start, final = (json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert (start["event"], start["path"], start["sizes"]) == ("start", str(tmp_path), ["nan", 0.5])
    assert (final["event"], final["step"], final["tensor"]) == ("final", 7, 0.5)
    assert isinstance(final["odd"], str)


def test_it_starts_in_any_thread_and_with_any_signal_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUPLAN_RUN_DIR", str(tmp_path))
    monkeypatch.setenv("GPUPLAN_STOP_SIGNAL", "none")
    monkeypatch.setenv("RANK", "²")
    failed: list[BaseException] = []

    def start() -> None:
        try:
            track.start().final()
        except BaseException as error:  # noqa: BLE001  whatever it is, the test has to see it
            failed.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert not failed
