"""A tiny real sweep for tests of the verbs: a trainer of the standard library that tells gpuplan what it does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from gpuplan.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

TRAINER = """
import argparse, os, sys, time
from gpuplan import track
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("--rows", type=int, default=64)
parser.add_argument("--crash", action="store_true")
options = parser.parse_args()
seed = int(os.environ["GPUPLAN_SEED"])
run = track.start(dataset_rows=options.rows, batch_size=8)
started = time.monotonic()
for step in range(options.rows // 8):
    time.sleep(0.002)
    run.step(samples=8, loss=1.0 / (step + 1))
    if run.stop_requested:
        run.leave()
if options.crash:
    raise ValueError("the data is not what it was")
run.epoch(1, samples=options.rows, seconds=time.monotonic() - started, val_accuracy=0.5 + options.lr + seed / 100)
run.final(accuracy=0.5 + options.lr + seed / 100)
"""
SPEC = """
name: tiny
command: python train.py --lr {lr}
vary: {lr: [0.1, 0.2]}
seeds: [1, 2]
environment: {python: PYTHON}
limits: {run: 60 s, grace: 5 s}
expect: [final(accuracy) >= 0.6]
"""


class Sweep:
    """A folder with a spec and a trainer, and the command line run in it as a user would."""

    def __init__(self, folder: Path, spec: str = SPEC) -> None:
        self.folder = folder
        (folder / "train.py").write_text(TRAINER)
        self.write(spec)

    def write(self, spec: str) -> None:
        (self.folder / "experiment.yaml").write_text(spec.replace("PYTHON", sys.executable))

    def start(self, *words: str) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GPUPLAN_")}
        return subprocess.Popen(
            [sys.executable, "-m", "gpuplan", *words],
            cwd=self.folder, env=environment | {"COLUMNS": "200"}, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        process = self.start(*words)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, f"{words}: {process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(words, code, out, err)

    def json(self, *words: str, code: int = 0) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.run(*words, "--json", code=code).stdout)
        return answer


class Here(Sweep):
    """A sweep whose verbs run in this process, in the current folder."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], spec: str = SPEC) -> None:
        super().__init__(folder, spec)
        self.capsys = capsys

    def run(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        with pytest.raises(SystemExit) as left:
            main(list(words))
        said = self.capsys.readouterr()
        assert left.value.code == code, said
        return subprocess.CompletedProcess(words, code, said.out, said.err)
