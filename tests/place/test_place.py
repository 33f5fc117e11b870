from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuplan.model import (
    SOURCES,
    Compute,
    Device,
    Estimate,
    Experiment,
    History,
    Machine,
    MemoryEstimate,
    Quantity,
    Run,
    World,
)
from gpuplan.place import Placed, _electricity, place
from gpuplan.place.schedule import lower_bound_s
from gpuplan.place.tasks import tasks_of, waves_of

if TYPE_CHECKING:
    from collections.abc import Sequence

GB = 10**9


class Job(NamedTuple):
    """A run and its estimate, in the figures that placing looks at."""

    seconds: float
    ranks: int = 1
    stage: str | None = None
    spread: float = 2


def quantity(p50: float, **changed: Any) -> Quantity:
    figures = {"p10": 0.5 * p50, "p50": p50, "p90": 2 * p50, "source": "measured", "because": "here"}
    return Quantity.model_validate(figures | changed)


def expected(job: Job) -> Quantity:
    return quantity(job.seconds, p90=job.spread * job.seconds)


def estimated(run: str, duration_s: Quantity, *, gpu: str = "L40", fits: str = "OK") -> Estimate:
    memory = MemoryEstimate.model_validate(
        dict.fromkeys(("allocated_bytes", "reserved_bytes", "device_bytes"), quantity(GB))
        | {"components_bytes": {}, "capacity_bytes": 48 * GB, "fits": fits}
    )
    return Estimate(
        run=run, gpu=gpu, memory=memory, step_s=quantity(1), steps=10, duration_s=duration_s, disk_bytes=quantity(GB)
    )


def runs_of(jobs: Sequence[Job]) -> list[Run]:
    return [
        Run(name=f"run{i}", key=f"key{i}", settings={}, point={}, ranks=job.ranks, stage=job.stage, command="x")
        for i, job in enumerate(jobs)
    ]


def world(devices: int | Sequence[str], **changed: Any) -> World:
    gpus = ["L40"] * devices if isinstance(devices, int) else devices
    machine = Machine(
        cpu="EPYC",
        cores=16,
        memory_bytes=64 * GB,
        devices=tuple(Device(index=i, gpu=gpu, memory_bytes=48 * GB) for i, gpu in enumerate(gpus)),
    )
    return World(today="2026-11-20", machine=machine, gpus={}, **changed)


def staged(jobs: Sequence[Job]) -> Experiment:
    names = dict.fromkeys(job.stage for job in jobs if job.stage)
    return Experiment.model_validate(
        {"name": "x", "command": "x", "stages": [{"name": name} for name in sorted(names)]}
    )


def placed(jobs: Sequence[Job], devices: int, *, cautious: bool = False, **changed: Any) -> Placed:
    runs = runs_of(jobs)
    estimates = [estimated(run.name, expected(job)) for run, job in zip(runs, jobs, strict=True)]
    return place(staged(jobs), runs, estimates=estimates, world=world(devices, **changed), cautious=cautious)


def bound_s(jobs: Sequence[Job], devices: int) -> float:
    runs = runs_of(jobs)
    estimates = [estimated(run.name, quantity(job.seconds)) for run, job in zip(runs, jobs, strict=True)]
    tasks = tasks_of(runs, estimates, devices=world(devices).machine.devices)
    return lower_bound_s(waves_of(staged(jobs), tasks), devices=devices)


def shortest_s(seconds: Sequence[float], devices: int) -> float:
    """The best of all ways to share single-device runs out."""
    ways = itertools.product(range(devices), repeat=len(seconds))
    return min(max(sum(s for s, d in zip(seconds, way, strict=True) if d == i) for i in range(devices)) for way in ways)


# ---------------------------------------------------------------- examples


def test_the_longest_run_starts_first_and_the_next_free_device_is_taken() -> None:
    result = placed([Job(10), Job(30), Job(20), Job(15)], 2)
    shown = {one.run: (one.devices, one.start_s.p50, one.end_s.p50) for one in result.placements}
    assert shown == {
        "run1": ((0,), 0, 30),
        "run2": ((1,), 0, 20),
        "run3": ((1,), 20, 35),
        "run0": ((0,), 30, 40),
    }
    assert result.totals.makespan_s.p50 == 40
    assert [one.run for one in result.placements] == ["run1", "run2", "run3", "run0"]


def test_times_are_added_up_quantile_by_quantile_and_say_why() -> None:
    first, second = placed([Job(20), Job(10)], 1).placements
    assert (second.start_s.p10, second.start_s.p50, second.start_s.p90) == (10, 20, 40)
    assert (second.end_s.p10, second.end_s.p50, second.end_s.p90) == (15, 30, 60)
    assert (first.start_s.because, second.start_s.because) == ("at once", "after run0")
    assert {one.offer for one in (first, second)} == {"local"}


