from __future__ import annotations

from typing import Any

import pytest
from verify_world import GB, SOUND, estimate, estimates, experiment, found, only, quantity, world

from gpuplan.expand import expand
from gpuplan.model import History, Quantity
from gpuplan.verify import parse_interval

COMMAND = SOUND["command"]

# ---------------------------------------------------------------- disk


def test_checkpoints_that_do_not_fit_block_with_the_sum() -> None:
    spec = experiment(vary={"lr": [1, 2, 3, 4, 5]})
    size = quantity(18.3 * GB, because="4 checkpoints x 4.2 GB + 1.4 GB")
    finding = only("disk", spec, given=world(disk_free_bytes=50 * GB), estimated=estimates(spec, disk_bytes=size))
    assert finding.severity == "error"
    assert finding.message == "10 runs x 17 GiB = 170 GiB (153-187) of 46.6 GiB free on this machine"
    assert "4 checkpoints x 4.2 GB + 1.4 GB" in finding.because
    assert "`checkpoint: {keep: 1}`" in finding.fix


def test_checkpoints_that_the_spec_does_not_speak_of_block_only_if_the_least_is_too_much() -> None:
    silent = experiment()
    said = experiment(checkpoint={"every": "1000 steps"})
    size = Quantity(p10=0.1 * GB, p50=2 * GB, p90=3 * GB, source="closed_form", because="one is assumed")
    room = world(disk_free_bytes=2 * GB)
    assert only("disk", silent, given=room, estimated=estimates(silent, disk_bytes=size)).severity == "warning"
    assert only("disk", said, given=room, estimated=estimates(said, disk_bytes=size)).severity == "error"


def test_checkpoints_that_may_not_fit_warn_and_those_that_do_are_silent() -> None:
    spec = experiment()
    assert only("disk", spec, given=world(disk_free_bytes=int(4.2 * GB))).severity == "warning"
    assert found("disk", spec, given=world(disk_free_bytes=int(4.5 * GB))) == []


def test_finished_runs_have_their_place_on_disk_already() -> None:
    spec = experiment()
    done = [History(name=run.name, key=run.key, state="finished") for run in expand(spec)[:2]]
    crashed = [History(name=run.name, key=run.key, state="crashed") for run in expand(spec)[:2]]
    assert found("disk", spec, given=world(disk_free_bytes=3 * GB, history=done)) == []
    assert only("disk", spec, given=world(disk_free_bytes=3 * GB, history=crashed)).severity == "error"


def test_the_disk_of_a_rented_machine_is_looked_at_too() -> None:
    finding = only("disk", experiment(compute={"disk": "3 GB"}))
    assert (finding.severity, finding.place) == ("error", "compute.disk")
    assert "2.79 GiB in `compute.disk`" in finding.message


def test_runs_of_different_sizes_are_given_as_a_span() -> None:
    spec = experiment()
    sizes = [estimate(run.name, disk_bytes=quantity(GB * (i + 1))) for i, run in enumerate(expand(spec))]
    message = only("disk", spec, given=world(disk_free_bytes=GB), estimated=sizes).message
    assert message.startswith("4 runs x 954 MiB to 3.73 GiB = 9.31 GiB")


# ---------------------------------------------------------------- memory


def test_what_fits_nowhere_blocks_with_the_largest_part_and_a_remedy() -> None:
    spec = experiment()
    tight_too = [
        *estimates(spec, fits="NO FIT"),
        *estimates(spec, gpu="T4", fits="NO FIT", memory={"capacity_bytes": GB}),
    ]
    finding = only("memory", spec, estimated=tight_too)
    assert finding.severity == "error"
    assert "does not fit on any device: 20.5 GiB (18.4-22.5) of 44.7 GiB on L40" in finding.message
    assert "the largest part is activations, 14 GiB" in finding.because
    assert finding.fix.startswith("lower `batch`")


def test_one_device_that_it_fits_on_is_enough() -> None:
    spec = experiment()
    assert found("memory", spec, estimated=[*estimates(spec, gpu="T4", fits="NO FIT"), *estimates(spec)]) == []


def test_a_tight_fit_warns_and_an_unknown_one_is_noted() -> None:
    spec = experiment()
    assert only("memory-tight", spec, estimated=estimates(spec, fits="TIGHT")).severity == "warning"
    unknown = only("memory-unknown", spec, estimated=estimates(spec, fits="UNKNOWN"))
    assert (unknown.severity, unknown.place) == ("note", "footprint")


@pytest.mark.parametrize(
    ("component", "remedy"), [("logits", "lower `batch`"), ("optimizer", "LoRA"), ("parameters", "bf16")]
)
def test_the_remedy_is_for_the_largest_part(component: str, remedy: str) -> None:
    spec = experiment()
    memory = {"components_bytes": {component: 30.0 * GB, "inputs": 1.0}}
    assert remedy in only("memory", spec, estimated=estimates(spec, fits="NO FIT", memory=memory)).fix


GPT = {
    "model": {"kind": "decoder", "layers": 12, "d_model": 768, "heads": 12, "feedforward": 3072, "vocabulary": 50257,
              "sequence": 1024},
}  # fmt: skip


def test_the_fix_is_the_first_remedy_that_was_estimated_to_fit() -> None:
    spec = experiment(settings={"batch": 512}, footprint=GPT, roles={"micro_batch": "batch"})
    finding = only("memory", spec, estimated=estimates(spec, fits="NO FIT"))
    assert finding.fix.startswith("smaller micro-batch: `batch: ")
    assert "GiB then" in finding.fix
    assert "gpuplan fit" in finding.fix


