from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from priced_cases import GB, QUICK, chosen, experiment, market, offer, world

from gpuplan.expand import expand
from gpuplan.model import Device, Machine
from gpuplan.place.on_market import on_market
from gpuplan.place.problem import Goal
from gpuplan.place.timetable import timetable

if TYPE_CHECKING:
    from gpuplan.model import Placement

HERE = world().machine


def rows(placements: tuple[Placement, ...]) -> dict[str, Placement]:
    return {placement.run: placement for placement in placements}


def test_every_run_has_its_machine_devices_and_times() -> None:
    plan = market(experiment(seeds=[1, 2, 3]), offer(gpu_count=2, price_usd_per_h=0.8)).solve(Goal("cheapest"))
    assert plan is not None
    placed = timetable(plan.stages, here=HERE)
    assert sorted(rows(placed)) == sorted(run.name for run in expand(experiment(seeds=[1, 2, 3])))
    assert max(one.end_s.p50 for one in placed) == plan.makespan_s
    assert min(one.start_s.p50 for one in placed) >= 60, "not before the machine is set up"
    assert [one.start_s.p50 for one in placed] == sorted(one.start_s.p50 for one in placed)
    for one in placed:
        assert one.start_s.p10 <= one.start_s.p50 <= one.start_s.p90
        assert one.end_s.p10 < one.end_s.p50 < one.end_s.p90
        assert set(one.devices) <= {0, 1}


def test_runs_on_one_device_follow_each_other_at_every_quantile() -> None:
    found = chosen(experiment(seeds=[1, 2, 3]), world(offer(available=1)))
    for end in ("p10", "p50", "p90"):
        spans = sorted((getattr(one.start_s, end), getattr(one.end_s, end)) for one in found.placements)
        assert all(before[1] <= after[0] + 1 for before, after in pairwise(spans))


def test_ones_own_devices_have_their_own_numbers() -> None:
    devices = tuple(Device(index=index, gpu=gpu, memory_bytes=24 * GB) for index, gpu in ((0, "T4"), (3, "RTX 4090")))
    machine = Machine(cpu="EPYC", cores=8, memory_bytes=64 * GB, devices=devices)
    own = offer("local/RTX 4090", place="local", price_usd_per_h=0.0, available=1, as_of="now")
    of = experiment()
    given = world(own).model_copy(update={"machine": machine})
    found = on_market(of, expand(of), world=given, search=QUICK)
    assert {one.devices for one in found.placements} == {(3,)}
