"""Checkpoints: whole or not there, the newest few, and no trust in damaged ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gpuplan.workloads.agnews.checkpoint import CheckpointError, load, older, save, step_of
from gpuplan.workloads.agnews.errors import WorkloadError


def state(value: float = 1.0) -> dict[str, Any]:
    return {"model": {"weight": torch.full((50,), value)}, "history": [{"epoch": 1, "val_loss": None}]}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    path = save(tmp_path, state(), step=7, keep=2)
    assert path == tmp_path / "checkpoint-7"
    loaded = load(path)
    assert torch.equal(loaded["model"]["weight"], state()["model"]["weight"])
    assert loaded["history"] == state()["history"]


def test_only_the_newest_are_kept_by_number(tmp_path: Path) -> None:
    for step in (8, 9, 10, 11):
        save(tmp_path, state(), step=step, keep=2)
    assert names(tmp_path) == ["checkpoint-10", "checkpoint-11"]


def test_later_checkpoints_of_another_attempt_do_not_push_out_the_new_one(tmp_path: Path) -> None:
    save(tmp_path, state(), step=90, keep=1)
    save(tmp_path, state(), step=5, keep=1)
    assert names(tmp_path) == ["checkpoint-5", "checkpoint-90"]


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    save(tmp_path, state(1.0), step=5, keep=2)
    path = save(tmp_path, state(2.0), step=5, keep=2)
    assert load(path)["model"]["weight"][0] == 2.0


def test_what_a_killed_writer_left_is_cleared_and_never_looks_like_a_checkpoint(tmp_path: Path) -> None:
    leftover = tmp_path / ".checkpoint-4.writing"
    leftover.mkdir()
    (leftover / "state.pt").write_bytes(b"half")
    assert not list(tmp_path.glob("checkpoint-*"))
    save(tmp_path, state(), step=5, keep=2)
    assert names(tmp_path) == ["checkpoint-5"]


def truncate(path: Path) -> None:
    (path / "state.pt").write_bytes((path / "state.pt").read_bytes()[:-100])


def flip_a_bit(path: Path) -> None:
    content = bytearray((path / "state.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (path / "state.pt").write_bytes(content)


def lose_the_manifest(path: Path) -> None:
    (path / "manifest.json").unlink()


def break_the_manifest(path: Path) -> None:
    (path / "manifest.json").write_text('{"step": 5')


def replace_the_manifest(path: Path) -> None:
    (path / "manifest.json").write_text("[]")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncate, "bytes of"),
        (flip_a_bit, "was changed"),
        (lose_the_manifest, "manifest.json"),
        (break_the_manifest, "not a complete checkpoint"),
        (replace_the_manifest, "not a complete checkpoint"),
    ],
)
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, damage: Any, reason: str) -> None:
    path = save(tmp_path, state(), step=5, keep=2)
    damage(path)
    with pytest.raises(CheckpointError, match=reason):
        load(path)


def test_a_checkpoint_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="checkpoint-3"):
        load(tmp_path / "checkpoint-3")


def test_older_ones_newest_first(tmp_path: Path) -> None:
    for step in (9, 10, 100):
        save(tmp_path, state(), step=step, keep=5)
    (tmp_path / "checkpoint-best").mkdir()
    assert [path.name for path in older(tmp_path / "checkpoint-100")] == ["checkpoint-10", "checkpoint-9"]


@pytest.mark.parametrize(("name", "step"), [("checkpoint-12", 12), ("checkpoint-best", -1), ("checkpoint-\u00b2", -1)])
def test_the_step_in_a_name(name: str, step: int) -> None:
    assert step_of(Path(name)) == step


def test_a_folder_that_cannot_be_written_is_an_error_of_the_user(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(WorkloadError, match="checkpoint-1 cannot be written") as caught:
        save(blocked, state(), step=1, keep=1)
    assert "--output-dir" in caught.value.hint