def test_finished_runs_need_no_memory() -> None:
    spec = experiment()
    done = [History(name=run.name, key=run.key, state="finished") for run in expand(spec)]
    assert found("memory", spec, given=world(history=done), estimated=estimates(spec, fits="NO FIT")) == []


# ---------------------------------------------------------------- machine


def test_more_ranks_than_devices_block() -> None:
    finding = only("ranks", experiment(vary={"lr": [1], "ranks": [1, 2, 4]}, seeds=[1]), given=world(devices=2))
    assert finding.message == "lr1-ranks4-s1: 4 ranks, but this machine has 2 devices"
    assert (finding.severity, finding.place, finding.fix) == ("error", "vary.ranks", "at most `ranks: 2`")
    assert found("ranks", experiment(ranks=2), given=world(devices=2)) == []


@pytest.mark.parametrize("wish", ["RTX 4090", "A100 80GB", "NVIDIA H100 80GB HBM3"])
def test_gpus_on_a_machine_without_one_block(wish: str) -> None:
    finding = only("gpu-missing", experiment(compute={"gpus": [wish]}), given=world(gpu="EPYC"))
    assert finding.severity == "error"
    assert finding.because == "a local run would train on the CPU"


def test_other_gpus_than_wished_for_warn_and_the_right_ones_do_not() -> None:
    assert only("gpu-missing", experiment(compute={"gpus": ["RTX 4090"]})).severity == "warning"
    assert found("gpu-missing", experiment(compute={"gpus": ["RTX 4090", "NVIDIA L40"]})) == []
    assert found("gpu-missing", experiment(), given=world(gpu="EPYC")) == []


def test_an_unknown_gpu_blocks_with_near_names() -> None:
    finding = only("gpu-unknown", experiment(compute={"gpus": ["L40", "RTX 4900"]}))
    assert (finding.severity, finding.place) == ("error", "compute.gpus.1")
    assert "RTX 4090" in finding.because + finding.fix
    assert only("gpu-unknown", experiment(stages=[{"name": "a", "gpus": ["Z9"]}])).place == "stages.0.gpus.0"


def test_places_that_are_priced_only_warn_and_those_that_nobody_knows_block() -> None:
    finding = only("place", experiment(compute={"on": ["local", "vast"]}))
    assert (finding.severity, finding.place) == ("warning", "compute.on.1")
    assert "runs on this machine only" in finding.because
    assert only("place", experiment(compute={"on": ["slurm"]})).severity == "warning"
    unknown = only("place", experiment(compute={"on": ["locl"]}))
    assert (unknown.severity, unknown.fix) == ("error", "did you mean local?")
    assert only("place", experiment(compute={"on": ["vasst"]})).fix == "did you mean vast?"
    assert only("place", experiment(compute={"on": ["my-lab"]})).severity == "error"
    assert found("place", experiment(compute={"on": ["local"]})) == []


@pytest.mark.parametrize(
    ("changed", "processes"),
    [
        ({"compute": {"threads": 12}}, 2),
        ({"compute": {"threads": 9}, "ranks": 2}, 2),
        ({"roles": {"threads": "batch"}, "vary": {"lr": [1]}, "seeds": [1]}, 1),
        ({"compute": {"threads": 2}, "copies": 8}, 16),
    ],
)
def test_more_threads_than_cores_warn(changed: dict[str, Any], processes: int) -> None:
    finding = only("threads", experiment(**changed))
    assert finding.severity == "warning"
    assert f"up to {processes} processes x" in finding.message
    assert "on 16 cores" in finding.message


def test_threads_that_have_cores_or_are_gpuplans_own_share_are_fine() -> None:
    assert found("threads", experiment(compute={"threads": 8})) == []
    assert found("threads", experiment(compute={"threads": 12}, vary={"lr": [1]}, seeds=[1])) == []
    assert found("threads", experiment()) == []


# ---------------------------------------------------------------- limits


def test_a_limit_below_the_expected_duration_blocks_and_below_the_long_one_warns() -> None:
    finding = only("run-limit", experiment(limits={"run": "90 s"}))
    assert (finding.severity, finding.place) == ("error", "limits.run")
    assert finding.because == "it is expected to take 1m40s, up to 1m50s"
    assert only("run-limit", experiment(limits={"run": "105 s"})).severity == "warning"
    assert found("run-limit", experiment(limits={"run": "2 min"})) == []


def test_the_fastest_device_decides_on_the_limit() -> None:
    spec = experiment(limits={"run": "2 min"})
    slow = estimates(spec, gpu="T4", duration_s=quantity(1000))
    assert found("run-limit", spec, estimated=[*slow, *estimates(spec)]) == []


@pytest.mark.parametrize("text", ["often", "0 steps", "-5 steps", "1000", "10 parsecs", "1e400 s", "0 s"])
def test_an_interval_that_means_nothing_blocks(text: str) -> None:
    finding = only("checkpoint-every", experiment(checkpoint={"every": text}))
    assert (finding.severity, finding.place) == ("error", "checkpoint.every")


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [("1000 steps", 1000, "step"), ("1 epoch", 1, "epoch"), ("10 min", 600, "second"), ("1h30m", 5400, "second")],
)
def test_intervals_are_counted_or_timed(text: str, amount: float, unit: str) -> None:
    assert parse_interval(text) == (amount, unit)
    assert found("checkpoint-every", experiment(checkpoint={"every": text})) == []


def test_stages_and_copies_can_be_planned_only() -> None:
    assert only("not-yet", experiment(stages=[{"name": "a"}])).place == "stages"
    assert only("not-yet", experiment(copies=8)).severity == "warning"
    assert found("not-yet", experiment()) == []
