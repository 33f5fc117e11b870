"""Small plans of real commands, and an observer that judges by the exit code alone."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuplan.launch import Conducted, Event, Judgement, LocalLauncher, Site, conduct
from gpuplan.launch.base import Job
from gpuplan.launch.folder import processes_of
from gpuplan.model import (
    Device,
    Ending,
    Experiment,
    Fingerprints,
    Machine,
    Outcome,
    Placement,
    Plan,
    Quantity,
    Run,
    RunRecord,
    Sample,
    Status,
    Totals,
)
from gpuplan.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

PYTHON = shlex.quote(sys.executable)
LONG_S = 60.0


def wait_until(condition: Callable[[], object], *, what: str) -> None:
    """Poll until it holds; a busy machine has a minute."""
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline, f"not in {LONG_S} s: {what}"
        time.sleep(0.01)


def seconds(value: float) -> Quantity:
    return Quantity(p10=value, p50=value, p90=value, source="assumed", because="a test")


def job(folder: Path, *argv: str, **changes: Any) -> Job:
    values: dict[str, Any] = {
        "run": folder.name,
        "key": "k1",
        "attempt": 1,
        "folder": folder,
        "argv": argv,
        "workdir": folder.parent,
        "environment": {"GPUPLAN_RUN_DIR": str(folder)},
        "stop_signal": "SIGTERM",
        "grace_s": 20.0,
        "timeout_s": None,
    }
    return Job(**(values | changes))


def run(name: str, command: str, *, key: str = "", **more: Any) -> Run:
    return Run(name=name, key=key or f"key-{name}", settings={}, point={}, command=command, **more)


def plan(base: Path, runs: Sequence[Run], *, devices: dict[str, tuple[int, ...]] | None = None, **spec: Any) -> Plan:
    """A plan of runs in their order, on device 0 where nothing else is said."""
    places = devices or {}
    total = seconds(1)
    return Plan(
        experiment=Experiment(name="sweep", command="x", limits={"grace": "20 s"} | spec.pop("limits", {}), **spec),
        spec_path="sweep.yaml",
        base=str(base),
        fingerprints=Fingerprints(spec="", machine="", inputs={}, offers="", evidence=""),
        prices_as_of=None,
        machine=Machine(
            cpu="a CPU",
            cores=2,
            memory_bytes=2**33,
            devices=[Device(index=i, gpu="g", memory_bytes=1) for i in range(4)],
        ),
        runs=tuple(runs),
        estimates=(),
        placements=tuple(
            Placement(
                run=one.name,
                offer="local",
                devices=places.get(one.name, (0,)),
                start_s=seconds(i),
                end_s=seconds(i + 1),
            )
            for i, one in enumerate(runs)
        ),
        findings=(),
        totals=Totals(
            runs=len(runs), finished=0, makespan_s=total, device_hours=total, cost_usd=total, disk_bytes=total
        ),
    )


def argv_of(run: Run, run_dir: Path, checkpoint: Path | None) -> tuple[str, ...]:
    words = [word.replace("{run_dir}", str(run_dir)) for word in shlex.split(run.command)]
    return (*words, *(["--resume", str(checkpoint)] if checkpoint else []))


def site(base: Path, chosen: Plan, **changes: Any) -> Site:
    values: dict[str, Any] = {"plan": chosen, "state": base / ".gpuplan", "argv_of": argv_of, "gpus": frozenset()}
    return Site(**(values | changes))


class ByExitCode:
    """The least that an observer can be."""

    def sample(self, record: RunRecord, pid: int) -> Sample | None:
        return Sample(at=time.time(), processes=1, host_bytes=pid, cpu_s=0.0)

    def judge(self, record: RunRecord, samples: Sequence[Sample]) -> Judgement:
        status = status_of(record.ending or Ending())
        return Judgement(Outcome(status=status, because=status, advice="none"), None)


def status_of(ending: Ending) -> Status:
    if ending.exit_code == 0:
        return "finished"
    if ending.exit_code == 75:
        return "preempted"
    if ending.timed_out:
        return "timed_out"
    if ending.problem or ending.exit_code is not None:
        return "crashed"
    if ending.signal is None:
        return "lost"
    return "killed" if ending.stop_requested else "crashed"


def is_alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def pid_in(path: Path) -> int:
    wait_until(lambda: path.exists() and path.read_text().strip(), what=f"a pid in {path}")
    return int(path.read_text())


def end_all(folders: Iterable[Path]) -> None:
    """Leave nothing behind, whatever a test did."""
    for folder in folders:
        for pid in processes_of(folder):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Bench:
    """A state folder with its store, and what was said."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.state = base / ".gpuplan"
        self.store = Store(self.state / "store.db")
        self.launcher = LocalLauncher()
        self.events: list[Event] = []

    def conduct(self, chosen: Plan, **changes: Any) -> Conducted:
        values: dict[str, Any] = {
            "launcher": self.launcher,
            "store": self.store,
            "observer": ByExitCode(),
            "on_event": self.events.append,
            "poll_s": 0.05,
            "sample_s": 0.1,
        }
        return conduct(site(self.base, chosen), **(values | changes))

    def record(self, name: str) -> RunRecord:
        found = self.store.record("sweep", name)
        assert found is not None
        return found

    def folder(self, name: str) -> Path:
        return self.state / "runs" / name

    def said(self, what: str) -> list[str | None]:
        return [event.run for event in self.events if event.what == what]

    def later(self, condition: Callable[[], object], then: Callable[[], object]) -> threading.Thread:
        """Do something as soon as a condition holds, while `conduct` has the main thread."""

        def act() -> None:
            wait_until(condition, what="the moment to act")
            then()

        thread = threading.Thread(target=act)
        thread.start()
        return thread

    def clear(self) -> None:
        self.store.close()
        for process in self.launcher.shims.values():
            process.kill()
            process.wait()
        end_all((self.state / "runs").iterdir() if (self.state / "runs").exists() else [])
