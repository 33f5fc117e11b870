"""Step time: which source counts, how wide it is, and how it goes over sizes, ranks, copies and GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from estimate_cases import (
    A100,
    BARE_CPU,
    CPU,
    H100,
    experiment,
    fact,
    first_run,
    relative_width,
    with_settings,
    world,
)
from hypothesis import given
from hypothesis import strategies as st

from gpuplan.estimate.case import case_of
from gpuplan.estimate.evidence import clues_of
from gpuplan.estimate.roofline import DERATE, step_seconds
from gpuplan.estimate.scaling import Point, affine
from gpuplan.estimate.time import mean_step_s, step_time
from gpuplan.model import Evidence, Experiment, Gpu, Line, Measurement, Operators, Quantity, Roles

if TYPE_CHECKING:
    from gpuplan.estimate.answers import Answer


def step(*evidence: Evidence, asked: Experiment | None = None, gpu: Gpu = CPU) -> Quantity:
    return answer(*evidence, asked=asked, gpu=gpu).quantity


def answer(*evidence: Evidence, asked: Experiment | None = None, gpu: Gpu = CPU) -> Answer:
    asked = asked or experiment()
    case = case_of(first_run(asked), asked, gpu=gpu, world=world(evidence))
    return step_time(case, clues_of(case))


def closed_form_s(asked: Experiment | None = None, gpu: Gpu = CPU) -> float:
    asked = asked or experiment()
    roofline = step_seconds(case_of(first_run(asked), asked, gpu=gpu, world=world()))
    assert roofline is not None
    return roofline.seconds


# ---------------------------------------------------------------- measured


def test_a_probe_is_wider_than_a_run_and_a_run_counts_before_it() -> None:
    probe, run = fact("p", measured={"step_s": 0.2}), fact("r", kind="run", measured={"step_s": 0.1})
    assert step(probe).p50 == 0.2
    assert relative_width(step(probe)) == (0.85, 1.15)
    assert step(probe, run).p50 == 0.1
    assert relative_width(step(probe, run)) == (0.9, 1.1)


def test_several_runs_count_by_their_median() -> None:
    runs = [fact(f"r{number}", kind="run", measured={"step_s": number / 10}) for number in (1, 2, 9)]
    assert step(*runs).p50 == pytest.approx(0.2)
    assert "3 runs" in step(*runs).because


def test_the_mean_of_whole_epochs_counts_before_the_median_of_steps() -> None:
    whole = Measurement(step_s=0.1, epoch_s=20.0, epochs=3, steps=300, batch_size=8, samples_per_epoch_by_rank=(800.0,))
    assert mean_step_s(whole) == pytest.approx(0.2)
    ended_within_an_epoch = whole.model_copy(update={"epochs": 1, "steps": 190})
    assert mean_step_s(ended_within_an_epoch) == pytest.approx(0.2)
    of_two_ranks = whole.model_copy(update={"world_size": 2, "samples_per_epoch_by_rank": (400.0, 400.0)})
    assert mean_step_s(of_two_ranks) == pytest.approx(0.2)
    assert mean_step_s(Measurement(step_s=0.1, step_p10_s=0.1, step_p90_s=0.4)) == pytest.approx(0.19)
    assert mean_step_s(Measurement(step_s=0.1)) == 0.1
    assert mean_step_s(Measurement()) is None


def test_a_fact_without_a_step_time_says_nothing_about_it() -> None:
    assert step(fact(measured={"peak_host_bytes": 10**9})).source == "closed_form"


# ---------------------------------------------------------------- scaled


def test_another_size_by_the_ratio_of_closed_forms() -> None:
    deeper = with_settings(layers=4)
    found = step(fact(measured={"step_s": 0.3}), asked=deeper)
    assert found.source == "scaled"
    assert found.p50 == pytest.approx(0.3 * closed_form_s(deeper) / closed_form_s())
    assert relative_width(found) == (0.7, 1.3)


def test_a_ratio_far_from_one_is_no_more_certain_than_a_closed_form() -> None:
    assert relative_width(step(fact(), asked=with_settings(layers=48))) == (0.6, 1.8)


def test_without_a_footprint_by_samples() -> None:
    asked = experiment(footprint=None, settings=experiment().settings | {"batch": 48})
    found = step(fact(measured={"step_s": 0.2}), asked=asked)
    assert found.p50 == pytest.approx(0.3)
    assert "by samples" in found.because


def test_an_unknown_difference_leaves_the_time_as_it_is() -> None:
    found = step(fact(measured={"step_s": 0.2}), asked=with_settings(control="shuffled"))
    assert found.source == "scaled"
    assert found.p50 == pytest.approx(0.2)


def test_the_nearest_size_counts() -> None:
    far, near = fact("far", settings={"batch": 4, "colour": 1}), fact("near", settings={"batch": 30, "colour": 1})
    assert "of near on" in step(far, near).because


def test_two_batches_make_a_line() -> None:
    probes = [
        fact(f"b{batch}", settings={"batch": batch}, measured={"step_s": 0.05 + batch / 100}) for batch in (8, 16)
    ]
    found = step(*probes)
    assert found.p50 == pytest.approx(0.05 + 0.32)
    assert relative_width(found) == (0.8, 1.2)
    assert relative_width(step(*probes, asked=with_settings(batch=256))) == (0.7, 1.3)


def test_another_gpu_by_the_ratio_of_closed_forms() -> None:
    found = step(fact(gpu=A100, measured={"step_s": 0.3}), asked=with_settings(batch=4096), gpu=H100)
    there = closed_form_s(gpu=A100)
    here = closed_form_s(with_settings(batch=4096), gpu=H100)
    assert found.p50 == pytest.approx(0.3 * here / there)
    assert found.source == "scaled"


# ---------------------------------------------------------------- ranks and copies


def test_a_global_batch_is_divided_among_ranks_and_that_is_flagged() -> None:
    two = experiment(ranks=2)
    found = answer(fact(measured={"step_s": 0.3}), asked=two)
    assert found.quantity.p50 == pytest.approx(0.3 * closed_form_s(two) / closed_form_s())
    assert 0.15 < found.quantity.p50 < 0.2
    assert any(assumption.change == "`gpuplan probe --all-ranks` measures it" for assumption in found.assumptions)


def test_a_micro_batch_of_its_own_is_not_divided() -> None:
    roles = Roles(micro_batch="batch", steps="steps", learning_rate="lr")
    found = step(fact(measured={"step_s": 0.3}), asked=experiment(ranks=2, roles=roles))
    assert found.p50 == pytest.approx(0.3)


def test_a_closed_form_of_several_ranks_is_flagged_too() -> None:
    assert any("linear" in assumption.text for assumption in answer(asked=experiment(ranks=4)).assumptions)
    assert not any("linear" in assumption.text for assumption in answer().assumptions)


def test_copies_share_the_device_unless_they_were_measured_together() -> None:
    swarm = experiment(copies=8)
    assert step(asked=swarm).p50 == pytest.approx(8 * step().p50)
    assert step(fact(measured={"step_s": 0.1}), asked=swarm).p50 == pytest.approx(0.8)
    assert step(fact(kind="run", measured={"step_s": 0.7}), asked=swarm).p50 == pytest.approx(0.7)


def test_accumulation_repeats_all_but_the_optimizer() -> None:
    roles = Roles(micro_batch="batch", accumulation="passes", steps="steps")
    four = experiment(roles=roles, settings=experiment().settings | {"passes": 4})
    once, often = closed_form_s(experiment(roles=roles)), closed_form_s(four)
    assert 3.5 * once < often < 4 * once


# ---------------------------------------------------------------- closed form and less


def test_the_roofline_of_a_known_footprint() -> None:
    footprint = case_of(first_run(experiment()), experiment(), gpu=A100, world=world()).known
    assert footprint is not None
    operators = (
        Operators(kind="matmul", flops=Line(slope=312e9), moved_bytes=Line(), kernels=10),
        Operators(kind="elementwise", flops=Line(), moved_bytes=Line(slope=20.39e9), kernels=90),
    )
    traced = footprint.model_copy(update={"operators": operators, "precision": "bf16"})
    run = first_run(experiment())

    def seconds(gpu: Gpu) -> float:
        here = world().model_copy(update={"footprints": {run.key: traced}})
        found = step_seconds(case_of(run, experiment(), gpu=gpu, world=here))
        assert found is not None
        return found.seconds

    work_s = 32 * (0.001 + 0.01)
    assert seconds(A100) == pytest.approx(DERATE["gpu"] * work_s)
    # A GPU hides the starts of its kernels behind work, unless they take longer than it.
    assert seconds(A100.model_copy(update={"kernel_overhead_s": 1.0})) == pytest.approx(100.0)


def test_a_precision_that_the_device_lacks_runs_at_a_slower_peak() -> None:
    volta = A100.model_copy(update={"peak_flops": {"fp32": 15.7e12, "fp16": 125e12}})
    asked = experiment(
        roles=Roles(batch="batch", precision="mode"), settings=experiment().settings | {"mode": "bf16", "batch": 10_000}
    )
    half = asked.model_copy(update={"settings": asked.settings | {"mode": "fp16"}})
    assert closed_form_s(asked, volta) > 2 * closed_form_s(half, volta)


def test_twice_the_threads_of_the_measured_rates() -> None:
    asked = experiment(roles=Roles(batch="batch", threads="threads"), settings=experiment().settings | {"threads": 2})
    assert closed_form_s() > 1.5 * closed_form_s(asked)


def test_a_device_without_rates_gets_a_wide_guess_of_the_right_order() -> None:
    found = step(gpu=BARE_CPU)
    assert found.source == "assumed"
    assert relative_width(found) == (0.2, 5.0)
    assert found.p10 < closed_form_s() < found.p90


def test_a_batch_that_no_role_names_is_said() -> None:
    found = step(asked=experiment(roles=Roles()))
    assert found.source == "assumed"
    assert "no role says how large a batch is" in found.because


# ---------------------------------------------------------------- lines


@given(st.floats(0.0, 10.0), st.floats(0.0, 1.0), st.integers(1, 10_000), st.permutations([1, 8, 64, 512]))
def test_a_line_through_points_of_a_line_is_that_line(base: float, slope: float, at: int, sizes: list[int]) -> None:
    found = affine([Point(size, base + slope * size) for size in sizes], at)
    expected = base + slope * at
    assert found is None if expected == 0 else found == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_one_point_or_a_falling_line_is_no_line() -> None:
    assert affine([Point(8, 1.0), Point(8, 2.0)], 16) is None
    assert affine([Point(8, 2.0), Point(16, 1.0)], 32) is None


def test_other_ranks_may_not_help_at_all() -> None:
    found = step(fact(ranks=1, measured={"step_s": 0.1, "steps": 20}), asked=experiment(ranks=2))
    assert found.p50 < 0.1
    assert found.p90 >= 0.1
