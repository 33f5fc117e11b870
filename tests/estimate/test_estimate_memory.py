"""Memory: three numbers that are never mixed, whether they fit, and what a measurement of another size is worth."""

from __future__ import annotations

from typing import Any

import pytest
from estimate_cases import A100, CPU, GIB, GPT2, experiment, fact, first_run, with_settings, world

from gpuplan.estimate import estimate
from gpuplan.estimate.allocator import USABLE
from gpuplan.estimate.case import case_of
from gpuplan.estimate.memory import NO_FIT_FROM, TIGHT_FROM
from gpuplan.estimate.peaks import COMMUNICATION_BYTES, Peaks, predicted
from gpuplan.model import (
    Estimate,
    Evidence,
    Experiment,
    Footprint,
    FootprintSource,
    Gpu,
    Line,
    MemoryEstimate,
    Moment,
    Roles,
)


def whole(*evidence: Evidence, asked: Experiment | None = None, gpu: Gpu = CPU) -> Estimate:
    asked = asked or experiment()
    return estimate(first_run(asked), asked, gpu, world(evidence))


def memory(*evidence: Evidence, asked: Experiment | None = None, gpu: Gpu = CPU) -> MemoryEstimate:
    return whole(*evidence, asked=asked, gpu=gpu).memory


def prediction(asked: Experiment | None = None, gpu: Gpu = CPU) -> Peaks:
    asked = asked or experiment()
    found = predicted(case_of(first_run(asked), asked, gpu=gpu, world=world()))
    assert found is not None
    return found


def gpt2(batch: int, **changes: Any) -> Experiment:
    settings = experiment().settings | {"batch": batch}
    return experiment(settings=settings, footprint=FootprintSource(model=GPT2), **changes)


# ---------------------------------------------------------------- predicted


def test_a_gpu_holds_more_than_its_tensors() -> None:
    found = memory(asked=gpt2(8), gpu=A100)
    assert found.allocated_bytes.p50 / GIB == pytest.approx(12.2, abs=0.1)
    logits = 16 * 8 * 1024 * 50_257  # at the peak 16 bytes each, for which blocks of other sizes stay reserved
    assert found.reserved_bytes.p50 == pytest.approx(found.allocated_bytes.p50 + 0.43 * logits + GIB / 4)
    assert found.device_bytes.p50 == pytest.approx(found.reserved_bytes.p50 + GIB / 2)
    assert found.capacity_bytes == 80 * GIB


def test_a_cpus_number_is_the_resident_set() -> None:
    found = memory()
    assert found.components_bytes["context"] == CPU.context_bytes
    assert found.device_bytes.p50 > CPU.context_bytes + found.allocated_bytes.p50


def test_a_cpus_capacity_is_the_devices_share_of_the_machine() -> None:
    asked = experiment()
    here = world()
    devices = tuple(device.model_copy(update={"memory_bytes": 3 * GIB}) for device in here.machine.devices)
    here = here.model_copy(update={"machine": here.machine.model_copy(update={"devices": devices})})
    assert estimate(first_run(asked), asked, CPU, here).memory.capacity_bytes == 3 * GIB


def test_ranks_hold_the_gradients_twice() -> None:
    one, four = memory(gpu=A100), memory(asked=experiment(ranks=4), gpu=A100)
    assert one.components_bytes["buffers"] < 4 * 2_825_476
    assert four.components_bytes["buffers"] >= 4 * 2_825_476


# ---------------------------------------------------------------- fits


@pytest.mark.parametrize(("batch", "fits"), [(8, "OK"), (40, "TIGHT"), (64, "NO FIT")])
def test_fits(batch: int, fits: str) -> None:
    assert memory(asked=gpt2(batch), gpu=A100).fits == fits


def test_eight_copies_do_not_fit_where_one_does() -> None:
    assert memory(asked=gpt2(16), gpu=A100).fits == "OK"
    assert memory(asked=gpt2(16, copies=8), gpu=A100).fits == "NO FIT"


def test_without_a_batch_only_a_misfit_is_known() -> None:
    asked = gpt2(1, roles=Roles())
    assert memory(asked=asked, gpu=A100).fits == "UNKNOWN"
    assert memory(asked=asked, gpu=A100.model_copy(update={"memory_bytes": GIB})).fits == "NO FIT"
    assert any("no role says how large" in assumption.text for assumption in whole(asked=asked, gpu=A100).assumptions)


def test_the_verdict_is_that_of_the_probability() -> None:
    found = [memory(asked=gpt2(batch), gpu=A100) for batch in range(2, 80, 3)]
    probabilities = [one.oom_probability or 0.0 for one in found]
    assert probabilities == sorted(probabilities)
    for one, probability in zip(found, probabilities, strict=True):
        crowded = one.device_bytes.p50 > USABLE * one.capacity_bytes
        wanted = "NO FIT" if probability >= NO_FIT_FROM else ("TIGHT" if probability >= TIGHT_FROM or crowded else "OK")
        assert one.fits == wanted


def test_free_blocks_given_back_make_the_difference_between_tight_and_not_at_all() -> None:
    """What the device would show with room to spare is more than the card, what the step cannot do without is not."""
    between = [memory(asked=gpt2(batch), gpu=A100) for batch in range(40, 64)]
    crowded = [one for one in between if one.device_bytes.p50 > one.capacity_bytes and one.fits == "TIGHT"]
    assert crowded
    assert all((one.oom_probability or 0) < NO_FIT_FROM for one in crowded)


def test_nothing_known_has_no_probability() -> None:
    assert memory(asked=experiment(footprint=None), gpu=A100).oom_probability is None
    assert memory(asked=gpt2(1, roles=Roles()), gpu=A100).oom_probability is None


