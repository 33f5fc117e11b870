"""What the tests of the AG News trainer share: tiny data, tiny settings, real runs. It holds no test."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from gpuplan.workloads.agnews import checkpoint
from gpuplan.workloads.agnews.__main__ import main

REPOSITORY = Path(__file__).parents[2]
WORDS = (("war", "minister", "vote"), ("game", "team", "coach"), ("shares", "oil", "profit"), ("chip", "web", "space"))
PATIENCE_S = 240


def write_csv(path: Path, *, rows: int = 60) -> Path:
    """News of four classes in the form AG News is handed out: quoted, no header, classes from 1."""
    dice = random.Random(5)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        for row in range(rows):
            label = row % 4
            writer.writerow([label + 1, *(" ".join(dice.choices(WORDS[label], k=3)) for _ in ("title", "description"))])
    return path


def options(data: Path, output: Path, **settings: object) -> list[str]:
    """A command line for a tiny model: 53 rows in batches of 8 are 7 steps an epoch, the last of 5 rows."""
    tiny: dict[str, object] = {
        "data": data,
        "output_dir": output,
        "train_rows": 53,
        "eval_rows": 7,
        "d_model": 8,
        "layers": 1,
        "heads": 2,
        "feedforward": 16,
        "vocabulary": 64,
        "sequence": 8,
        "batch_size": 8,
        "epochs": 2,
        "warmup_steps": 2,
        "checkpoint_every": 3,
    }
    return [word for name, value in (tiny | settings).items() for word in ("--" + name.replace("_", "-"), str(value))]


def train(data: Path, output: Path, **settings: object) -> int:
    """Train in this process."""
    return main(options(data, output, **settings))


def start(data: Path, output: Path, *, ranks: int = 1, **settings: object) -> subprocess.Popen[str]:
    """Start a run as gpuplan does: a process of its own with the run protocol's environment."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    command = [sys.executable, *launcher, "-m", "gpuplan.workloads.agnews", *options(data, output, **settings)]
    environment = dict(os.environ, GPUPLAN_RUN_DIR=str(output), OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a run that must end well; its errors."""
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    return errors


def records(output: Path, event: str, *, rank: int = 0) -> list[dict[str, Any]]:
    """The records of one kind that a rank has written."""
    path = output / ("metrics.jsonl" if rank == 0 else f"metrics.rank{rank}.jsonl")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [record for record in map(json.loads, lines) if record["event"] == event]


def wait_for_steps(process: subprocess.Popen[str], output: Path, *, rank: int = 0) -> None:
    """Until a rank has trained some steps."""
    deadline = time.monotonic() + PATIENCE_S
    while not records(output, "steps", rank=rank):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def weights(output: Path, step: int) -> dict[str, torch.Tensor]:
    """The weights in a checkpoint."""
    model: dict[str, torch.Tensor] = checkpoint.load(output / f"checkpoint-{step}")["model"]
    return model


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether all weights are equal bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def largest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Between any two weights of the same name and place."""
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def table(output: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv without the seconds, which no two runs share."""
    with (output / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return [{name: cell for name, cell in row.items() if name != "train_time"} for row in csv.DictReader(file)]
