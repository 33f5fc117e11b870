"""Parts of a data set inside a folder, a table, a JSON file or an archive, by their names."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from typing import TYPE_CHECKING, Literal

import pytest

from gpuplan.expand import expand
from gpuplan.spec import load
from gpuplan.units import MIB
from gpuplan.world import capture
from gpuplan.world.files import MOST_COUNTED_BYTES, file_fact

if TYPE_CHECKING:
    from pathlib import Path

ASKED = ("train", "test", "dev")
TRAIN, TEST = {"text": "a\u2028b", "split": "train"}, {"text": "c", "split": "test"}


def splits(path: Path) -> dict[str, int | None]:
    return file_fact(path.name, path.parent, ASKED).splits


def written(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"train": [1, 2, 3], "test": [4]}, {"train": 3, "test": 1}),
        ({"train": {"text": ["a", "b"], "label": [0, 1]}, "test": {"text": []}}, {"train": 2, "test": 0}),
        ({"train": {"text": ["a", "b"], "label": [0]}, "test": "test.csv"}, {"train": None, "test": None}),
        ({"train": None, "dev": {}}, {"train": 0, "dev": None}),
        ([TRAIN, TRAIN, TEST], {"train": 2, "test": 1}),
        ({"data": [1], "version": "1.1"}, {}),
        ([1, "train", None, {"split": ["train"]}], {}),
        ("train", {}),
    ],
)
def test_parts_of_a_json_file(tmp_path: Path, content: object, found: dict[str, int | None]) -> None:
    assert splits(written(tmp_path / "data.json", json.dumps(content))) == found
    assert splits(written(tmp_path / "marked.JSON", "\ufeff" + json.dumps(content, indent=1))) == found


@pytest.mark.parametrize("name", ["data.jsonl", "data.ndjson", "data.json"])
def test_parts_of_json_lines(tmp_path: Path, name: str) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in (TRAIN, TEST, TRAIN)]
    assert splits(written(tmp_path / name, "\n".join([*lines, "", '{"split": "de']))) == {"train": 2, "test": 1}
    assert splits(written(tmp_path / name, json.dumps({"train": [1, 2]}) + "\n")) == {"train": 2}


def test_parts_of_a_table(tmp_path: Path) -> None:
    long = "x" * 200_000
    assert splits(written(tmp_path / "a.csv", f'text,split\n"a,\nb",train\n{long},test\nc\n')) == {
        "train": 1,
        "test": 1,
    }
    assert splits(written(tmp_path / "a.tsv", "split\ttext\ntrain\ta\n")) == {"train": 1}
    assert splits(written(tmp_path / "b.csv", "text,part\na,train\n")) == {}
    assert splits(written(tmp_path / "c.csv", "")) == {}


@pytest.mark.parametrize("name", ["d.zip", "d.npz"])
def test_parts_of_a_zip_archive(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("set/train/0.txt", "a")
        archive.writestr("set\\test-00000-of-00001.csv", "a")
        archive.writestr("set/development.csv", "a")
    assert splits(tmp_path / name) == {"train": None, "test": None}


@pytest.mark.parametrize(("name", "mode"), [("d.tar", "w"), ("d.tar.gz", "w:gz"), ("d.tgz", "w:gz"), ("d.txz", "w:xz")])
def test_parts_of_a_tar_archive(tmp_path: Path, name: str, mode: Literal["w", "w:gz", "w:xz"]) -> None:
    with tarfile.open(tmp_path / name, mode) as archive:
        for member in ("set/train.csv", "set/dev/0.txt"):
            info = tarfile.TarInfo(member)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    assert splits(tmp_path / name) == {"train": None, "dev": None}


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.csv", "a.zip", "a.npz", "a.tar", "a.tar.gz", "a.txz"])
@pytest.mark.parametrize(
    "content",
    [b"", b"\0\xff\xfe", b"PK\x05\x06" + b"\xff" * 18, b"\x1f\x8b\x08" + b"\0" * 40, b"[" * 200_000, b"9" * 20_000],
    ids=["empty", "no text", "a broken zip", "a broken gzip", "deep", "a long number"],
)
def test_a_file_that_is_not_what_its_name_says_holds_no_part(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert splits(tmp_path / name) == {}


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", json.dumps({"train": [1]}))
    with path.open("r+b") as file:
        file.truncate(65 * MIB)
    assert splits(path) == {}


def test_the_text_of_a_pickle_is_not_looked_at(tmp_path: Path) -> None:
    assert splits(written(tmp_path / "a.pt", json.dumps({"train": [1]}))) == {}


def test_a_folder_as_hubs_have_it(tmp_path: Path) -> None:
    (tmp_path / "set" / "data").mkdir(parents=True)
    written(tmp_path / "set" / "data" / "train-00000-of-00001.jsonl", "{}\n{}\n")
    (tmp_path / "set" / "test").mkdir()
    assert splits(tmp_path / "set") == {"train": 2, "test": None}


def test_a_part_whose_name_has_a_dash(tmp_path: Path) -> None:
    (tmp_path / "speech" / "train-clean-100").mkdir(parents=True)
    assert file_fact("speech", tmp_path, ["train-clean-100", "train-clean-360"]).splits == {"train-clean-100": None}


def test_the_rows_of_large_parts_are_not_counted(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with written(tmp_path / "set" / "train.csv", "a,b\n1,2\n").open("r+b") as file:
        file.truncate(MOST_COUNTED_BYTES + 1)
    assert splits(tmp_path / "set") == {"train": None}


def test_two_inputs_of_one_file_have_the_parts_of_both(tmp_path: Path) -> None:
    written(tmp_path / "d.json", json.dumps({"train": [1], "test": [2, 3]}))
    path = written(
        tmp_path / "e.yaml",
        "name: e\ncommand: python train.py\n"
        "inputs:\n- {path: d.json, splits: [test]}\n- {path: d.json, splits: [train]}\n",
    )
    spec = load(str(path))
    seen = capture(spec, expand(spec.experiment), state=tmp_path / ".gpuplan", store=None)
    assert seen.files["d.json"].splits == {"test": 2, "train": 1}
