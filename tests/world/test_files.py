"""Facts on files: rows, splits, near names; bad files are facts too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gpuplan.world.files import count_rows, file_fact

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("a.csv", "label,text\n1,x\n2,y\n", 2),
        ("a.csv", '"3","Fears","a, b"\n"4","The\nRace","c"\n', 2),
        ("a.csv", "", 0),
        ("a.tsv", "x\ty\n1\t2\n", 1),
        ("a.jsonl", '{"a": 1}\n\n{"a": 2}\n', 2),
        ("a.bin", "\0\1", None),
        ("a.csv", "a,b\0c\n1,2\n", 1),
    ],
)
def test_rows(tmp_path: Path, name: str, text: str, rows: int | None) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert count_rows(path) == rows


def test_a_file_is_told_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    first = file_fact("a.csv", tmp_path)
    (tmp_path / "a.csv").write_text("a\n2\n")
    second = file_fact("a.csv", tmp_path)
    assert first.exists
    assert first.size_bytes == second.size_bytes == 4
    assert first.digest != second.digest


def test_a_folder_has_splits_and_sizes(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.csv").write_text("a,b\nx,1\ny,2\n")
    (folder / "validation-00000-of-00001.jsonl").write_text("{}\n")
    fact = file_fact("data", tmp_path, ["train", "validation", "test"])
    assert fact.is_folder
    assert fact.splits == {"train": 2, "validation": 1}


def test_what_is_missing_has_near_names(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("")
    assert file_fact("trian.csv", tmp_path).near == ("train.csv",)
    assert file_fact("nowhere/at/all", tmp_path).exists is False


@pytest.mark.parametrize("hostile", ["a\nb", "x" * 5000, "../" * 50 + "etc", "\udcff"])
def test_hostile_names_are_missing_files(tmp_path: Path, hostile: str) -> None:
    assert isinstance(file_fact(hostile, tmp_path).exists, bool)
