"""A short measured probe: this machine's rates, then the real commands for some seconds each."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.estimate.classes import classes_of
from gpuplan.expand import expand, shape_of
from gpuplan.flow.apply import create_inputs, site_of, threads_of
from gpuplan.flow.plan import make_plan
from gpuplan.flow.watched import neighbours_of, watch
from gpuplan.learn import evidence_of, refusal
from gpuplan.observe.probe import probe_cpu, probe_cuda
from gpuplan.world import interpreter, look_at_machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gpuplan.flow.state import State
    from gpuplan.model import Evidence, Gpu, Plan, Run, World
    from gpuplan.spec import Spec

__all__ = ["Probed", "probe"]


class Probed(NamedTuple):
    """What was measured, and what could not be."""

    gpu: Gpu
    evidence: tuple[Evidence, ...]
    refused: tuple[str, ...]


def probe(
    spec: Spec, state: State, *, seconds_s: float, most: int, with_ranks: bool, say: Callable[[str], None]
) -> Probed:
    """Measure the devices of this machine, then each kind of run of the spec for `seconds_s` of training."""
    plan = make_plan(spec, state)
    create_inputs(plan, say=say)
    with state.writing() as store:
        world = look_at_machine(spec.experiment, expand(spec.experiment), store=store)
        say(f"measuring {world.machine.devices[0].gpu}")
        gpu = _device_rates(spec, world)
        store.put_gpus(world.machine.cpu, [gpu])
        site = replace(site_of(plan, state), state=state.folder / "probes")
        evidence: list[Evidence] = []
        refused: list[str] = []
        kinds = kinds_of_run(plan, with_ranks=with_ranks)
        for run in kinds[:most]:
            neighbours = neighbours_of(plan, run)
            say(f"probing {run.name}{f' beside {neighbours} like it, as planned' if neighbours else ''}")
            watched = watch(site, run, seconds_s=seconds_s, neighbours=neighbours)
            fact = evidence_of(
                watched.record, gpu=gpu.name, threads=threads_of(plan, run), today=world.today, kind="probe"
            )
            if fact is None:
                refused.append(f"{run.name}: {watched.problem or refusal(watched.record)}")
            else:
                evidence.append(fact)
        store.add_evidence(evidence)
    if len(kinds) > most:
        say(f"{len(kinds) - most} of {len(kinds)} kinds of run are not measured, but predicted; --most {len(kinds)}")
    return Probed(gpu, tuple(evidence), tuple(refused))


def kinds_of_run(plan: Plan, *, with_ranks: bool) -> list[Run]:
    """One run of each cost class, controls left out: small gangs first, and the corners of the sweep before its middle.

    Whatever is cut off, what is left spans the rest, which is then predicted between what was measured.
    """
    asked = [run for run in plan.runs if run.train and (run.ranks == 1 or with_ranks) and run.control is None]
    kinds = [alike[0] for alike in classes_of(asked, plan.experiment)]
    steps_s = {estimate.run: estimate.step_s.p50 for estimate in plan.estimates}
    sizes = {run.name: (math.log(steps_s[run.name]), math.log(_rows(run, plan))) for run in kinds}
    by_ranks = {ranks: [run for run in kinds if run.ranks == ranks] for ranks in sorted({run.ranks for run in kinds})}
    return [run for alike in by_ranks.values() for run in _farthest_first(alike, sizes)]


def _rows(run: Run, plan: Plan) -> int:
    return shape_of(run, plan.experiment).micro_batch or 1


def _farthest_first(runs: Sequence[Run], sizes: Mapping[str, tuple[float, float]]) -> list[Run]:
    """The smallest, then always the one whose size is farthest from all before it: the corners come first."""
    chosen = [min(runs, key=lambda run: sizes[run.name])]
    rest = [run for run in runs if run is not chosen[0]]
    while rest:
        farthest = max(rest, key=lambda run: min(math.dist(sizes[run.name], sizes[one.name]) for one in chosen))
        chosen.append(farthest)
        rest.remove(farthest)
    return chosen


def _device_rates(spec: Spec, world: World) -> Gpu:
    device = world.machine.devices[0]
    python = interpreter(spec.experiment, spec.base)
    if world.gpus[device.gpu].kind == "gpu":
        return probe_cuda(python, identity=device.identity).gpu
    threads = spec.experiment.compute.threads or world.machine.threads_per_rank
    return probe_cpu(python, threads=threads, name=device.gpu, memory_bytes=device.memory_bytes).gpu
