"""Loader workers against cores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from verify_world import GB, experiment, found, only, world

from gpuplan.model import Device, Machine, Offer, Roles

if TYPE_CHECKING:
    from gpuplan.model import Experiment, Finding, World

COMMAND = "python train.py --lr {lr} --batch {batch} --steps {steps} --seed {seed} --out {run_dir} --workers {workers}"


def with_cores(cores: int, *, devices: int = 4) -> World:
    """A machine with so many cores and GPUs."""
    held = tuple(Device(index=index, gpu="L40", memory_bytes=48 * GB) for index in range(devices))
    return world(machine=Machine(cpu="EPYC", cores=cores, memory_bytes=64 * GB, devices=held))


def asked(workers: object, **changed: Any) -> Experiment:
    """The sound experiment as one run on four ranks, with so many workers each."""
    settings = {"batch": 32, "steps": 1000, "workers": workers}
    roles = {"batch": "batch", "steps": "steps", "workers": "workers"}
    keys: dict[str, Any] = {
        "command": COMMAND,
        "settings": settings,
        "roles": roles,
        "ranks": 4,
        "vary": {"lr": [0.1]},
        "seeds": [1],
    }
    return experiment(**(keys | changed))


def test_loaders_that_outnumber_the_cores_starve() -> None:
    finding = only("loaders", asked(4), given=with_cores(16))
    assert finding.severity == "warning"
    assert "4 ranks at once x (4 loader workers + 1) on 16 cores" in finding.message
    assert "20 processes" in finding.because
    assert finding.fix == "at most 3 loader workers a rank"
    assert finding.place == "settings.workers"


@pytest.mark.parametrize(("workers", "cores"), [(3, 16), (0, 4), (4, 20)])
def test_as_many_as_fit_are_silent(workers: int, cores: int) -> None:
    assert found("loaders", asked(workers), given=with_cores(cores)) == []


def test_runs_at_once_share_the_cores() -> None:
    two = asked(3, ranks=2, seeds=[1, 2])
    assert "4 ranks at once" in only("loaders", two, given=with_cores(12)).message
    assert found("loaders", two, given=with_cores(16)) == []


# ---------------------------------------------------------------- rented machines


def offer(vcpus: int | None, *, gpus: int = 4, place: str = "vast", gpu: str = "L40") -> Offer:
    return Offer(
        id=f"{place}/{gpu}/x{gpus}/{vcpus}", place=place, gpu=gpu, gpu_count=gpus, price_usd_per_h=1.0, vcpus=vcpus,
        as_of="2026-11-20", source="list",
    )  # fmt: skip


def rented(workers: int, *offers: Offer, on: str = "vast", **changed: Any) -> list[Finding]:
    """What is said of four ranks planned on L40s of these offers, from a machine of 2 cores."""
    spec = asked(workers, compute={"on": [on]}, **changed)
    return found("loaders", spec, given=with_cores(2).model_copy(update={"offers": offers}))


def test_a_rented_plan_is_judged_by_the_cores_of_what_is_rented() -> None:
    assert rented(4, offer(20)) == []
    (finding,) = rented(4, offer(16))
    assert finding.severity == "warning"
    assert "4 ranks at once x (4 loader workers + 1) on the 16 vCPUs of vast/L40/x4/16" in finding.message
    assert finding.fix == "at most 3 loader workers a rank"


def test_nothing_is_said_where_the_cores_of_what_is_rented_are_not_known() -> None:
    assert rented(64) == []
    assert rented(64, offer(None)) == []
    assert rented(64, offer(4), offer(None)) == []


def test_of_several_offers_the_one_with_the_most_room_counts() -> None:
    assert rented(4, offer(8), offer(20)) == []
    assert rented(4, offer(8), offer(38, gpus=8), seeds=[1, 2]) != []
    assert "16 vCPUs" in rented(4, offer(8), offer(16))[0].message


def test_offers_that_the_run_is_not_planned_on_do_not_count() -> None:
    assert rented(4, offer(8), offer(64, gpu="T4"), offer(64, gpus=2)) != []
    assert rented(4, offer(20), offer(8, gpu="T4"), offer(8, gpus=2)) == []


def test_a_price_asked_for_anywhere_does_not_look_at_this_machine() -> None:
    assert rented(4, offer(20), on="local") == []
    assert "2 cores" in rented(4, offer(2, place="local"), on="local")[0].message


def test_copies_count_and_no_worker_may_be_left() -> None:
    finding = only("loaders", asked(1, ranks=1, copies=8), given=with_cores(4, devices=1))
    assert finding.fix == "fewer ranks or copies at once"
    one = only("loaders", asked(4, ranks=1), given=with_cores(2, devices=1))
    assert one.fix == "at most 1 loader worker a rank"
    assert one.message.count("1 rank at once") == 1


@pytest.mark.parametrize("workers", ["auto", True, -1, 2.5, 1e300])
def test_what_is_no_count_says_nothing(workers: object) -> None:
    assert found("loaders", asked(workers), given=with_cores(2)) == []


def test_without_the_role_or_with_a_number_in_its_place() -> None:
    assert found("loaders", asked(64, roles={"batch": "batch", "steps": "steps"}), given=with_cores(2)) == []
    assert Roles(workers=8).workers == 8
    assert found("loaders", asked(1, roles={"batch": "batch", "workers": 8}), given=with_cores(8)) != []
