"""Step time: which source counts, how wide it is, and how it goes over sizes, ranks, copies and GPUs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

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

from gpuplan.data.derates import shipped_tables
from gpuplan.estimate.case import case_of
from gpuplan.estimate.evidence import clues_of, mean_step_s
from gpuplan.estimate.pace import throughput
from gpuplan.estimate.roofline import DERATE, Roofline, launch_seconds, step_seconds, work_of
from gpuplan.estimate.scaling import Point, affine, on_ranks
from gpuplan.estimate.time import step_time
from gpuplan.estimate.transfer import Chip, chip_of, transfer
from gpuplan.model import Evidence, Experiment, Gpu, Line, Measurement, Operators, Quantity, Roles

if TYPE_CHECKING:
    from gpuplan.estimate.time import StepTime

V100 = "V100 SXM2 16GB"
REGIME = "matmul"


def step(*evidence: Evidence, asked: Experiment | None = None, gpu: Gpu = CPU) -> Quantity:
    return answer(*evidence, asked=asked, gpu=gpu).quantity


def answer(*evidence: Evidence, asked: Experiment | None = None, gpu: Gpu = CPU) -> StepTime:
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


def test_the_nearest_size_counts_where_no_closed_form_makes_a_line() -> None:
    far, near = fact("far", settings={"batch": 4, "colour": 1}), fact("near", settings={"batch": 30, "colour": 1})
    assert "of near on" in step(far, near, asked=experiment(footprint=None)).because


def test_two_sizes_make_a_line_through_what_the_closed_form_misses() -> None:
    small = fact("small", settings={"layers": 1}, measured={"step_s": 0.030})
    large = fact("large", settings={"layers": 4}, measured={"step_s": 0.120})
    found = step(small, large)
    assert "between 2 measured sizes" in found.because
    assert found.p50 == pytest.approx(0.06, rel=0.15)
    assert relative_width(found) == pytest.approx((0.8, 1.2))


def test_two_batches_make_a_line() -> None:
    probes = [
        fact(f"b{batch}", settings={"batch": batch}, measured={"step_s": 0.05 + batch / 100}) for batch in (8, 16)
    ]
    found = step(*probes)
    assert found.p50 == pytest.approx(0.05 + 0.32)
    assert relative_width(found) == (0.8, 1.2)
    assert relative_width(step(*probes, asked=with_settings(batch=256))) == (0.7, 1.3)


def on(gpu: Gpu) -> Chip:
    found = chip_of(gpu, "fp32")
    assert found is not None
    return found


def test_another_gpu_first_by_size_there_and_then_by_the_fitted_tables() -> None:
    asked = with_settings(batch=4096)
    found = answer(fact(gpu=A100, measured={"step_s": 0.3}), asked=asked, gpu=H100).quantity
    sized = closed_form_s(asked, A100) / closed_form_s(gpu=A100)
    way = transfer(on(A100), on(H100), regime=REGIME, tables=shipped_tables())
    assert found.p50 == pytest.approx(0.3 * sized * way.value)
    assert found.source == "scaled"
    assert "from A100 SXM 80GB to H100 SXM 80GB" in found.because
    assert "samples/s" in found.because


def test_the_same_size_on_another_gpu_is_as_sure_as_the_way_between_the_two() -> None:
    asked = with_settings(batch=4096)
    logged = fact(gpu=A100, settings={"batch": 4096}, measured={"step_s": 0.3})
    found = step(logged, asked=asked, gpu=H100)
    way = transfer(on(A100), on(H100), regime=REGIME, tables=shipped_tables())
    assert relative_width(found) == pytest.approx((way.low / way.value, way.high / way.value), abs=0.01)
    other_size = step(fact(gpu=A100, measured={"step_s": 0.3}), asked=asked, gpu=H100)
    assert relative_width(other_size)[1] > relative_width(found)[1]


def test_of_logs_on_two_gpus_the_nearer_one_counts() -> None:
    asked = with_settings(batch=4096)
    twin = A100.model_copy(update={"name": "A100 SXM 40GB", "bandwidth_bytes_per_s": 1555e9})
    logs = [fact("far", gpu=H100, settings={"batch": 4096}), fact("near", gpu=twin, settings={"batch": 4096})]
    case = case_of(first_run(asked), asked, gpu=A100, world=world(logs, gpus=(CPU, A100, H100, twin)))
    assert "of near on" in step_time(case, clues_of(case)).quantity.because


def test_a_gpu_without_rates_is_reached_by_nothing_but_a_wide_guess() -> None:
    bare = H100.model_copy(update={"name": "an unknown card", "peak_flops": {}, "bandwidth_bytes_per_s": None})
    asked = experiment()
    case = case_of(first_run(asked), asked, gpu=bare, world=world([fact(gpu=A100)], gpus=(A100, bare)))
    assert relative_width(step_time(case, clues_of(case)).quantity) == (0.65, 1.54)


def test_samples_and_tokens_a_second() -> None:
    roles = Roles(batch="batch", sequence="length", steps="steps")
    asked = experiment(roles=roles, settings=experiment().settings | {"length": 64})
    case = case_of(first_run(asked), asked, gpu=CPU, world=world())
    assert throughput(case, 0.5) == (64.0, 4096.0)
    unsaid = case_of(first_run(experiment()), experiment(), gpu=CPU, world=world())
    assert throughput(unsaid, 0.5) == (64.0, None)
    assert throughput(unsaid, 0.0) is None


# ---------------------------------------------------------------- ranks and copies


def test_a_global_batch_is_divided_among_ranks_and_that_is_flagged() -> None:
    two = experiment(ranks=2)
    found = answer(fact(measured={"step_s": 0.3}), asked=two)
    assert found.quantity.p50 >= 0.3 * closed_form_s(two) / closed_form_s()
    assert 0.15 < found.quantity.p50 < 0.2
    assert any(assumption.change == "`gpuplan probe --all-ranks` measures it" for assumption in found.assumptions)


def test_a_micro_batch_of_its_own_is_not_divided() -> None:
    roles = Roles(micro_batch="batch", steps="steps", learning_rate="lr")
    found = step(fact(measured={"step_s": 0.3}), asked=experiment(ranks=2, roles=roles))
    assert 0.3 <= found.p50 < 0.33  # and what the ranks cost each other


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
    operators = (
        Operators(kind="matmul", flops=Line(slope=312e9), moved_bytes=Line(), kernels=10),
        Operators(kind="elementwise", flops=Line(), moved_bytes=Line(slope=20.39e9), kernels=90),
    )

    def found(gpu: Gpu) -> Roofline:
        return roofline_of(operators, gpu)

    longer = shipped_tables().longer
    assert longer is not None
    work_s = 32 * (longer.compute * 0.001 + longer.memory * 0.01)
    assert found(A100).seconds == pytest.approx(work_s)
    assert found(A100).bound == "bandwidth"
    assert found(A100).utilization == 1.0
    assert found(A100).mfu == pytest.approx(32 * 0.001 / work_s)
    assert "memory rules" in found(A100).because
    # A GPU hides the starts of its kernels behind work, unless they take longer than it.
    slow = found(A100.model_copy(update={"kernel_overhead_s": 1.0}))
    assert slow.seconds == pytest.approx(100.0)
    assert slow.bound == "launch"
    assert slow.utilization == pytest.approx(work_s / 100)
    assert "launch-bound" in slow.because


def test_a_depthwise_convolution_takes_longer_than_moving_its_bytes() -> None:
    def seconds(kind: Literal["convolution", "depthwise"], gpu: Gpu) -> float:
        return roofline_of((Operators(kind=kind, flops=Line(), moved_bytes=Line(slope=20e9), kernels=1),), gpu).seconds

    assert seconds("depthwise", A100) == pytest.approx(5 * seconds("convolution", A100))


def test_a_program_may_start_kernels_faster_than_is_usual() -> None:
    run = first_run(experiment())
    footprint = case_of(run, experiment(), gpu=A100, world=world()).known
    assert footprint is not None
    loop = footprint.model_copy(update={"kernel_overhead_s": 20e-6})
    nameless = A100.model_copy(update={"kernel_overhead_s": None})
    assert launch_seconds(loop, nameless, kernels=100) == pytest.approx(2e-3)
    assert launch_seconds(footprint, nameless, kernels=100) == pytest.approx(4e-3)
    measured = nameless.model_copy(update={"kernel_overhead_s": 5e-6})
    assert launch_seconds(loop, measured, kernels=100) == pytest.approx(5e-4)


def roofline_of(operators: tuple[Operators, ...], gpu: Gpu) -> Roofline:
    run = first_run(experiment())
    footprint = case_of(run, experiment(), gpu=gpu, world=world()).known
    assert footprint is not None
    traced = footprint.model_copy(update={"operators": operators, "precision": "bf16"})
    here = world().model_copy(update={"footprints": {run.key: traced}})
    found = step_seconds(case_of(run, experiment(), gpu=gpu, world=here))
    assert found is not None
    return found


def test_another_card_goes_over_the_anchor_by_the_fitted_tables() -> None:
    operators = (Operators(kind="matmul", flops=Line(slope=312e9), moved_bytes=Line(), kernels=10),)
    chips = [chip_of(gpu, "bf16") for gpu in (A100, H100)]
    assert chips[0]
    assert chips[1]
    way = transfer(chips[0], chips[1], regime="matmul", tables=shipped_tables())
    assert roofline_of(operators, H100).seconds == pytest.approx(way.value * roofline_of(operators, A100).seconds)
    assert roofline_of(operators, H100).bound == "compute"


def test_plain_fp32_on_a_card_with_tf32_is_by_its_own_rates() -> None:
    asked = with_settings(batch=4096)
    case = case_of(first_run(asked), asked, gpu=A100, world=world())
    assert case.known is not None
    least = work_of(case.known, A100, rows=4096)
    assert closed_form_s(asked, A100) == pytest.approx(DERATE["gpu"] * least.seconds)


def test_a_precision_that_the_device_lacks_runs_at_a_slower_peak() -> None:
    volta = A100.model_copy(update={"name": V100, "peak_flops": {"fp32": 15.7e12, "fp16": 125e12}})
    asked = experiment(
        roles=Roles(batch="batch", precision="mode"), settings=experiment().settings | {"mode": "bf16", "batch": 10_000}
    )
    half = asked.model_copy(update={"settings": asked.settings | {"mode": "fp16"}})
    assert closed_form_s(asked, volta) > 1.5 * closed_form_s(half, volta)


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


def test_other_ranks_are_less_sure_by_what_they_cost_each_other() -> None:
    two, half = experiment(ranks=2), with_settings(batch=16)
    found, alone = step(fact(measured={"step_s": 0.1}), asked=two), step(fact(measured={"step_s": 0.1}), asked=half)
    ranked = on_ranks(case_of(first_run(two), two, gpu=CPU, world=world()), alone.p50)
    assert found.p50 == pytest.approx(alone.p50 * ranked.slow)
    low, high = relative_width(found)
    assert math.log(high) == pytest.approx(math.hypot(math.log(1.3), math.log(ranked.width.high)), abs=0.002)
    assert math.log(low) == pytest.approx(-math.hypot(math.log(0.7), math.log(ranked.width.low)), abs=0.002)


def test_from_several_ranks_to_one_is_as_unsure_as_the_other_way() -> None:
    measured = fact(ranks=2, settings={"batch": 64}, measured={"step_s": 0.1})
    assert relative_width(step(measured))[1] > 1.3
