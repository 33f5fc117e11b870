"""Loading data: its cost stated or measured, workers and cores, and what it makes of a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from estimate_cases import A100, CPU, H100, experiment, fact, first_run, relative_width, world

from gpuplan.estimate import estimate
from gpuplan.estimate.case import case_of
from gpuplan.estimate.evidence import clues_of
from gpuplan.estimate.loading import loading, waited
from gpuplan.model import Device, Machine, Roles

if TYPE_CHECKING:
    from gpuplan.model import Estimate, Evidence, Experiment, Gpu, World

ROW_S = 0.01
STEP_S = 0.2


def asked(*, ranks: int = 1, copies: int = 1, batch: int = 32, **roles: Any) -> Experiment:
    """The small encoder, whose rows cost ten milliseconds of a core if nothing else is said."""
    base = experiment()
    return experiment(
        roles=base.roles.model_copy(update={"load_s": ROW_S, **roles}),
        settings=base.settings | {"batch": batch},
        ranks=ranks,
        copies=copies,
    )


def here(*evidence: Evidence, cores: int = 16, devices: int = 2, gpu: Gpu = A100) -> World:
    """A machine with so many cores and GPUs."""
    held = tuple(Device(index=index, gpu=gpu.name, memory_bytes=gpu.memory_bytes) for index in range(devices))
    return world(evidence).model_copy(
        update={"machine": Machine(cpu="a CPU", cores=cores, memory_bytes=2**38, devices=held)}
    )


def on(of: Experiment, at: World, gpu: Gpu = A100) -> Estimate:
    return estimate(first_run(of), of, gpu, at)


def load_s(of: Experiment, at: World, gpu: Gpu = A100) -> float:
    case = case_of(first_run(of), of, gpu=gpu, world=at)
    found = loading(case, clues_of(case))
    assert found is not None
    return found.seconds.p50


# ---------------------------------------------------------------- the cost of a step


@pytest.mark.parametrize(
    ("workers", "cores", "lanes"),
    [
        (0, 16, 1.0),
        (None, 16, 1.0),
        (4, 16, 4.0),  # 8 cores of each of two ranks
        (4, 8, 4 * 4 / 5),  # 4 cores for 4 workers and the main process
        (16, 16, 16 * 8 / 17),
        (1, 2, 0.5),
    ],
)
def test_workers_load_at_once_as_far_as_the_cores_reach(workers: int | None, cores: int, lanes: float) -> None:
    assert load_s(asked(workers=workers), here(cores=cores)) == pytest.approx(32 * ROW_S / lanes)


def test_ranks_and_copies_share_the_cores() -> None:
    two = asked(workers=4, ranks=2)
    assert load_s(two, here(cores=8)) == pytest.approx(16 * ROW_S / (4 * 4 / 5))
    eight = asked(workers=4, copies=8)
    assert load_s(eight, here(cores=16, devices=1)) == pytest.approx(32 * ROW_S / (4 * 2 / 5))


def test_accumulated_passes_are_loaded_too() -> None:
    assert load_s(asked(workers=0, accumulation=2), here()) == pytest.approx(32 * ROW_S)
    of_each_pass = experiment(roles=Roles(micro_batch=32, accumulation=2, workers=0, load_s=ROW_S))
    assert load_s(of_each_pass, here()) == pytest.approx(64 * ROW_S)


def test_on_a_cpu_the_threads_that_train_take_cores_too() -> None:
    case = asked(workers=1, threads=1)
    assert load_s(case, world(), CPU) == pytest.approx(32 * ROW_S / (1 / 2))


# ---------------------------------------------------------------- what it makes of a step


def test_workers_that_are_slower_than_the_gpu_rule_the_step() -> None:
    free, starved = on(asked(load_s=None), here()), on(asked(workers=2), here())
    assert starved.step_s.p50 == pytest.approx(32 * ROW_S / 2)
    assert starved.step_s.source == "closed_form"
    assert starved.bound == "loading"
    assert "the device waits for data" in starved.step_s.because
    assert "2 workers to load 32 rows at 0.01s each (stated)" in starved.step_s.because
    assert free.bound == "launch"
    assert starved.utilization is not None
    assert free.utilization is not None
    assert starved.utilization == pytest.approx(free.utilization * free.step_s.p50 / starved.step_s.p50)


def test_workers_that_keep_up_change_nothing() -> None:
    free, ahead = on(asked(load_s=None), here()), on(asked(load_s=1e-9, workers=4), here())
    assert ahead.step_s.p50 == free.step_s.p50
    assert ahead.bound == free.bound


def test_the_main_process_loads_before_each_step_and_that_is_flagged_where_nobody_said_it() -> None:
    free, serial = on(asked(load_s=None), here()), on(asked(workers=0), here())
    assert serial.step_s.p50 == pytest.approx(free.step_s.p50 + 32 * ROW_S)
    assert not any("PyTorch's default" in assumption.text for assumption in serial.assumptions)
    unsaid = on(asked(), here())
    assert unsaid.step_s.p50 == serial.step_s.p50
    assert any(assumption.change == "name the setting in `roles.workers`" for assumption in unsaid.assumptions)


def test_another_machine_is_taken_to_have_enough_cores_and_that_is_flagged() -> None:
    found = on(asked(workers=8), here(cores=2), H100)
    assert found.step_s.p50 == pytest.approx(32 * ROW_S / 8)
    assert any("core for each loader worker" in assumption.text for assumption in found.assumptions)


def test_a_measured_step_of_the_same_settings_has_its_loading_in_it() -> None:
    found = on(asked(workers=2), here(fact(gpu=A100, measured={"step_s": STEP_S})))
    assert found.step_s.p50 == STEP_S
    assert found.step_s.source == "measured"


def test_a_stated_cost_is_taken_off_a_measured_step_before_it_goes_to_another_gpu() -> None:
    probe = fact(gpu=A100, measured={"step_s": 0.5})
    alone = on(asked(load_s=None), here(fact(gpu=A100, measured={"step_s": 0.5 - 32 * ROW_S})), H100)
    found = on(asked(workers=0), here(probe), H100)
    assert found.step_s.p50 == pytest.approx(alone.step_s.p50 + 32 * ROW_S)
    assert "without its wait for data" in found.step_s.because


# ---------------------------------------------------------------- measured


def idle(busy: float, **fields: Any) -> Evidence:
    return fact(gpu=A100, measured={"step_s": STEP_S, "device_busy": busy}, **fields)


def unsaid(**roles: Any) -> Experiment:
    """Nobody states what a row costs; its batch is so large that kernels do not start slowly."""
    return asked(load_s=None, batch=4096, **roles)


def large(busy: float, **settings: Any) -> Evidence:
    return idle(busy, settings={"batch": 4096, **settings})


@pytest.mark.parametrize(("busy", "waits"), [(0.01, False), (0.2, True), (0.49, True), (0.5, False), (0.9, False)])
def test_a_gpu_that_is_seldom_busy_waits_for_data(busy: float, waits: bool) -> None:
    of = unsaid()
    case = case_of(first_run(of), of, gpu=A100, world=here(large(busy)))
    (clue,) = clues_of(case).same
    assert waited(clue) is waits
    assert on(of, here(large(busy))).bound == ("loading" if waits else "compute")


def test_one_that_starts_many_small_kernels_does_not() -> None:
    of = asked(load_s=None, batch=2)
    case = case_of(first_run(of), of, gpu=A100, world=here(idle(0.3, settings={"batch": 2})))
    (clue,) = clues_of(case).same
    assert not waited(clue)


def test_a_gpu_that_waited_here_gains_nothing_from_a_faster_one() -> None:
    of = unsaid(workers=4)
    found = on(of, here(large(0.3)), H100)
    assert found.step_s.p50 == pytest.approx(STEP_S)
    assert found.bound == "loading"
    assert found.step_s.source == "scaled"
    assert "where the device was busy 30% of the time" in found.step_s.because
    assert relative_width(found.step_s)[0] >= 0.7
    busy = on(of, here(large(0.9)), H100)
    assert busy.step_s.p50 < 0.7 * STEP_S


def test_without_workers_only_the_wait_is_carried_over() -> None:
    of = unsaid(workers=0)
    found = on(of, here(large(0.4)), H100)
    alone = on(of, here(fact(gpu=A100, settings={"batch": 4096}, measured={"step_s": 0.4 * STEP_S})), H100)
    assert found.step_s.p50 == pytest.approx(alone.step_s.p50 + 0.6 * STEP_S)


def test_more_workers_load_faster_than_those_that_were_measured() -> None:
    settings = experiment().settings | {"batch": 4096, "workers": 8}
    of = unsaid(workers="workers").model_copy(update={"settings": settings})
    found = on(of, here(large(0.3, workers=4), cores=64))
    assert found.step_s.p50 == pytest.approx(STEP_S / 2)
    sixteen = of.model_copy(update={"settings": settings | {"workers": 16}})
    assert on(sixteen, here(large(0.3, workers=4), cores=64)).step_s.p50 == pytest.approx(0.3 * STEP_S)


def test_copies_that_wait_for_data_leave_the_device_to_each_other() -> None:
    of = unsaid(workers=4).model_copy(update={"copies": 2})
    probe = large(0.3)
    assert on(of, here(probe)).step_s.p50 == pytest.approx(STEP_S)
    eight = unsaid(workers=4).model_copy(update={"copies": 8})
    found = on(eight, here(probe))
    assert found.step_s.p50 > 1.5 * STEP_S
    assert found.utilization is not None
    assert found.utilization > 0.9
