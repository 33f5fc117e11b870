from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gpuplan.data import gpus
from gpuplan.errors import UserError
from gpuplan.model import Device, Experiment, Machine, World
from gpuplan.world.asked import Asked, is_asked
from gpuplan.world.market import with_offers

if TYPE_CHECKING:
    from pathlib import Path

GB = 10**9
ROWS = "gpu,gpus,price,place\nRTX 4090,1,0.40,my-lab\nRTX 4090,1,-3,my-lab\n"


def experiment(**compute: Any) -> Experiment:
    return Experiment.model_validate({"name": "x", "command": "train", "compute": compute})


@pytest.fixture
def world() -> World:
    devices = (Device(index=0, gpu="T4", memory_bytes=15 * GB),)
    machine = Machine(cpu="EPYC", cores=8, memory_bytes=64 * GB, devices=devices)
    return World(today="2026-11-20", machine=machine, gpus=gpus(), disk_free_bytes=10**12)


def places(found: World) -> set[str]:
    return {offer.place for offer in found.offers}


def test_only_the_places_that_the_spec_names_are_looked_at(world: World, tmp_path: Path) -> None:
    asked = Asked(cache=tmp_path)
    assert places(with_offers(world, experiment(on=["vast", "runpod"]), asked)) == {"vast", "runpod"}
    assert places(with_offers(world, experiment(on=["local", "gcp"]), asked)) == {"local", "gcp"}


def test_anywhere_is_every_market_and_not_this_machine(world: World, tmp_path: Path) -> None:
    found = places(with_offers(world, experiment(on=["local"]), Asked(anywhere=True, cache=tmp_path)))
    assert {"vast", "runpod", "aws", "colab"} <= found
    assert "local" not in found


def test_a_table_is_beside_this_machine_and_its_bad_rows_are_named(world: World, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(ROWS)
    asked = Asked(table=tmp_path / "rows.csv", cache=tmp_path)
    found = with_offers(world, experiment(), asked)
    assert places(found) == {"local", "my-lab"}
    (note,) = found.oddities
    assert "1 offer left out, the first: rows.csv:3" in note.message
    assert note.severity == "warning"
    assert "--from" in note.fix
    assert places(with_offers(world, experiment(on=["vast"]), asked)) == {"vast", "my-lab"}


def test_wishes_hold_and_what_is_not_stated_is_kept_apart(world: World, tmp_path: Path) -> None:
    found = with_offers(world, experiment(on=["vast"], gpus=["RTX 4090"], reliability=0.9), Asked(cache=tmp_path))
    assert found.offers == ()
    assert {one.kind for one in found.unstated} == {"unstated"}
    assert {one.stated.gpu for one in found.unstated if one.stated} == {"RTX 4090"}


def test_a_table_that_is_not_there_is_the_users_error(world: World, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing\.csv"):
        with_offers(world, experiment(), Asked(table=tmp_path / "missing.csv", cache=tmp_path))


def test_this_machine_alone_asks_nothing(tmp_path: Path) -> None:
    assert not is_asked(experiment(), Asked())
    assert not is_asked(experiment(), Asked(cautious=True))
    assert is_asked(experiment(), Asked(table=tmp_path))
    assert is_asked(experiment(on=["local", "vast"]), Asked())
    assert is_asked(experiment(), Asked(anywhere=True))
