"""Programs of several ranks, traced as their first one: bytes counted by hand, and no network."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from gpuplan.footprint.gang import in_gang
from gpuplan.trace import Limits, Traced, trace
from gpuplan.units import MIB

PROGRAMS = Path(__file__).parent / "programs"
LAYERS = 4
"""Each of 512 x 512 numbers in fp32: 1 MiB."""
ROWS = 4 * 512 * 4


@cache
def traced(name: str, ranks: int, **settings: bool) -> Traced:
    return trace(
        f"parallel:{name}",
        {"batch_size": 4, **settings},
        workdir=PROGRAMS,
        micro_batch="batch_size",
        ranks=ranks,
        limits=Limits(timeout_s=60),
    )


def most(answer: Traced, phase: str) -> dict[str, float]:
    """MiB by component at the phase's largest moment; what is smaller than a layer's input is left out."""
    moments = [moment for moment in answer.footprint.moments if moment.phase == phase]
    largest = max(moments, key=lambda moment: moment.total_bytes(4))
    alive = {component: line.at(4) for component, line in largest.alive_bytes.items()}
    return {component: size / MIB for component, size in alive.items() if size > LAYERS * 2 * ROWS}


def test_each_rank_of_data_parallel_holds_everything_and_its_buckets() -> None:
    answer = traced("data_parallel", 2)
    # The buckets are a second copy of the gradients; the optimizer's temporary is one of the parameters.
    assert most(answer, "optimizer") == {
        "parameters": LAYERS,
        "gradients": LAYERS,
        "buffers": LAYERS,
        "optimizer": 2 * LAYERS,
        "temporaries": LAYERS,
    }
    assert answer.footprint.gradient_bytes == LAYERS * MIB
    assert any("the first of 2 ranks" in assumption for assumption in answer.assumptions)


def test_gradients_can_be_views_of_their_buckets() -> None:
    views = most(traced("data_parallel", 2, views=True), "optimizer")
    assert views == {
        "parameters": LAYERS,
        "gradients": LAYERS,
        "optimizer": 2 * LAYERS,
        "temporaries": LAYERS,
    }
    # They are there in the forward pass too.
    assert most(traced("data_parallel", 2, views=True), "forward")["gradients"] == LAYERS


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("name", ["sharded", "flat"])
def test_sharding_divides_what_is_kept(name: str, ranks: int) -> None:
    share = LAYERS / ranks
    assert most(traced(name, ranks), "optimizer") == {
        "parameters": share,
        "gradients": share,
        "optimizer": 2 * share,
        "temporaries": share,
    }
    assert traced(name, ranks).footprint.checkpoint_bytes == pytest.approx(3 * share * MIB, rel=1e-4)


def test_layers_are_gathered_one_by_one() -> None:
    """Forward: the shards, one whole layer, and what the network brought of it and of the next one."""
    share = LAYERS / 4
    assert most(traced("sharded", 4), "forward") == {
        "parameters": share + 1,
        "optimizer": 2 * share,
        "temporaries": 2,
    }
    # Gathered in 16 bits, each is half as large.
    assert most(traced("sharded", 4, mixed=True), "forward") == {
        "parameters": share + 0.5,
        "optimizer": 2 * share,
        "temporaries": 1,
    }
    backward = most(traced("sharded", 4), "backward")
    # The layer and the one before it, gathered ahead; the whole gradient of one and its shards.
    assert backward["parameters"] <= share + 2
    assert backward["gradients"] <= share
    assert backward["temporaries"] <= 4.1


def test_a_mesh_of_two_dimensions_shards_over_one() -> None:
    assert most(traced("meshed", 4), "optimizer") == {
        "parameters": LAYERS / 2,
        "gradients": LAYERS / 2,
        "optimizer": LAYERS,
        "temporaries": LAYERS / 2,
    }


def test_the_norm_of_shards_is_taken_without_a_network() -> None:
    # Its gradients stay until the next step clears them.
    assert most(traced("clipped", 4), "optimizer")["gradients"] == LAYERS / 4


def test_collectives_by_hand_and_the_variables_of_torchrun() -> None:
    answer = traced("reduced", 8)
    assert most(answer, "optimizer")["parameters"] == LAYERS
    # Their time is the network's: they are no kernels.
    assert not any("reduce" in kernel.name or "gather" in kernel.name for kernel in answer.kernels)
    assert answer.is_linear


def test_a_footprint_says_of_how_many_ranks_it_is_one() -> None:
    """So that an estimate does not count their buffers twice."""
    answer = traced("data_parallel", 2)
    assert answer.footprint.world_size == 2
    assert in_gang(answer.footprint, ranks=2) == answer.footprint
    assert answer.footprint.reserved_bytes.keys() == {4}
    assert answer.footprint.reserved_bytes[4] >= answer.footprint.peak(4).total_bytes(4)
