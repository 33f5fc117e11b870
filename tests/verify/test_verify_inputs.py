from __future__ import annotations

import pytest
from verify_world import AGNEWS, SOUND, errors, experiment, found, only, world

from gpuplan.model import FileFact

COMMAND = SOUND["command"]


def missing(path: str, *near: str) -> FileFact:
    return FileFact(path=path, exists=False, near=near)


def test_an_input_that_is_not_there_blocks_and_near_names_are_offered() -> None:
    spec = experiment(inputs=[{"path": "data/agnws.csv"}])
    finding = only("input-missing", spec, given=world(missing("data/agnws.csv", "agnews.csv", "imdb.csv")))
    assert (finding.severity, finding.message) == ("error", "data/agnws.csv does not exist")
    assert finding.because.endswith("beside it: agnews.csv, imdb.csv")
    assert finding.fix.startswith("did you mean data/agnews.csv?")
    assert "create: COMMAND" in finding.fix


def test_an_input_that_can_be_made_only_warns_and_offers_the_command() -> None:
    spec = experiment(inputs=[{"path": "data/words_5.json", "create": "python get.py --len 5"}])
    finding = only("input-missing", spec, given=world(missing("data/words_5.json")))
    assert finding.severity == "warning"
    assert finding.fix == "`gpuplan apply` runs `python get.py --len 5` first"


def test_every_path_that_a_template_can_become_is_looked_for() -> None:
    spec = experiment(
        command=f"{COMMAND} --model {{model}}",
        vary={"model": ["1b", "3b"]},
        inputs=[{"path": "models/{model}", "create": "python get.py {model}"}],
    )
    there = FileFact(path="models/1b", exists=True, is_folder=True, size_bytes=5)
    finding = only("input-missing", spec, given=world(there, missing("models/3b", "1b")))
    assert finding.message == "models/3b does not exist yet"
    assert "`python get.py 3b`" in finding.fix


def test_an_input_that_is_there_is_shown_with_its_rows_and_size() -> None:
    finding = only("input", experiment())
    assert finding.severity == "note"
    assert finding.message == "data/agnews.csv: 7,600 rows, 1.77 MiB"


def test_splits_are_shown() -> None:
    folder = FileFact(
        path="data/w", exists=True, is_folder=True, size_bytes=2**20, splits={"train": 6000, "validation": None}
    )
    spec = experiment(inputs=[{"path": "data/w", "splits": ["train", "validation"]}])
    assert only("input", spec, given=world(folder)).message == "data/w: train 6,000 rows, validation, 1 MiB"
    assert found("split-missing", spec, given=world(folder)) == []


@pytest.mark.parametrize(
    "fact",
    [
        FileFact(path="data/x.csv", exists=True, size_bytes=0),
        FileFact(path="data/x.csv", exists=True, size_bytes=11, rows=0),
        FileFact(path="data/x.csv", exists=True, is_folder=True, size_bytes=0),
    ],
    ids=["no byte", "a header alone", "an empty folder"],
)
def test_an_empty_input_blocks(fact: FileFact) -> None:
    finding = only("input-empty", experiment(inputs=[{"path": "data/x.csv"}]), given=world(fact))
    assert (finding.severity, finding.message) == ("error", "data/x.csv is empty")


def test_a_file_whose_rows_cannot_be_counted_is_not_empty() -> None:
    fact = FileFact(path="model.bin", exists=True, size_bytes=10)
    assert found("input-empty", experiment(inputs=[{"path": "model.bin"}]), given=world(fact)) == []


def test_a_split_that_is_not_there_blocks_where_splits_can_be_told_apart() -> None:
    folder = FileFact(path="data/w", exists=True, is_folder=True, size_bytes=9, splits={"train": 6, "validation": 2})
    spec = experiment(inputs=[{"path": "data/w", "splits": ["train", "validaton"]}])
    finding = only("split-missing", spec, given=world(folder))
    assert (finding.severity, finding.message) == ("error", "data/w has no split validaton")
    assert finding.fix == "did you mean validation?"


def test_splits_that_nothing_is_known_of_only_warn() -> None:
    spec = experiment(inputs=[{"path": "data/agnews.csv", "splits": ["train"]}])
    assert only("split-missing", spec).severity == "warning"


