from __future__ import annotations

from typing import Any

import pytest
from verify_world import SOUND, estimates, experiment, findings, found, only, world

from gpuplan.model import Experiment, FileFact, World

COMMAND = SOUND["command"]


def trained(settings: dict[str, Any], **changed: Any) -> Experiment:
    """One run whose every setting has the role of its name."""
    roles = {name: name for name in settings}
    command = "python train.py --out {run_dir} " + " ".join(f"{{{name}}}" for name in settings)
    return experiment(**{"settings": settings, "roles": roles, "command": command, "vary": None, "seeds": []} | changed)


def holding(path: str, **facts: Any) -> World:
    return world(FileFact(path=path, exists=True, size_bytes=100, **facts))


# ---------------------------------------------------------------- warm-up


def test_a_warmup_longer_than_the_run_blocks() -> None:
    finding = only("warmup", trained({"steps": 109, "warmup_steps": 500}))
    assert (finding.severity, finding.place) == ("error", "settings.warmup_steps")
    assert finding.message == "agnews: warm-up of 500 steps in a run of 109"
    assert finding.fix == "a warm-up of at most 10 steps"


def test_a_warmup_of_half_the_run_warns() -> None:
    assert only("warmup", trained({"steps": 100, "warmup_steps": 50})).severity == "warning"


def test_steps_that_follow_from_epochs_count_too() -> None:
    spec = trained({"epochs": 1, "train_rows": 8000, "batch": 145, "warmup_steps": 100})
    assert only("warmup", spec).message == "agnews: warm-up of 100 steps in a run of 56"


@pytest.mark.parametrize(
    "settings", [{"steps": 300, "warmup_steps": 100}, {"steps": 9, "warmup_steps": 0}, {"warmup_steps": 9}]
)
def test_a_usual_warmup_or_one_of_an_unknown_run_is_fine(settings: dict[str, int]) -> None:
    assert found("warmup", trained(settings)) == []


def test_a_control_that_does_not_train_needs_no_warmup() -> None:
    spec = trained(
        {"steps": 1000, "warmup_steps": 10},
        controls=[{"name": "base", "train": False, "settings": {"warmup_steps": 5}}],
    )
    assert found("warmup", spec) == []


# ---------------------------------------------------------------- steps, epochs, batch


def test_steps_and_epochs_that_disagree_warn_with_both() -> None:
    spec = trained({"steps": 109, "epochs": 1, "train_rows": 4000, "batch": 1})
    finding = only("steps-epochs", spec)
    assert finding.severity == "warning"
    assert finding.message == "agnews: 109 steps are given, but 1 epoch is 4,000"
    assert finding.because == "1 epoch x 4,000 rows / batch 1 = 4,000 steps"


@pytest.mark.parametrize("steps", [188, 187, 200, 170])
def test_steps_and_epochs_that_agree_to_a_tenth_are_fine(steps: int) -> None:
    assert found("steps-epochs", trained({"steps": steps, "epochs": 1, "train_rows": 6000, "batch": 32})) == []


def test_only_epochs_are_no_contradiction() -> None:
    assert found("steps-epochs", trained({"epochs": 3, "train_rows": 6000, "batch": 32})) == []


def test_a_batch_that_its_ranks_cannot_share_blocks() -> None:
    spec = trained({"batch": 32, "accumulation": 2}, vary={"ranks": [1, 2, 3]})
    finding = only("batch-shares", spec, given=world(devices=4))
    assert finding.severity == "error"
    assert finding.message == "ranks3: a batch of 32 is not 3 ranks x 2 accumulated passes"
    assert finding.fix == "a batch of 30"


def test_a_batch_that_is_not_its_parts_blocks() -> None:
    spec = trained({"batch": 128, "micro_batch": 128}, ranks=4)
    finding = only("batch-shares", spec, given=world(devices=4))
    assert finding.because == "4 ranks x 1 accumulated passes x 128 rows = 512; per rank or in all?"
    assert found("batch-shares", trained({"batch": 128, "micro_batch": 32}, ranks=4), given=world(devices=4)) == []


def test_a_micro_batch_alone_is_always_shared() -> None:
    assert found("batch-shares", trained({"micro_batch": 33}, ranks=2)) == []


def test_a_batch_larger_than_an_epoch_blocks() -> None:
    finding = only("batch-rows", trained({"batch": 64, "train_rows": 16, "epochs": 2}))
    assert (finding.severity, finding.message) == ("error", "agnews: a batch of 64 is more than the 16 training rows")
    assert found("batch-rows", trained({"batch": 16, "train_rows": 16, "epochs": 2})) == []


@pytest.mark.parametrize(
    ("settings", "severity"),
    [
        ({"batch": 0}, "error"),
        ({"steps": -1}, "error"),
        ({"sequence": 12.5}, "error"),
        ({"micro_batch": True}, "error"),
        ({"batch": "auto"}, "warning"),
        ({"train_rows": 1e308}, "error"),
        ({"epochs": 0}, "error"),
        ({"warmup_steps": 0.5}, "error"),
        ({"workers": -1}, "error"),
        ({"workers": 2.5}, "error"),
        ({"load_s": -0.1}, "error"),
        ({"load_s": "slow"}, "warning"),
    ],
)
def test_values_that_no_training_can_have(settings: dict[str, Any], severity: str) -> None:
    finding = only("role-value", trained(settings))
    assert (finding.severity, finding.place) == (severity, f"settings.{next(iter(settings))}")


