"""Ratios between counts of ranks, what links other programs have shown, and how many ranks are worth having."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from estimate_cases import A100, CPU, GPT2, H100, experiment, fact, first_run, world
from hypothesis import given
from hypothesis import strategies as st

from gpuplan.data.links import Link, link, links
from gpuplan.estimate.case import case_of
from gpuplan.estimate.communication import Topology, slow_down
from gpuplan.estimate.roofline import step_seconds
from gpuplan.estimate.scaling import (
    LINEAR_RANKS,
    break_even,
    break_even_of,
    measured_here,
    on_ranks,
    ratio,
    topology_of,
)
from gpuplan.model import Evidence, FootprintSource, Gpu, Roles

if TYPE_CHECKING:
    from gpuplan.estimate.case import Case

CARD = A100.model_copy(update={"name": "RTX 3090", "compute_capability": "8.6"})
MICRO = Roles(micro_batch="batch", steps="steps", learning_rate="lr")


def case(*evidence: Evidence, gpu: Gpu = CARD, **changes: Any) -> Case:
    """One run of the small encoder, each rank with its own 32 rows."""
    asked = experiment(**({"roles": MICRO} | changes))
    known = world(evidence, gpus=(CPU, A100, H100, CARD))
    return case_of(first_run(asked), asked, gpu=gpu, world=known)


# ---------------------------------------------------------------- ratios


def test_one_rank_to_one_rank_is_the_work_alone() -> None:
    found = ratio(case(), case(), measured_s=0.1)
    assert found.value == pytest.approx(1)
    assert "ranks" not in found.because


def test_more_ranks_cost_the_exchange_in_seconds() -> None:
    alone, four = case(), case(ranks=4)
    assert four.known is not None
    size = float(four.known.gradient_bytes)
    for seconds in (0.01, 0.1, 1.0):
        wanted = slow_down(seconds, topology_of(four), size_bytes=size)
        assert ratio(four, alone, measured_s=seconds).value == pytest.approx(wanted)
    assert ratio(four, alone, measured_s=0.01).value > ratio(four, alone, measured_s=1.0).value
    assert "of gradients over PCIe 4" in ratio(four, alone, measured_s=0.01).because


def test_there_and_back_again_is_one() -> None:
    alone, eight = case(), case(ranks=8)
    for seconds in (0.003, 0.05, 1.0):
        up = ratio(eight, alone, measured_s=seconds).value
        assert up * ratio(alone, eight, measured_s=seconds * up).value == pytest.approx(1, rel=1e-6)


def test_without_a_measurement_the_closed_form_stands_in() -> None:
    roofline = step_seconds(case())
    assert roofline is not None
    expected = ratio(case(ranks=4), case(), measured_s=roofline.seconds)
    assert ratio(case(ranks=4), case()).value == pytest.approx(expected.value)


def test_without_a_footprint_other_programs_stand_in() -> None:
    found = ratio(case(ranks=4, footprint=None), case(footprint=None), measured_s=0.1)
    assert found.value == pytest.approx(1 + 2 * link("pcie4-consumer").slowdown)
    assert "other programs" in found.because


def test_accumulation_amortises_the_all_reduce() -> None:
    settings = {"batch": 32, "lr": 1e-3, "steps": 100, "layers": 2, "passes": 8}
    many = case(ranks=4, settings=settings, roles=MICRO.model_copy(update={"accumulation": "passes"}))
    assert on_ranks(many, 8 * 0.01).slow < on_ranks(case(ranks=4), 0.01).slow


def test_a_faster_link_costs_less() -> None:
    fast = on_ranks(case(gpu=H100, ranks=4), 0.01)
    slow = on_ranks(case(ranks=4), 0.01)
    assert 1 < fast.slow < slow.slow
    assert slow.width.high >= fast.width.high
    assert slow.assumption == LINEAR_RANKS
    assert on_ranks(case(), 0.01).slow == 1


def test_ranks_on_a_cpu_go_through_gloo() -> None:
    found = on_ranks(case(gpu=CPU, ranks=2), 0.05)
    assert found.slow > 1
    assert "gloo" in found.because


def test_ranks_that_share_parameters_gather_them() -> None:
    shared = GPT2.model_copy(update={"library": "hf", "sharding": "fsdp"})
    whole = GPT2.model_copy(update={"library": "hf"})
    settings = {"batch": 4, "lr": 1e-3, "steps": 100}
    gathered = case(ranks=4, footprint=FootprintSource(model=shared), settings=settings)
    copied = case(ranks=4, footprint=FootprintSource(model=whole), settings=settings)
    assert "parameters and gradients" in on_ranks(gathered, 0.5).because
    assert "parameters" not in on_ranks(copied, 0.5).because


# ---------------------------------------------------------------- where the ranks are


def test_more_ranks_than_a_node_has_go_over_a_network() -> None:
    assert topology_of(case(), ranks=8).between is None
    far = topology_of(case(), ranks=16)
    assert far.between == link("infiniband")
    assert far.nodes == 2
    assert topology_of(case(gpu=CPU), ranks=16).between is None


def pair(*, ranks: int, together_s: float, name: str = "other", batch: int = 64, **fields: Any) -> list[Evidence]:
    """Another program on one rank and on several, each rank with the same rows."""
    facts = []
    for count, step_s in ((1, 0.1), (ranks, together_s)):
        told = {"step_s": step_s, "steps": 100, "batch_size": batch * count, "parameters": 100_000_000}
        facts.append(
            fact(f"{name}-{count}", kind="run", gpu=CARD, ranks=count, measured=told, command=name,
                 settings={"batch": batch * count}, **fields)
        )  # fmt: skip
    return facts


def test_other_programs_on_the_machine_show_its_links() -> None:
    (found,) = measured_here(case(*pair(ranks=4, together_s=0.9)))
    assert (found.ranks, found.alone_s, found.together_s, found.size_bytes) == (4, 0.1, 0.9, 4e8)
    slow = on_ranks(case(*pair(ranks=4, together_s=0.9), ranks=4), 0.05).slow
    fast = on_ranks(case(*pair(ranks=4, together_s=0.12), ranks=4), 0.05).slow
    assert fast < on_ranks(case(ranks=4), 0.05).slow < slow


def test_programs_that_differ_in_more_than_ranks_show_nothing() -> None:
    one, several = pair(ranks=4, together_s=0.9)
    other = several.model_copy(update={"settings": several.settings | {"layers": 12}})
    doubted = several.model_copy(
        update={"measurement": several.measurement.model_copy(update={"flags": ("the clock jumps",)})}
    )
    elsewhere = several.model_copy(update={"gpu": H100.name})
    for lone in (other, doubted, elsewhere):
        assert measured_here(case(one, lone)) == []


# ---------------------------------------------------------------- how many are worth having


def test_break_even_says_why_in_words() -> None:
    found = break_even(0.005, Topology(4, link("pcie4-consumer")), size_bytes=33e6)
    assert found.ranks == 1
    assert (
        found.words == "33 MB of gradients over PCIe 4 between GeForce cards take 4.33 ms of a 9.35 ms step on 2 ranks"
    )
    assert [each.ranks for each in found.at] == [1, 2, 4]
    assert found.at[0].efficiency == 1


def test_break_even_of_a_program() -> None:
    found = break_even_of(case(), 0.002, most=8)
    assert found.ranks == 1
    assert "of gradients over PCIe 4 between GeForce cards" in found.words
    assert break_even_of(case(gpu=H100), 0.2, most=8).ranks == 8
    assert "other programs" in break_even_of(case(footprint=None), 0.2, most=8).words
    assert "on 8 ranks" in break_even_of(case(), 0.002, most=8, between=False).words
    assert [each.ranks for each in break_even_of(case(), 0.002, most=8, between=False).at] == [1, 8]


def test_on_a_fast_link_all_are_worth_it() -> None:
    found = break_even(0.5, Topology(8, link("nvlink4")), size_bytes=400e6)
    assert found.ranks == 8
    assert found.slower == ()
    assert "on 8 ranks" in found.words


def test_slower_than_one_rank_is_named() -> None:
    found = break_even(0.01, Topology(8, link("ethernet-1g")), size_bytes=400e6)
    assert found.ranks == 1
    assert found.slower == (2, 4, 8)


def test_without_bytes_other_programs_speak() -> None:
    found = break_even(0.1, Topology(8, link("pcie3-consumer")), size_bytes=None)
    assert "other programs over PCIe 3 between GeForce cards keep" in found.words
    assert break_even(0.1, Topology(1, link("nvlink4")), size_bytes=1e9).words == "one rank exchanges nothing"


@given(
    st.floats(1e-3, 10), st.floats(1e5, 1e11), st.integers(1, 64),
    st.sampled_from(sorted(links().values(), key=lambda each: each.name)),
)  # fmt: skip
def test_efficiency_only_falls(alone: float, size: float, ranks: int, over: Link) -> None:
    found = break_even(alone, Topology(ranks, over), size_bytes=size)
    efficiencies = [each.efficiency for each in found.at]
    assert efficiencies == sorted(efficiencies, reverse=True)
    assert found.at[-1].ranks == ranks
    assert 1 <= found.ranks <= ranks