@pytest.mark.parametrize(
    ("path", "size_bytes"),
    [
        ("data/a.parquet", 10),
        ("data/a.pt", 10),
        ("data/a.json", 2**30),
        ("data/a.zip", 2**40),
        ("data/a.tar.xz", 2**25),
    ],
)
def test_splits_in_a_file_that_is_not_looked_into_are_not_known(path: str, size_bytes: int) -> None:
    fact = FileFact(path=path, exists=True, size_bytes=size_bytes)
    spec = experiment(inputs=[{"path": path, "splits": ["train", "test"]}])
    finding = only("split-unknown", spec, given=world(fact))
    assert (finding.severity, finding.message) == ("note", f"whether {path} has the splits train, test is not known")
    assert found("split-missing", spec, given=world(fact)) == []


def test_a_split_that_a_file_lacks() -> None:
    fact = FileFact(path="a.json", exists=True, size_bytes=9, splits={"train": 1})
    finding = only(
        "split-missing", experiment(inputs=[{"path": "a.json", "splits": ["train", "test"]}]), given=world(fact)
    )
    assert (finding.severity, finding.because) == ("error", "found: train; train 1 row, 9 B")


def test_a_split_without_rows_blocks() -> None:
    folder = FileFact(path="data/w", exists=True, is_folder=True, size_bytes=9, splits={"train": 6, "test": 0})
    spec = experiment(inputs=[{"path": "data/w", "splits": ["train", "test"]}])
    finding = only("split-missing", spec, given=world(folder))
    assert (finding.severity, finding.message) == ("error", "the split test of data/w has no rows")


def test_a_setting_that_names_a_missing_model_blocks() -> None:
    spec = experiment(
        command=f"{COMMAND} --model {{model}}",
        vary={"model": ["models/Llama-3.2-1B", "models/Llama-3.2-3B"]},
    )
    there = FileFact(path="models/Llama-3.2-1B", exists=True, is_folder=True, size_bytes=5)
    finding = only("model-missing", spec, given=world(there, missing("models/Llama-3.2-3B", "Llama-3.2-1B")))
    assert finding.severity == "error"
    assert finding.message.endswith("model is models/Llama-3.2-3B, which does not exist")
    assert "did you mean models/Llama-3.2-1B?" in finding.fix
    assert finding.place == "vary.model.1"


def test_another_missing_path_in_a_setting_only_warns() -> None:
    spec = experiment(
        command=f"{COMMAND} --config {{config}}", settings={"config": "configs/a.yaml", "batch": 1, "steps": 1}
    )
    assert only("path-missing", spec, given=world(missing("configs/a.yaml"))).severity == "warning"


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        ("{model}", {"model": "meta-llama/Llama-3.2-1B"}),
        ("{output_dir}", {"output_dir": "./results/{name}"}),
        ("--output_dir {where}", {"where": "./results"}),
        ("--lr {lr}", {"model": "models/never-read"}),
    ],
    ids=["a name on a hub", "a setting that is written", "an option that is written", "a setting that is not read"],
)
def test_what_is_no_path_to_read_is_not_looked_for(command: str, settings: dict[str, str]) -> None:
    spec = experiment(command=f"{COMMAND} {command}", settings={"batch": 1, "steps": 1, **settings})
    nothing_else = world(*(missing(str(value)) for value in settings.values()))
    assert not {"model-missing", "path-missing"} & errors(spec, given=nothing_else)
    assert found("path-missing", spec, given=nothing_else) == []


def test_a_model_that_an_input_makes_is_not_missing() -> None:
    spec = experiment(
        command=f"{COMMAND} --model {{model}}",
        settings={"model": "models/1b", "batch": 1, "steps": 1},
        inputs=[{"path": "{model}", "create": "python get.py {model}"}],
    )
    assert found("model-missing", spec, given=world(missing("models/1b"))) == []


def test_a_path_that_the_world_was_not_asked_for_counts_as_missing() -> None:
    assert only("input-missing", experiment(), given=world(files={})).severity == "error"
    assert found("input-missing", experiment(), given=world(files={AGNEWS.path: AGNEWS})) == []