def test_a_start_is_as_doubtful_as_what_runs_before_it() -> None:
    runs = runs_of([Job(30), Job(20), Job(10)])
    durations = [quantity(30, source="assumed"), quantity(20, source="scaled"), quantity(10)]
    estimates = [estimated(run.name, duration) for run, duration in zip(runs, durations, strict=True)]
    result = place(staged([]), runs, estimates=estimates, world=world(2))
    sources = {one.run: (one.start_s.source, one.end_s.source) for one in result.placements}
    assert sources == {"run0": ("measured", "assumed"), "run1": ("measured", "scaled"), "run2": ("scaled", "scaled")}
    assert result.totals.makespan_s.source == "assumed"


def test_a_gang_has_all_its_devices_at_once_and_comes_before_narrow_runs() -> None:
    result = placed([Job(100), Job(10, ranks=3), Job(50)], 4)
    shown = {one.run: (one.devices, one.start_s.p50) for one in result.placements}
    assert shown == {"run0": ((3,), 0), "run1": ((0, 1, 2), 0), "run2": ((0,), 10)}


def test_a_gang_larger_than_the_machine_has_no_place() -> None:
    result = placed([Job(10, ranks=3), Job(5)], 2)
    assert [one.run for one in result.placements] == ["run1"]
    assert (result.totals.runs, result.totals.finished) == (2, 0)


def test_finished_runs_are_counted_and_left_out() -> None:
    history = [History(name="run0", key="key0", state="finished"), History(name="run1", key="key1", state="crashed")]
    result = placed([Job(10), Job(5)], 1, history=history)
    assert [one.run for one in result.placements] == ["run1"]
    assert (result.totals.runs, result.totals.finished) == (2, 1)
    assert result.totals.makespan_s.p50 == 5


def test_a_stage_waits_for_all_of_the_one_before() -> None:
    result = placed([Job(5, stage="b"), Job(10, stage="a"), Job(30, stage="a"), Job(7)], 2)
    starts = {one.run: one.start_s.p50 for one in result.placements}
    assert starts == {"run2": 0, "run1": 0, "run3": 10, "run0": 30}
    assert result.placements[-1].start_s.because == "after the wave before"


def test_a_run_goes_only_where_it_fits() -> None:
    (run,) = runs_of([Job(10)])
    estimates = [
        estimated("run0", quantity(9), gpu="T4", fits="NO FIT"),
        estimated("run0", quantity(5), fits="UNKNOWN"),
    ]
    result = place(staged([]), [run], estimates=estimates, world=world(["T4", "L40"]))
    assert result.placements[0].devices == (1,)
    nowhere = place(staged([]), [run], estimates=estimates[:1], world=world(["T4", "T4"]))
    assert nowhere.placements == ()


def test_a_gang_on_unlike_devices_takes_as_long_as_its_slowest_rank() -> None:
    (run,) = runs_of([Job(10, ranks=2)])
    estimates = [estimated("run0", quantity(20), gpu="T4"), estimated("run0", quantity(5))]
    result = place(staged([]), [run], estimates=estimates, world=world(["T4", "L40"]))
    assert (result.placements[0].devices, result.placements[0].end_s.p50) == ((0, 1), 20)
    assert result.totals.device_hours.p50 == pytest.approx(40 / 3600)


def test_totals_are_sums_with_reasons() -> None:
    totals = placed([Job(3600), Job(1800, ranks=2)], 2).totals
    assert totals.device_hours.p50 == pytest.approx(2)
    assert totals.device_hours.p10 == pytest.approx(1)
    assert totals.device_hours.p90 == pytest.approx(4)
    assert totals.cost_usd.p90 == 0
    assert totals.cost_usd.because == "your own machine: no rent; power is not counted"
    assert totals.disk_bytes.p50 == 2 * GB
    assert totals.makespan_s.because == "2 runs on 2 devices; no order takes less than 1h00m"


def test_nothing_to_do_takes_no_time() -> None:
    totals = placed([], 2).totals
    assert (totals.runs, totals.makespan_s.p90, totals.device_hours.p90, totals.disk_bytes.p90) == (0, 0, 0, 0)
    assert totals.makespan_s.because == "no run to place"


def test_a_machine_without_devices_places_nothing() -> None:
    assert placed([Job(1)], 0).placements == ()


# ---------------------------------------------------------------- properties

seconds = st.floats(min_value=0.1, max_value=1e5)
jobs = st.lists(
    st.builds(Job, seconds, st.integers(1, 4), st.sampled_from([None, "a", "b"]), st.sampled_from([1, 2, 7])),
    max_size=12,
)
ties = st.builds(
    Job,
    st.sampled_from([10, 20, 30]),
    st.integers(1, 4),
    st.sampled_from([None, "a", "b"]),
    spread=st.sampled_from([2, 3, 7]),
)
sizes = st.integers(1, 4)


