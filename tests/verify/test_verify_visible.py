"""GPU numbers that are picked by hand, against those that a run is given."""

from __future__ import annotations

from typing import Any

import pytest
from verify_world import SOUND, experiment, found, only, world

from gpuplan.model import Experiment, SourceFact

COMMAND = SOUND["command"]
MASK = "CUDA_VISIBLE_DEVICES"


def masked(value: str, **changed: Any) -> Experiment:
    return experiment(environment={"variables": {MASK: value}}, **changed)


# ---------------------------------------------------------------- CUDA_VISIBLE_DEVICES


def test_a_gpu_that_is_not_there_blocks() -> None:
    finding = only("gpu-number", experiment(command=f"env {MASK}=0,5 {COMMAND}"), given=world(devices=4))
    assert finding.severity == "error"
    assert finding.message.endswith("CUDA_VISIBLE_DEVICES=0,5: GPU 5 is not there")
    assert "this machine has 4 GPUs (0, 1, 2, 3)" in finding.because
    assert only("gpu-number", masked("7"), given=world(devices=4)).place == f"environment.variables.{MASK}"


def test_fewer_gpus_than_ranks_blocks() -> None:
    finding = only("gpu-number", masked("1", ranks=2), given=world(devices=4))
    assert finding.severity == "error"
    assert finding.message.endswith("shows 1 to 2 ranks")


def test_one_gpu_for_all_runs_warns() -> None:
    finding = only("gpu-picked", masked("1"), given=world(devices=4))
    assert finding.severity == "warning"
    assert "holds all of them to GPU 1" in finding.message


@pytest.mark.parametrize(
    ("value", "devices"), [("0", 1), ("", 4), ("-1", 4), ("GPU-8f1c", 4), ("0,1,2,3", 4), ("$X", 4)]
)
def test_masks_that_change_nothing_or_cannot_be_told_are_fine(value: str, devices: int) -> None:
    given = world(devices=devices)
    assert found("gpu-number", masked(value), given=given) == found("gpu-picked", masked(value), given=given) == []


def test_under_a_mask_of_its_own_gpuplan_knows_the_numbers_that_it_was_given() -> None:
    given = world(devices=2, mask="2,3")
    assert found("gpu-number", masked("2"), given=given) == []
    finding = only("gpu-number", masked("0"), given=given)
    assert (finding.severity, "GPU 0 is not given" in finding.message) == ("warning", True)
    assert found("gpu-number", masked("0"), given=world(devices=2, mask="GPU-a,GPU-b")) == []


def test_a_mask_in_a_shell_script_is_read_with_its_run_folder() -> None:
    script = f"bash -c '{MASK}=9 python train.py --lr {{lr}} --seed {{seed}} > {{run_dir}}/log'"
    assert "GPU 9 is not there" in only("gpu-number", experiment(command=script), given=world(devices=2)).message


# ---------------------------------------------------------------- numbers of devices


@pytest.mark.parametrize(
    ("option", "ranks", "devices", "severity"),
    [
        ("--device cuda:1", 1, 4, "error"),
        ("--device=cuda:1", 1, 4, "error"),
        ("device=cuda:4", 1, 4, "error"),
        ("--gpu_ids 0,1", 1, 4, "warning"),
        ("--gpu_ids 0,5", 1, 4, "error"),
        ("--device-id 1", 1, 4, "warning"),
        ("--device cuda:1", 2, 4, None),
        ("--device cuda:0", 1, 4, None),
        ("--device cuda", 1, 4, None),
        ("--gpus 4", 1, 4, None),
        ("--devices 4", 1, 4, None),
        ("--run_id 4", 1, 4, None),
        ("--gpu_ids all", 1, 4, None),
    ],
)
def test_devices_beyond_what_a_run_is_given(option: str, ranks: int, devices: int, severity: str | None) -> None:
    spec = experiment(command=f"{COMMAND} {option}", ranks=ranks)
    severities = [one.severity for one in found("gpu-number", spec, given=world(devices=devices))]
    assert severities == ([severity] if severity else [])


def test_only_the_runs_that_name_it_are_named() -> None:
    spec = experiment(command=f"{COMMAND} --device cuda:{{gpu}}", vary={"lr": [0.1]}, zip={"gpu": [0, 1]})
    finding = only("gpu-number", spec, given=world(devices=4))
    assert finding.message.startswith("2 runs (")
    assert "gpu1" in finding.message
    assert finding.fix == "`cuda:0`; or `ranks: 2` if one run needs so many"


def test_elsewhere_it_warns_as_the_machine_is_not_known() -> None:
    spec = experiment(command=f"{COMMAND} --device cuda:3", compute={"on": ["vast"]})
    assert only("gpu-number", spec, given=world(devices=4)).severity == "warning"


def test_a_configuration_that_the_command_names_is_read_at_its_line() -> None:
    config = SourceFact(
        path="cfg.yaml", kind="config", content={"trainer": {"device": "cuda:3", "gpus": 8}},
        places={"trainer": "cfg.yaml:1:1", "trainer.device": "cfg.yaml:2:3"},
    )  # fmt: skip
    named = experiment(command=f"{COMMAND} --config cfg.yaml")
    finding = only("gpu-number", named, given=world(devices=2, sources=[config]))
    assert (finding.severity, finding.place) == ("error", "cfg.yaml:2:3")
    assert found("gpu-number", experiment(), given=world(devices=2, sources=[config])) == []


# ---------------------------------------------------------------- code


def code(text: str) -> list[SourceFact]:
    return [SourceFact(path="train.py", kind="script", text=f"import os\n{text}\n")]


def test_code_that_sets_the_variable_leaves_its_gpu() -> None:
    given = world(devices=4, sources=code('os.environ["CUDA_VISIBLE_DEVICES"] = str(worker)'))
    finding = only("gpu-picked", experiment(), given=given)
    assert (finding.severity, finding.place) == ("warning", "train.py:2")
    assert "`CUDA_VISIBLE_DEVICES = str(worker)`; 4 runs share 4 GPUs here" in finding.because


@pytest.mark.parametrize(
    ("text", "devices", "mask"),
    [
        ('os.environ["CUDA_VISIBLE_DEVICES"] = ""', 4, None),
        ('# os.environ["CUDA_VISIBLE_DEVICES"] = "0"', 4, None),
        ('os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")', 4, None),
        ('seen = os.environ["CUDA_VISIBLE_DEVICES"]', 4, None),
        ('os.environ["CUDA_VISIBLE_DEVICES"] = "0"', 1, None),
    ],
)
def test_code_that_leaves_it_alone_is_fine(text: str, devices: int, mask: str | None) -> None:
    assert found("gpu-picked", experiment(), given=world(devices=devices, mask=mask, sources=code(text))) == []


def test_under_a_mask_one_gpu_is_enough_for_a_warning() -> None:
    given = world(devices=1, mask="3", sources=code('os.environ["CUDA_VISIBLE_DEVICES"] = "0"'))
    assert len(found("gpu-picked", experiment(), given=given)) == 1
