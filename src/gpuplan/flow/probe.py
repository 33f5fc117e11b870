"""A short measured probe: this machine's rates, then the real commands for some seconds each."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.expand import expand
from gpuplan.flow.apply import create_inputs, site_of, threads_of
from gpuplan.flow.observer import LOG_NAME, measured
from gpuplan.flow.plan import make_plan
from gpuplan.launch.base import Ended, Running
from gpuplan.launch.folder import run_folder
from gpuplan.launch.local import LocalLauncher
from gpuplan.launch.prepare import prepare
from gpuplan.learn import evidence_of, refusal
from gpuplan.model import Ending, Outcome, RunRecord
from gpuplan.observe.outcome import log_tail
from gpuplan.observe.probe import probe_cpu, probe_cuda
from gpuplan.observe.processes import sample
from gpuplan.world import interpreter, look_at_machine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gpuplan.flow.state import State
    from gpuplan.launch.prepare import Site
    from gpuplan.model import Evidence, Gpu, Measurement, Plan, Run, Sample, World
    from gpuplan.spec import Spec

__all__ = ["Probed", "probe"]

LONGEST_S = 180.0
"""A command that has made no steps by then is given up."""
POLL_S = 0.25
FEWEST_STEPS = 8


class Probed(NamedTuple):
    """What was measured, and what could not be."""

    gpu: Gpu
    evidence: tuple[Evidence, ...]
    refused: tuple[str, ...]


class Watched(NamedTuple):
    """One command after its seconds: what it recorded, or why it says nothing."""

    record: RunRecord
    problem: str | None


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
        for run in kinds_of_run(plan, with_ranks=with_ranks)[:most]:
            say(f"probing {run.name}")
            watched = _watch(site, run, seconds_s=seconds_s)
            fact = evidence_of(
                watched.record, gpu=gpu.name, threads=threads_of(plan, run), today=world.today, kind="probe"
            )
            if fact is None:
                refused.append(f"{run.name}: {watched.problem or refusal(watched.record)}")
            else:
                evidence.append(fact)
        store.add_evidence(evidence)
    return Probed(gpu, tuple(evidence), tuple(refused))


def kinds_of_run(plan: Plan, *, with_ranks: bool) -> list[Run]:
    """One run of each kind: those that differ by seed or learning rate alone cost the same. Small gangs first."""
    neutral = plan.experiment.roles.learning_rate
    kinds: dict[str, Run] = {}
    for run in plan.runs:
        settings = {name: value for name, value in run.settings.items() if name != neutral}
        if run.train and (run.ranks == 1 or with_ranks) and run.control is None:
            kinds.setdefault(repr((run.command, run.ranks, sorted(settings.items()))), run)
    return sorted(kinds.values(), key=lambda run: run.ranks)


def _device_rates(spec: Spec, world: World) -> Gpu:
    device = world.machine.devices[0]
    python = interpreter(spec.experiment, spec.base)
    if world.gpus[device.gpu].kind == "gpu":
        return probe_cuda(python, identity=device.identity).gpu
    threads = spec.experiment.compute.threads or world.machine.threads_per_rank
    return probe_cpu(python, threads=threads, name=device.gpu, memory_bytes=device.memory_bytes).gpu


def _watch(site: Site, run: Run, *, seconds_s: float) -> Watched:
    """Run the command in a folder of its own until it has trained for `seconds_s`, then end it."""
    folder = run_folder(site.state, run.name)
    shutil.rmtree(folder, ignore_errors=True)
    devices = tuple(device.index for device in site.plan.machine.devices[: run.ranks])
    prepared = prepare(site, run, devices=devices, attempt=1)
    launcher = LocalLauncher()
    started = time.time()
    record = RunRecord(
        experiment=site.plan.experiment.name, run=run, folder=str(folder), state="running", started_at=started,
        devices=devices, provenance=prepared.provenance,
    )  # fmt: skip
    handle = launcher.submit(prepared.job)
    assert handle is not None, "the folder is new"
    samples: list[Sample] = []
    measurement: Measurement | None = None
    asked = False
    while True:
        launcher.wait([handle], timeout_s=POLL_S)
        sight = launcher.poll([handle])[handle]
        if not isinstance(sight, Running):
            break
        if sight.pid is not None and not asked:
            samples.append(sample(sight.pid, [], now=time.time()))
            measurement = measured(record, samples)
        if asked or _has_seen_enough(measurement, seconds_s) or time.time() - started > LONGEST_S:
            launcher.request_stop(handle, now=True)
            asked = True
    ending = sight.ending if isinstance(sight, Ended) else Ending()
    ended = record.model_copy(update={"ending": ending, "ended_at": time.time(), "attempt": 1})
    ended = ended.model_copy(update={"measurement": measured(ended, samples)})
    finished = asked or ending.exit_code == 0
    problem = None if finished else _last_words(folder)
    outcome = Outcome(status="finished" if finished else "crashed", because="a probe", advice="")
    return Watched(ended.model_copy(update={"state": outcome.status, "outcome": outcome}), problem)


def _has_seen_enough(measurement: Measurement | None, seconds_s: float) -> bool:
    if measurement is None or measurement.step_s is None or measurement.steps < FEWEST_STEPS:
        return False
    return measurement.steps * measurement.step_s >= seconds_s


def _last_words(folder: Path) -> str:
    lines: Sequence[str] = [line for line in log_tail(folder / LOG_NAME) if line.strip()]
    return f"the command failed: {lines[-1]}" if lines else "the command failed and printed nothing"
