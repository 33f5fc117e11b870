"""The AG News study through gpuplan itself: the missing sampler is named from the records, with the right numbers."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("torch")

ROWS, HELD_OUT = 96, 32
SPEC = f"""
name: sharding
workload: agnews
settings: {{data: rows.csv, train_rows: {ROWS}, eval_rows: {HELD_OUT}, d_model: 16, layers: 1, heads: 2,
  feedforward: 16, vocabulary: 200, sequence: 8, batch_size: 8, epochs: 2, warmup_steps: 4}}
vary: {{shard: [true, false], ranks: [1, 2]}}
seeds: [1]
names: shard-{{shard}}-x{{ranks}}
"""


def gpuplan(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "gpuplan", *words]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GPUPLAN_")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("agnews")
    words = random.Random(1)
    rows = [f"{i % 4 + 1},{' '.join(words.choice('abcdefgh') * 3 for _ in range(6))},x" for i in range(ROWS + HELD_OUT)]
    (folder / "rows.csv").write_text("\n".join(rows) + "\n")
    (folder / "experiment.yaml").write_text(SPEC)
    gpuplan(folder, "apply", "-y", "-q")
    answer: dict[str, Any] = json.loads(gpuplan(folder, "report", "--json"))
    answer["text"] = gpuplan(folder, "report", "--no-write")
    return answer


def rows_of(report: dict[str, Any], *, shard: bool, ranks: int) -> dict[str, Any]:
    return next(row for row in report["scaling"] if row["ranks"] == ranks and f"shard={str(shard).lower()}" in str(row))


def test_both_ranks_together_see_each_row_once(report: dict[str, Any]) -> None:
    row = rows_of(report, shard=True, ranks=2)
    assert row["sharding"] == "sharded"


def test_the_missing_sampler_is_named_with_its_numbers(report: dict[str, Any]) -> None:
    row = rows_of(report, shard=False, ranks=2)
    assert row["sharding"] == "every rank trained on all rows"
    text = " ".join(report["text"].split())
    assert "every rank trained on all rows" in text
    assert f"2 ranks x {ROWS} = {2 * ROWS}" in text
    assert "true" in text