@settings(max_examples=100, deadline=None)
@given(jobs, sizes)
def test_every_run_that_can_has_its_gang_and_no_device_holds_two(given_jobs: list[Job], devices: int) -> None:
    placements = placed(given_jobs, devices).placements
    ranks = {f"run{i}": job.ranks for i, job in enumerate(given_jobs) if job.ranks <= devices}
    assert sorted(one.run for one in placements) == sorted(ranks)
    for one in placements:
        assert len(set(one.devices)) == ranks[one.run]
        assert set(one.devices) <= set(range(devices))
    for first, second in itertools.combinations(placements, 2):
        if set(first.devices) & set(second.devices):
            for quantile in ("p10", "p50", "p90"):
                spans = sorted(
                    (getattr(one.start_s, quantile), getattr(one.end_s, quantile)) for one in (first, second)
                )
                assert spans[0][1] <= spans[1][0]


@settings(max_examples=100, deadline=None)
@given(jobs, sizes)
def test_no_schedule_beats_the_lower_bound(given_jobs: list[Job], devices: int) -> None:
    makespan_s = placed(given_jobs, devices).totals.makespan_s.p50
    assert makespan_s >= bound_s(given_jobs, devices) * (1 - 1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(seconds, min_size=1, max_size=6), st.integers(1, 3))
def test_single_device_runs_end_within_four_thirds_of_the_best(durations: list[float], devices: int) -> None:
    best_s = shortest_s(durations, devices)
    makespan_s = placed([Job(duration) for duration in durations], devices).totals.makespan_s.p50
    assert bound_s([Job(duration) for duration in durations], devices) <= best_s * (1 + 1e-9)
    assert best_s * (1 - 1e-9) <= makespan_s <= best_s * (4 / 3 - 1 / (3 * devices)) * (1 + 1e-9)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.lists(ties, max_size=12), sizes)
def test_the_order_of_the_runs_changes_no_total(data: st.DataObject, given_jobs: list[Job], devices: int) -> None:
    shuffled = data.draw(st.permutations(given_jobs))
    one, other = placed(given_jobs, devices).totals, placed(shuffled, devices).totals
    assert one.makespan_s == other.makespan_s
    assert one.device_hours.p50 == pytest.approx(other.device_hours.p50)


@settings(max_examples=40, deadline=None)
@given(jobs, sizes)
def test_the_same_world_gives_the_same_plan(given_jobs: list[Job], devices: int) -> None:
    assert placed(given_jobs, devices) == placed(given_jobs, devices)


@settings(max_examples=60, deadline=None)
@given(jobs, sizes)
def test_stages_do_not_overlap(given_jobs: list[Job], devices: int) -> None:
    by_run = {f"run{i}": job.stage for i, job in enumerate(given_jobs)}
    placements = placed(given_jobs, devices).placements
    first = [one.end_s.p50 for one in placements if by_run[one.run] == "a"]
    second = [one.start_s.p50 for one in placements if by_run[one.run] == "b"]
    assert not first or not second or max(first) <= min(second)


@settings(max_examples=40, deadline=None)
@given(jobs, sizes, st.sampled_from(SOURCES))
def test_totals_are_never_surer_than_the_estimates(given_jobs: list[Job], devices: int, source: str) -> None:
    runs = runs_of(given_jobs)
    estimates = [
        estimated(run.name, quantity(job.seconds, source=source)) for run, job in zip(runs, given_jobs, strict=True)
    ]
    result = place(staged(given_jobs), runs, estimates=estimates, world=world(devices))
    if result.placements:
        assert result.totals.makespan_s.source == source
        assert result.totals.device_hours.source == source


def test_a_thousand_runs_on_eight_devices_end_near_the_bound() -> None:
    many = [Job(60 + 37 * i % 541, ranks=(1, 1, 2, 4)[i % 4]) for i in range(1000)]
    makespan_s = placed(many, 8).totals.makespan_s.p50
    assert makespan_s <= 1.01 * bound_s(many, 8)


def test_electricity_of_ones_own_machine_is_a_bill_where_the_spec_states_it() -> None:
    """An hour at 500 W and 0.40 USD a kWh costs 0.20 USD."""
    free, billed = Compute(), Compute(power_w=500, electricity_usd_per_kwh=0.40)
    hour = Quantity(p10=3600, p50=3600, p90=7200, source="measured", because="a test")
    assert _electricity(free, hour).p50 == 0
    assert _electricity(billed, hour).p50 == pytest.approx(0.20)
    assert _electricity(billed, hour).p90 == pytest.approx(0.40)