def test_values_that_a_training_can_have() -> None:
    assert found("role-value", trained({"batch": 1, "eval_rows": 0, "sequence": 128.0, "epochs": 0.5})) == []
    assert found("role-value", trained({"workers": 0, "load_s": 0.0})) == []
    assert found("role-value", trained({"workers": 4, "load_s": 0.004})) == []


# ---------------------------------------------------------------- rows


def test_more_rows_than_the_input_has_block() -> None:
    spec = trained({"train_rows": 7000, "eval_rows": 1600})
    finding = only("rows", spec)
    assert finding.severity == "error"
    assert finding.message == "agnews: 7,000 training rows + 1,600 for evaluation are more than the 7,600 there are"
    assert finding.fix == "at most 6,000 training rows"
    assert found("rows", trained({"train_rows": 6000, "eval_rows": 1600})) == []


def test_a_split_of_its_own_for_training_is_counted_alone() -> None:
    splits = {"train": 6000, "test": 1600}
    few = trained({"train_rows": 6000, "eval_rows": 1600}, inputs=[{"path": "data/w"}])
    assert found("rows", few, given=holding("data/w", is_folder=True, splits=splits)) == []
    many = trained({"train_rows": 6001, "eval_rows": 10}, inputs=[{"path": "data/w"}])
    assert (
        "6,001 training rows are more than the 6,000"
        in only("rows", many, given=holding("data/w", splits=splits)).message
    )


def test_rows_of_several_inputs_are_added_and_models_left_out() -> None:
    spec = trained(
        {"train_rows": 7000, "eval_rows": 1600},
        inputs=[{"path": "data/agnews.csv"}, {"path": "data/test.csv"}, {"path": "models/1b"}],
    )
    model = FileFact(path="models/1b", exists=True, size_bytes=10)
    second = FileFact(path="data/test.csv", exists=True, size_bytes=10, rows=1000)
    assert found("rows", spec, given=world(model, second)) == []
    short = FileFact(path="data/test.csv", exists=True, size_bytes=10, rows=999)
    assert len(found("rows", spec, given=world(model, short))) == 1


@pytest.mark.parametrize("facts", [{}, {"splits": {"train": None}}, {"splits": {"validation": 5}}])
def test_rows_that_cannot_be_counted_are_not_judged(facts: dict[str, Any]) -> None:
    spec = trained({"train_rows": 10**6}, inputs=[{"path": "data/w"}])
    assert found("rows", spec, given=holding("data/w", **facts)) == []


# ---------------------------------------------------------------- what is compared


def test_the_same_steps_at_another_batch_are_not_the_same_training() -> None:
    spec = trained({"steps": 20000}, vary={"batch": [4, 16]}, roles={"steps": "steps", "batch": "batch"},
                   command="python train.py {steps} {batch} {run_dir}")  # fmt: skip
    finding = only("samples-differ", spec)
    assert (finding.severity, finding.place) == ("warning", "vary.batch")
    assert finding.message == "samples seen differ: 80,000 in batch4; 320,000 in batch16"
    assert finding.because == "batch 4 x 20,000 steps = 80,000; batch 16 x 20,000 steps = 320,000"


def test_ranks_with_the_same_micro_batch_see_more_samples() -> None:
    spec = trained({"steps": 100, "micro_batch": 32}, vary={"ranks": [1, 4]})
    assert "3,200 in ranks1; 12,800 in ranks4" in only("samples-differ", spec, given=world(devices=4)).message


def test_a_length_that_the_user_varies_is_only_noted() -> None:
    spec = experiment(settings={"batch": 32}, vary={"lr": [1], "steps": [100, 1000]})
    assert only("samples-differ", spec).severity == "note"


BY_EPOCHS = {"epochs": "epochs", "train_rows": "train_rows", "batch": "batch"}
STAGES = [{"name": "a", "settings": {"steps": 10}}, {"name": "b"}]


@pytest.mark.parametrize(
    "spec",
    [
        experiment(),
        experiment(settings={}, vary={"lr": [1]}, zip={"batch": [4, 16], "steps": [20000, 5000]}),
        trained({"epochs": 3, "train_rows": 6000}, vary={"batch": [32, 512]}, roles=BY_EPOCHS),
        experiment(roles={}),
        experiment(stages=STAGES),
        experiment(controls=[{"name": "base", "train": False, "settings": {"steps": 1}}]),
    ],
    ids=["equal", "in proportion", "by epochs", "unknown", "stages are not compared", "a control without training"],
)
def test_equal_work_gives_no_alarm(spec: Experiment) -> None:
    assert found("samples-differ", spec, estimated=estimates(spec)) == []


def test_absurd_figures_are_reported_and_reckoned_with_nowhere() -> None:
    spec = trained({"steps": 1e308, "epochs": 1e308, "train_rows": 1e308, "batch": 1e308, "warmup_steps": 1e308})
    assert {finding.check for finding in findings(spec) if finding.severity != "note"} == {"role-value"}
