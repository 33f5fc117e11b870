"""metrics.csv: the original's columns, one row an epoch, rewritten when a run goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuplan.workloads.agnews.history import HEADER, Epoch, History

if TYPE_CHECKING:
    from pathlib import Path

FIRST = Epoch(1, 0.5, 2.25, 0.25, 0.875, 6000)
SECOND = Epoch(2, 0.25, 2.5, None, None, 6000)


def test_rows_are_appended_and_a_missing_evaluation_is_an_empty_cell(tmp_path: Path) -> None:
    history = History(tmp_path / "metrics.csv", [])
    history.append(FIRST)
    history.append(SECOND)
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert lines == [HEADER, "1,0.5,2.25,0.25,0.875,6000", "2,0.25,2.5,,,6000"]


def test_a_resumed_run_keeps_the_rows_of_its_checkpoint_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    before = History(path, [])
    before.append(FIRST)
    in_checkpoint = before.as_data()
    before.append(SECOND)
    after = History(path, [Epoch(**epoch) for epoch in in_checkpoint])  # type: ignore[arg-type]
    assert path.read_text().splitlines() == [HEADER, "1,0.5,2.25,0.25,0.875,6000"]
    assert after.epochs == [FIRST]
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.csv"]


def test_other_ranks_write_nothing(tmp_path: Path) -> None:
    history = History(None, [])
    history.append(FIRST)
    assert history.epochs == [FIRST]
    assert list(tmp_path.iterdir()) == []
