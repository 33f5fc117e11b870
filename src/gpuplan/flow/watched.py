"""One command run for some seconds, with the neighbours that it will have, and ended. It judges nothing."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.flow.observer import LOG_NAME, measured
from gpuplan.launch.base import Ended, Running
from gpuplan.launch.folder import run_folder
from gpuplan.launch.local import LocalLauncher
from gpuplan.launch.prepare import prepare
from gpuplan.model import Ending, Outcome, RunRecord
from gpuplan.observe.outcome import log_tail
from gpuplan.observe.processes import sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuplan.launch.base import Handle
    from gpuplan.launch.prepare import Site
    from gpuplan.model import Measurement, Plan, Run, Sample

__all__ = ["Watched", "neighbours_of", "watch"]

LONGEST_S = 180.0
"""A command that has made no steps by then is given up."""
POLL_S = 0.25
FEWEST_STEPS = 8
END_S = 10.0


class Watched(NamedTuple):
    """One command after its seconds: what it recorded, or why it says nothing."""

    record: RunRecord
    problem: str | None


class Started(NamedTuple):
    """A command that runs, and what is known of it so far."""

    handle: Handle
    record: RunRecord


def watch(site: Site, run: Run, *, seconds_s: float, neighbours: int) -> Watched:
    """Run the command until it has trained for `seconds_s`, beside `neighbours` copies of it, then end all of them."""
    launcher = LocalLauncher()
    running = [_start(launcher, site, run, place=place) for place in range(1 + neighbours)]
    samples: list[Sample] = []
    asked = False
    try:
        asked = _until_seen(launcher, running[0], samples, seconds_s=seconds_s)
    finally:
        ending = _end(launcher, [one.handle for one in running])
    return _concluded(running[0].record, ending, samples, asked=asked)


def neighbours_of(plan: Plan, run: Run) -> int:
    """How many such runs the plan has at once beside this one on shared cores; GPUs are their run's own."""
    devices = plan.machine.devices
    if not devices or devices[0].kind == "gpu":
        return 0
    alike = sum(other.ranks == run.ranks for other in plan.runs)
    return max(0, min(len(devices) // run.ranks, alike) - 1)


def _start(launcher: LocalLauncher, site: Site, run: Run, *, place: int) -> Started:
    run = run if place == 0 else run.model_copy(update={"name": f"{run.name[:90]}.{place}"})
    folder = run_folder(site.state, run.name)
    shutil.rmtree(folder, ignore_errors=True)
    devices = tuple(device.index for device in site.plan.machine.devices)
    own = devices[place * run.ranks : (place + 1) * run.ranks]
    prepared = prepare(site, run, devices=own, attempt=1)
    record = RunRecord(
        experiment=site.plan.experiment.name, run=run, folder=str(folder), state="running", started_at=time.time(),
        devices=own, attempt=1, provenance=prepared.provenance,
    )  # fmt: skip
    handle = launcher.submit(prepared.job)
    assert handle is not None, "the folder is new"
    return Started(handle, record)


def _until_seen(launcher: LocalLauncher, one: Started, samples: list[Sample], *, seconds_s: float) -> bool:
    """Look at the command until it has trained long enough (True), or has ended by itself (False)."""
    started = time.time()
    while True:
        launcher.wait([one.handle], timeout_s=POLL_S)
        sight = launcher.poll([one.handle])[one.handle]
        if not isinstance(sight, Running):
            return False
        if sight.pid is not None:
            samples.append(sample(sight.pid, [], now=time.time()))
        if _is_enough(measured(one.record, samples), seconds_s) or time.time() - started > LONGEST_S:
            return True


def _is_enough(measurement: Measurement, seconds_s: float) -> bool:
    if measurement.step_s is None or measurement.steps < FEWEST_STEPS:
        return False
    return measurement.steps * measurement.step_s >= seconds_s


def _end(launcher: LocalLauncher, handles: Sequence[Handle]) -> Ending:
    """End all of them at once; how the first ended."""
    deadline = time.monotonic() + END_S
    while time.monotonic() < deadline:
        sights = launcher.poll(handles)
        alive = [handle for handle, sight in sights.items() if isinstance(sight, Running)]
        if not alive:
            break
        for handle in alive:
            launcher.request_stop(handle, now=True)
        launcher.wait(alive, timeout_s=POLL_S)
    sight = launcher.poll(handles)[handles[0]]
    return sight.ending if isinstance(sight, Ended) else Ending()


def _concluded(record: RunRecord, ending: Ending, samples: Sequence[Sample], *, asked: bool) -> Watched:
    ended = record.model_copy(update={"ending": ending, "ended_at": time.time()})
    finished = asked or ending.exit_code == 0
    status = Outcome(status="finished" if finished else "crashed", because="a probe", advice="")
    ended = ended.model_copy(
        update={"measurement": measured(ended, samples), "state": status.status, "outcome": status}
    )
    return Watched(ended, None if finished else _last_words(Path(record.folder) / LOG_NAME))


def _last_words(log: Path) -> str:
    lines = [line for line in log_tail(log) if line.strip()]
    return f"the command failed: {lines[-1]}" if lines else "the command failed and printed nothing"
