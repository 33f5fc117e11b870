"""Data: every form it may come in, the split that no seed moves, the control, and what is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import torch
from datasets import Dataset
from test_agnews_support import WORDS, write_csv

from gpuplan.workloads.agnews.config import Config
from gpuplan.workloads.agnews.data import Rows, Splits, load
from gpuplan.workloads.agnews.errors import WorkloadError
from gpuplan.workloads.agnews.tokenizer import encode

if TYPE_CHECKING:
    from pathlib import Path


def loaded(data: Path, **settings: Any) -> Splits:
    return load(Config(data=str(data), vocabulary=5000, sequence=8, **settings))


def text_file(tmp_path: Path, content: str | bytes, name: str = "rows.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows_of(rows: Rows) -> list[tuple[int, ...]]:
    """Each row's class and ids, in an order of their own."""
    return sorted((label, *ids) for label, ids in zip(rows.labels.tolist(), rows.tokens.tolist(), strict=True))


def classes_of(labels: torch.Tensor) -> list[int]:
    return sorted(set(labels.tolist()))


def classes_fit_the_words(rows: Rows) -> bool:
    """Whether each row's first word is one of its class."""
    first_ids = [{encode(word, vocabulary=5000, words={})[0] for word in words} for words in WORDS]
    return all(ids[0] in first_ids[label] for label, *ids in rows_of(rows))


def test_ag_news_as_it_is_handed_out(tmp_path: Path) -> None:
    splits = loaded(write_csv(tmp_path / "test.csv", rows=60), train_rows=40, eval_rows=12)
    assert splits.train.tokens.shape == (40, 8)
    assert splits.train.tokens.dtype == torch.int32
    assert splits.evaluation.tokens.shape == (12, 8)
    assert classes_of(splits.train.labels) == [0, 1, 2, 3]
    assert classes_fit_the_words(splits.train)
    assert classes_fit_the_words(splits.evaluation)


def test_without_numbers_a_fifth_is_held_out_and_the_rest_is_trained_on(tmp_path: Path) -> None:
    splits = loaded(write_csv(tmp_path / "test.csv", rows=60))
    assert (len(splits.train.labels), len(splits.evaluation.labels)) == (48, 12)


@pytest.mark.parametrize(
    "content",
    [
        "label,text\n0,war vote\n3,web\n1,team\n",
        "text,label\nwar vote,0\nweb,3\nteam,1\n",
        "\ufeffClass Index,Title,Description\n1,war,vote\n4,web,\n2,team,\n",
        "1,war vote\n4,web\n2,team\n",
        "1,war,vote\r\n4,web,\r\n2,team,\r\n",
        '\n"1","war","vote"\n\n"4","web",""\n"2","team",""\n',
    ],
)
def test_forms_of_csv(tmp_path: Path, content: str) -> None:
    splits = loaded(text_file(tmp_path, content), train_rows=2, eval_rows=1)
    texts = [(0, "war vote"), (3, "web"), (1, "team")]
    expected = [(label, *encode(text, vocabulary=5000, words={})) for label, text in texts]
    found = rows_of(splits.train) + rows_of(splits.evaluation)
    assert sorted(tuple(filter(None, row[1:])) for row in found) == sorted(row[1:] for row in expected)
    assert sorted(row[0] for row in found) == [0, 1, 3]


def test_chosen_columns(tmp_path: Path) -> None:
    path = text_file(tmp_path, "id,kind,body,label\n" + "7,2,war vote,x\n" * 5)
    splits = loaded(path, label_column="kind", text_columns="body, id")
    assert classes_of(splits.train.labels) == [1]
    assert splits.train.tokens[0, :3].tolist() == encode("war vote 7", vocabulary=5000, words={})


def test_words_that_look_like_missing_values_stay_words(tmp_path: Path) -> None:
    splits = loaded(text_file(tmp_path, "label,text\n" + "1,NA\n1,null\n" * 3), eval_rows=1)
    assert (splits.train.tokens[:, 0] > 0).all()


def test_parquet_and_a_folder_with_both_parts(tmp_path: Path) -> None:
    Dataset.from_dict({"text": ["war"] * 6, "label": [0, 1] * 3}).to_parquet(str(tmp_path / "train.parquet"))
    text_file(tmp_path, "label,text\n3,web\n2,oil\n", name="test.csv")
    splits = loaded(tmp_path)
    assert classes_of(splits.train.labels) == [0, 1]
    assert sorted(splits.evaluation.labels.tolist()) == [2, 3]
    assert len(loaded(tmp_path, train_rows=4, eval_rows=1).train.labels) == 4