def test_copies_need_a_context_each() -> None:
    one, two = memory(asked=gpt2(4), gpu=A100), memory(asked=gpt2(4, copies=8), gpu=A100)
    assert one.device_bytes == two.device_bytes
    wide = A100.model_copy(update={"context_bytes": 8 * GIB})
    assert memory(asked=gpt2(4, copies=8), gpu=wide).oom_probability > (two.oom_probability or 0)  # type: ignore[operator]


def test_ranks_hold_the_buffers_of_nccl_outside_of_the_allocator() -> None:
    one, four = (prediction(gpt2(8, ranks=ranks, roles=Roles(micro_batch="batch")), A100) for ranks in (1, 4))
    outside = [peaks.device.p50 - peaks.reserved.p50 for peaks in (one, four)]
    low, middle, high = COMMUNICATION_BYTES["ddp"]
    assert outside[1] - outside[0] == pytest.approx(middle)
    assert four.device.p90 - four.reserved.p90 - (one.device.p90 - one.reserved.p90) == pytest.approx(high)
    assert low < middle < high
    assert "NCCL" in four.device.because


def test_ranks_of_a_cpu_have_no_nccl() -> None:
    assert "NCCL" not in prediction(gpt2(8, ranks=2)).device.because


# ---------------------------------------------------------------- measured


def test_a_measured_peak_counts_and_the_parts_add_up_to_it() -> None:
    measured = 900_000_000
    found = memory(fact(measured={"peak_host_bytes": measured}))
    assert found.device_bytes.source == "measured"
    assert found.device_bytes.p50 == measured
    assert sum(found.components_bytes.values()) == pytest.approx(measured)


def test_the_largest_of_several_measured_peaks_counts() -> None:
    facts = [fact(str(size), measured={"peak_host_bytes": size * 10**8}) for size in (7, 9, 8)]
    assert memory(*facts).device_bytes.p50 == 9 * 10**8


def test_each_metric_is_taken_for_itself() -> None:
    peaks = {"peak_allocated_bytes": 2 * GIB, "peak_device_bytes": 4 * GIB}
    found = memory(fact(gpu=A100, measured=peaks), gpu=A100)
    assert (found.allocated_bytes.p50, found.device_bytes.p50) == (2 * GIB, 4 * GIB)
    assert found.allocated_bytes.source == found.device_bytes.source == "measured"
    assert 2 * GIB < found.reserved_bytes.p50 < 4 * GIB


def test_the_resident_set_of_a_process_says_nothing_of_a_gpu() -> None:
    assert memory(fact(gpu=A100, measured={"peak_host_bytes": GIB}), gpu=A100).device_bytes.source == "closed_form"


def test_a_peak_far_below_the_prediction_leaves_no_negative_part() -> None:
    found = memory(fact(measured={"peak_host_bytes": 10**6}))
    assert all(part >= 0 for part in found.components_bytes.values())
    assert sum(found.components_bytes.values()) == pytest.approx(10**6)


# ---------------------------------------------------------------- scaled


def test_the_residual_is_added_and_not_multiplied() -> None:
    """A peak at batch 1 must not be extrapolated through zero: what libraries hold does not grow with the batch."""
    small, large = with_settings(batch=1), with_settings(batch=256)
    extra = 500_000_000
    measured = int(prediction(small).device.p50) + extra
    found = memory(fact(settings={"batch": 1}, measured={"peak_host_bytes": measured}), asked=large)
    assert found.device_bytes.source == "scaled"
    assert found.device_bytes.p50 == pytest.approx(prediction(large).device.p50 + extra, rel=1e-6)


def test_without_a_footprint_one_other_batch_gives_bounds_and_two_a_line() -> None:
    asked = experiment(footprint=None)
    eight = fact("b8", settings={"batch": 8}, measured={"peak_host_bytes": 4 * 10**8})
    sixteen = fact("b16", settings={"batch": 16}, measured={"peak_host_bytes": 5 * 10**8})
    one = memory(eight, asked=asked)
    assert one.device_bytes.p10 < 4 * 10**8
    assert one.device_bytes.p90 > 4 * 4 * 10**8
    assert one.components_bytes["unknown"] > 0
    assert memory(eight, sixteen, asked=asked).device_bytes.p50 == pytest.approx(7 * 10**8)


def test_tensors_measured_on_another_gpu_hold_here() -> None:
    other = A100.model_copy(update={"name": "H100 SXM 80GB"})
    asked = with_settings(batch=64)
    extra = 10**8
    measured = int(prediction(experiment(), A100).allocated.p50) + extra
    found = memory(fact(gpu=other, measured={"peak_allocated_bytes": measured}), asked=asked, gpu=A100)
    assert found.allocated_bytes.source == "scaled"
    assert found.allocated_bytes.p50 == pytest.approx(prediction(asked, A100).allocated.p50 + extra, rel=1e-6)


def test_what_a_trace_replayed_through_the_allocator_is_what_is_reserved() -> None:
    asked = experiment(
        settings=experiment().settings | {"batch": 8}, footprint=FootprintSource(trace="train:make_step")
    )
    moment = Moment(phase="backward", alive_bytes={"activations": Line(slope=GIB)})
    footprint = Footprint(
        source="traced", because="a test", parameters=1, gradient_bytes=4, checkpoint_bytes=4, operators=(),
        moments=(moment,), reserved_bytes={8: 9 * GIB},
    )  # fmt: skip
    run = first_run(asked)
    found = estimate(run, asked, A100, world(footprints={run.key: footprint})).memory
    assert found.allocated_bytes.p50 == 8 * GIB
    assert found.reserved_bytes.p50 == 9 * GIB
