from __future__ import annotations

import json
import os
import zipfile
from typing import TYPE_CHECKING

import pytest

from gpuplan.launch.checkpoints import newest_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

ANY = "checkpoint-*"


def make(folder: Path, name: str, *, age_s: int, files: dict[str, bytes] | None = None) -> Path:
    """A checkpoint folder whose files were last written `age_s` ago."""
    path = folder / name
    path.mkdir(parents=True)
    for file, content in (files or {"model.bin": b"weights"}).items():
        (path / file).write_bytes(content)
        os.utime(path / file, (1_000_000 - age_s, 1_000_000 - age_s))
    return path


def announce(folder: Path, *paths: str) -> None:
    lines = [json.dumps({"event": "checkpoint", "path": path, "step": 1}) for path in paths]
    (folder / "metrics.jsonl").write_text('{"event": "start"}\n' + "\n".join(lines) + '\n{"event": "checkpoint", "pa')


def safetensors(data_bytes: int, *, promised_bytes: int) -> bytes:
    header = json.dumps({"__metadata__": {}, "w": {"dtype": "U8", "shape": [1], "data_offsets": [0, promised_bytes]}})
    return len(header).to_bytes(8, "little") + header.encode() + b"x" * data_bytes


def test_there_may_be_none(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path, ANY) is None


def test_the_newest_by_its_files_wins(tmp_path: Path) -> None:
    make(tmp_path, "checkpoint-1000", age_s=10)
    newest = make(tmp_path, "checkpoint-200", age_s=5)
    make(tmp_path, "checkpoint-900", age_s=20)
    assert newest_checkpoint(tmp_path, ANY) == newest


def test_of_two_of_one_age_the_later_step_wins(tmp_path: Path) -> None:
    make(tmp_path, "checkpoint-900", age_s=5)
    newest = make(tmp_path, "checkpoint-1000", age_s=5)
    assert newest_checkpoint(tmp_path, ANY) == newest


@pytest.mark.parametrize(
    "name",
    [
        "checkpoint-2.tmp",
        "checkpoint-2.part",
        "checkpoint-2-tmp",
        "checkpoint-2.tmp-17",
        "tmp-checkpoint-2",
        ".checkpoint-2",
    ],
)
def test_a_temporary_name_is_not_good(tmp_path: Path, name: str) -> None:
    good = make(tmp_path, "checkpoint-1", age_s=10)
    make(tmp_path, name, age_s=1)
    assert newest_checkpoint(tmp_path, "*checkpoint-*") == good


@pytest.mark.parametrize("name", ["checkpoint-attempt2", "checkpoint-template", "checkpoint-temporal"])
def test_a_name_that_only_looks_temporary_is_good(tmp_path: Path, name: str) -> None:
    assert newest_checkpoint(tmp_path, ANY) is None
    assert newest_checkpoint(tmp_path, ANY) != make(tmp_path, name, age_s=1)
    assert newest_checkpoint(tmp_path, ANY) == tmp_path / name


def test_an_empty_one_is_not_good(tmp_path: Path) -> None:
    good = make(tmp_path, "checkpoint-1", age_s=10)
    make(tmp_path, "checkpoint-2", age_s=1, files={"model.bin": b"", "a.json": b""})
    (tmp_path / "checkpoint-3").mkdir()
    (tmp_path / "checkpoint-4").write_bytes(b"")
    assert newest_checkpoint(tmp_path, ANY) == good


def test_single_files_are_checkpoints_too(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "last.ckpt").write_bytes(b"x")
    assert newest_checkpoint(tmp_path, "**/*.ckpt") == tmp_path / "sub" / "last.ckpt"


@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_a_cut_torch_file_is_not_good(tmp_path: Path, keep: float) -> None:
    good = make(tmp_path, "checkpoint-1", age_s=10)
    bad = make(tmp_path, "checkpoint-2", age_s=1)
    with zipfile.ZipFile(bad / "model.bin", "w") as file:
        file.writestr("data", b"x" * 100_000)
    assert newest_checkpoint(tmp_path, ANY) == bad
    whole = (bad / "model.bin").read_bytes()
    (bad / "model.bin").write_bytes(whole[: int(keep * len(whole))])
    assert newest_checkpoint(tmp_path, ANY) == good


@pytest.mark.parametrize(
    "content",
    [
        safetensors(99, promised_bytes=100),
        safetensors(100, promised_bytes=100)[:20],
        b"\xff" * 50,
        b"abc",
        (5).to_bytes(8, "little") + b"[1,2]",
        (8).to_bytes(8, "little") + b'{"a": 1}',
    ],
)
def test_a_cut_safetensors_file_is_not_good(tmp_path: Path, content: bytes) -> None:
    good = make(tmp_path, "checkpoint-1", age_s=10, files={"m.safetensors": safetensors(100, promised_bytes=100)})
    assert newest_checkpoint(tmp_path, ANY) == good
    make(tmp_path, "checkpoint-2", age_s=1, files={"m.safetensors": content})
    assert newest_checkpoint(tmp_path, ANY) == good


def test_one_with_fewer_files_than_the_one_before_was_not_finished(tmp_path: Path) -> None:
    good = make(tmp_path, "checkpoint-1", age_s=10, files={"model-1.bin": b"x", "trainer_state.json": b"{}"})
    late = make(tmp_path, "checkpoint-2", age_s=1, files={"model-2.bin": b"x"})
    assert newest_checkpoint(tmp_path, ANY) == good
    (late / "trainer_state.json").write_text("{}")
    assert newest_checkpoint(tmp_path, ANY) == late


def test_the_word_of_the_program_wins(tmp_path: Path) -> None:
    told = make(tmp_path, "checkpoint-1", age_s=10)
    make(tmp_path, "checkpoint-2", age_s=1)
    announce(tmp_path, "elsewhere", "checkpoint-1", "checkpoint-9-deleted")
    assert newest_checkpoint(tmp_path, ANY) == told


def test_words_without_a_checkpoint_do_not_hinder(tmp_path: Path) -> None:
    found = make(tmp_path, "checkpoint-2", age_s=1)
    (tmp_path / "metrics.jsonl").write_bytes(
        b'{"event":"checkpoint"}\n"checkpoint"\n{"event":"checkpoint","path":3}\n\xff'
    )
    announce(tmp_path, "gone", "with\0null")
    assert newest_checkpoint(tmp_path, ANY) == found


@pytest.mark.parametrize("pattern", ["../*", "/etc/host*", "[", "link*", ""])
def test_nothing_outside_of_the_folder_is_found(tmp_path: Path, pattern: str) -> None:
    run = tmp_path / "run"
    run.mkdir()
    make(tmp_path, "other", age_s=1)
    (run / "link").symlink_to(tmp_path / "other")
    assert newest_checkpoint(run, pattern) is None