def test_a_hostile_file_name_is_a_file_name(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a [1] {b} * ü.csv")
    assert len(loaded(path, train_rows=40, eval_rows=12).train.labels) == 40


def test_nothing_is_written_beside_the_data(tmp_path: Path) -> None:
    loaded(write_csv(tmp_path / "test.csv"))
    assert [path.name for path in tmp_path.iterdir()] == ["test.csv"]


def test_many_readers_at_once(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "test.csv")
    with ThreadPoolExecutor(4) as pool:
        checksums = set(pool.map(lambda _: loaded(path).checksum, range(8)))
    assert checksums == {loaded(path).checksum}


def test_the_split_does_not_depend_on_the_seed(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "test.csv")
    one, other = loaded(path, seed=1), loaded(path, seed=2)
    assert torch.equal(one.train.tokens, other.train.tokens)
    assert torch.equal(one.evaluation.tokens, other.evaluation.tokens)
    moved = loaded(path, split_seed=1)
    assert rows_of(moved.evaluation) != rows_of(one.evaluation)


def test_the_split_divides_the_rows(tmp_path: Path) -> None:
    path = text_file(tmp_path, "label,text\n" + "".join(f"{row % 4},word{row}\n" for row in range(50)))
    splits = loaded(path)
    both = rows_of(splits.train) + rows_of(splits.evaluation)
    expected = [(row % 4, *encode(f"word{row}", vocabulary=5000, words={}), *[0] * 7) for row in range(50)]
    assert sorted(both) == sorted(expected)


def test_more_training_rows_leave_the_held_out_rows_alone(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "test.csv")
    few, many = loaded(path, train_rows=10, eval_rows=12), loaded(path, train_rows=40, eval_rows=12)
    assert torch.equal(few.evaluation.tokens, many.evaluation.tokens)
    assert torch.equal(few.train.tokens, many.train.tokens[:10])


def test_the_control_shuffles_the_training_labels_only(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "test.csv")
    plain, control = loaded(path), loaded(path, control="shuffled-labels")
    assert torch.equal(plain.train.tokens, control.train.tokens)
    assert not torch.equal(plain.train.labels, control.train.labels)
    assert torch.equal(plain.train.labels.sort().values, control.train.labels.sort().values)
    assert torch.equal(plain.evaluation.labels, control.evaluation.labels)
    assert not classes_fit_the_words(control.train)
    other_seed = loaded(path, control="shuffled-labels", seed=1)
    assert not torch.equal(control.train.labels, other_seed.train.labels)


LONG = "".join(f'"{row % 4 + 1}","title {row}","text {row}"\n' for row in range(40))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n\n\n", "fewer than two lines"),
        ("label,text\n", "fewer than two lines"),
        (LONG + '"1","cut', "EOF inside string"),
        (LONG + "1,a,b,c,d\n", "Expected 3 fields"),
        (bytes(range(256)) * 4, "cannot be read"),
        ("label,text\n1,caf\xe9\n".encode("latin-1"), "cannot be read"),
        ("text,other\na,b\n", "no column with a usual name"),
        ("label,other\n1,b\n", "no column with a usual name"),
        ("label,label,text\n1,1,b\n", "names a column twice: label, label, text"),
        ("label,text\n1,a,b\n", "names 2 columns, the first row has 3"),
        ("1,a,b,c\n1,a,b,c\n", "no header and 4 columns"),
        ("label,text\n1,a\nWorld,b\n", "row 2: the label 'World' is not a class number"),
        ("label,text\n1,a\n,b\n", "row 2: the label '' is not a class number"),
        ("label,text\n1,a\nnan,b\n", "row 2: the label 'nan' is not a class number"),
        ("label,text\n1.5,a\n1,b\n", "row 1: the label '1.5' is not a class number"),
        ("label,text\n0,a\n4,b\n", "row 2: class 4 is outside 0 to 3"),
        ("label,text\n1,a\n5,b\n", "row 2: class 5 is outside 1 to 4"),
        ("label,text\n1,a\n-1,b\n", "row 2: class -1 is outside 1 to 4"),
        ("label,text\n1,a\n", "has 1 rows, 2 are needed"),
    ],
)
def test_bad_csv_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(WorkloadError, match=message) as caught:
        loaded(text_file(tmp_path, content))
    assert "rows.csv" in str(caught.value)


def test_bad_parquet_is_refused(tmp_path: Path) -> None:
    path = text_file(tmp_path, b"PAR1 and nothing else", name="rows.parquet")
    with pytest.raises(WorkloadError, match=r"rows\.parquet cannot be read"):
        loaded(path)
    Dataset.from_dict({"text": ["a", "b"], "label": [1.0, 1.5]}).to_parquet(str(path))
    with pytest.raises(WorkloadError, match=r"row 2: the label 1\.5"):
        loaded(path)
    Dataset.from_dict({"text": ["a", None], "label": [1, 2]}).to_parquet(str(path))
    with pytest.raises(WorkloadError, match="row 2: there is no `text`"):
        loaded(path)
    Dataset.from_dict({"text": ["a"][:0], "label": [1][:0]}).to_parquet(str(path))
    with pytest.raises(WorkloadError, match=r"rows\.parquet"):
        loaded(path)


def test_more_rows_than_there_are(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "test.csv", rows=60)
    with pytest.raises(WorkloadError, match="has 60 rows, 62 are needed: 50 to train on and 12 to evaluate on"):
        loaded(path, train_rows=50, eval_rows=12)
    folder = tmp_path / "parts"
    folder.mkdir()
    for part in ("train", "test"):
        write_csv(folder / f"{part}.csv", rows=20)
    with pytest.raises(WorkloadError, match="has 20 rows, 21 were asked for"):
        loaded(folder, train_rows=21)


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "test.csv")
    with pytest.raises(WorkloadError, match="has no column `klass`") as caught:
        loaded(path, label_column="klass")
    assert "label, title, description" in caught.value.hint
    with pytest.raises(WorkloadError, match="has no column `body`"):
        loaded(path, text_columns="title,body")


@pytest.mark.parametrize(
    "data", ["missing.csv", "./missing", "/missing", "~/missing", "~nobody/x.csv", "a/b/c", "x" * 5000]
)
def test_a_path_that_is_not_there_is_never_asked_of_the_hub(data: str) -> None:
    with pytest.raises(WorkloadError, match=r"no such file or folder|File name too long"):
        load(Config(data=data))


def test_a_folder_without_a_part_and_a_file_of_another_kind(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv")
    with pytest.raises(WorkloadError, match=r"has no test\.csv and no test\.parquet"):
        loaded(tmp_path)
    with pytest.raises(WorkloadError, match=r"neither \.csv nor \.parquet"):
        loaded(text_file(tmp_path, "hello", name="rows.txt"))
