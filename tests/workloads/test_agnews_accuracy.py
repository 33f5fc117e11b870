"""On the real news: one rank learns, the control stays at chance, two ranks learn as much as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from test_agnews_support import REPOSITORY, finish, records, start, table

if TYPE_CHECKING:
    from pathlib import Path

NEWS = REPOSITORY.parent / "shared" / "data" / "agnews" / "test.csv"
QUICK: dict[str, object] = {
    "train_rows": 6000,
    "eval_rows": 1600,
    "d_model": 64,
    "layers": 1,
    "heads": 4,
    "feedforward": 128,
    "vocabulary": 10000,
    "sequence": 48,
    "batch_size": 32,
    "epochs": 3,
    "learning_rate": 2e-3,
    "warmup_steps": 30,
    "checkpoint_every": 0,
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not NEWS.exists(), reason=f"{NEWS} is not there: the AG News rows are not part of the project"),
]


def accuracy(output: Path, **settings: object) -> float:
    finish(start(NEWS, output, **(QUICK | settings)))  # type: ignore[arg-type]
    return float(table(output)[-1]["val_acc"])


def test_one_rank_two_ranks_and_the_control(tmp_path: Path) -> None:
    one = accuracy(tmp_path / "one")
    two = accuracy(tmp_path / "two", ranks=2)
    control = accuracy(tmp_path / "control", control="shuffled-labels")
    assert one > 0.80
    assert abs(one - two) < 0.03
    assert 0.15 < control < 0.35
    assert records(tmp_path / "two", "epoch", rank=1)[0]["samples"] == 3000
