"""Packed rows, in logs and in specs, as in the LoRA study: 4,000 rows in 109 steps of one row."""

from __future__ import annotations

from typing import Any

import pytest
from verify_world import experiment, found, only, world

from gpuplan.model import FileFact, LoggedRun, Measurement, SourceFact
from gpuplan.verify.measured import Context, doubts

DATA = FileFact(path="data/words.jsonl", exists=True, size_bytes=9, rows=8000)


def log(path: str = "ck/slurm-1.out", *, settings: dict[str, Any] | None = None, **measured: Any) -> LoggedRun:
    fields = {"steps": 109, "epochs": 1, "dataset_rows": 4000, "step_s": 0.23, **measured}
    return LoggedRun(
        name="lora", format="torchtune", path=path, gpu="A100 80GB", ranks=1, settings=settings or {},
        measurement=Measurement.model_validate(fields),
    )  # fmt: skip


def said(one: LoggedRun, batch_rows: int | None = 1) -> list[str]:
    return [finding.check for finding in doubts([one], Context(batch_rows=batch_rows))]


def test_steps_that_see_far_fewer_rows_than_there_are() -> None:
    (finding,) = doubts([log()], Context(batch_rows=1))
    assert (finding.check, finding.severity, finding.place) == ("packed-rows", "warning", "ck/slurm-1.out")
    assert finding.message == "109 steps an epoch x 1 rows = 109, but the data has 4,000 rows"
    assert "about 36.7 rows are packed into one of a step, or passes were accumulated, or a part" in finding.because
    assert "`--dataset-rows 109`" in finding.fix


def test_a_setting_makes_it_sure() -> None:
    (finding,) = doubts([log(settings={"dataset_packed": True})], Context(batch_rows=1))
    assert finding.because.startswith("`dataset_packed: true`: about 36.7 rows are packed into one of a step; ")


@pytest.mark.parametrize(
    ("changed", "batch_rows"),
    [
        ({"dataset_rows": 109}, 1),
        ({"steps": 4000}, 1),
        ({"steps": 218, "epochs": 2, "dataset_rows": 110}, 1),
        ({}, 32),
        ({}, None),
        ({"dataset_rows": None}, 1),
        ({"epochs": 0}, 1),
        ({"settings": {"gradient_accumulation_steps": 32}}, 1),
        ({"settings": {"max_steps_per_epoch": 109}}, 1),
        ({"batch_size": 37}, 1),
    ],
)
def test_epochs_that_see_their_rows_or_cannot_be_told_are_fine(changed: dict[str, Any], batch_rows: int | None) -> None:
    assert said(log(**changed), batch_rows) == []


def test_packed_and_unpacked_runs_are_not_compared() -> None:
    packed = log("a.out", settings={"packed": True, "lr": 0.1}, dataset_rows=None, samples_per_s=1.2)
    plain = log("b.out", settings={"packed": False, "lr": 0.1}, dataset_rows=None, samples_per_s=44.0)
    (finding,) = doubts([packed, plain], Context())
    assert (finding.check, finding.severity, finding.place) == ("packed-compared", "warning", "a.out")
    assert finding.message == "its rows are packed, those of b.out are not: 1.2 and 44 samples a second"
    assert doubts([packed, plain.model_copy(update={"settings": {"packed": True, "lr": 0.1}})], Context()) == ()
    assert doubts([packed, plain.model_copy(update={"settings": {"packed": False, "lr": 0.2}})], Context()) == ()
    assert doubts([packed, plain.model_copy(update={"settings": {"lr": 0.1}})], Context()) == ()


# ---------------------------------------------------------------- specs


def study(command: str = "", *, rows: int = 8000) -> Any:
    return experiment(
        command=f"python train.py --lr {{lr}} --batch {{batch}} --seed {{seed}} {command}",
        settings={"batch": 4, "rows": rows, "epochs": 2},
        roles={"batch": "batch", "train_rows": "rows", "epochs": "epochs"},
        inputs=[{"path": DATA.path}],
    )


def test_rows_of_the_data_where_the_program_packs_them() -> None:
    finding = only("packed-rows", study("dataset.packed=True"), given=world(DATA))
    assert (finding.severity, finding.place) == ("warning", "settings.rows")
    assert (
        "dataset.packed True, but `train_rows` is 8,000, as many as data/words.jsonl has before packing"
        in finding.message
    )


def test_a_configuration_may_say_that_rows_are_packed() -> None:
    config = SourceFact(
        path="tune.yaml", kind="config", content={"dataset": {"packed": True}},
        places={"dataset": "tune.yaml:1:1", "dataset.packed": "tune.yaml:2:3"},
    )  # fmt: skip
    finding = only("packed-rows", study("--config tune.yaml"), given=world(DATA, sources=[config]))
    assert "tune.yaml:2:3 puts many rows into one" in finding.because


@pytest.mark.parametrize(
    ("command", "rows"),
    [
        ("dataset.packed=True", 218),
        ("dataset.packed=False", 8000),
        ("--packed-lr 3", 8000),
        ("--eval_packing true", 8000),
        ("", 8000),
    ],
)
def test_packed_rows_that_are_counted_as_such_are_fine(command: str, rows: int) -> None:
    assert found("packed-rows", study(command, rows=rows), given=world(DATA)) == []
