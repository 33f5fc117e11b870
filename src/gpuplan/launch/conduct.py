"""Carries out a plan on one place until all its runs have an outcome. It never plans, judges or reads a log itself.

Every step is written down before or after it such that gpuplan can be killed between any two: the run folders say
what was started and how it ended, the store says what was made of it.
"""

from __future__ import annotations

import bisect
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpuplan.errors import EXIT_BLOCKED, UserError
from gpuplan.launch.base import Ended, Lost, Running, writing
from gpuplan.launch.claim import Interrupts, sole_conductor
from gpuplan.launch.folder import archive_place, run_folder
from gpuplan.launch.patience import Patience
from gpuplan.launch.ports import Conducted, Event
from gpuplan.launch.prepare import make_state, prepare
from gpuplan.launch.schedule import in_plan_order, startable
from gpuplan.model import Ending, RunRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuplan.launch.base import Handle, Launcher, Sight
    from gpuplan.launch.ports import Happening, Observer, RunStore
    from gpuplan.launch.prepare import Site
    from gpuplan.launch.schedule import Task
    from gpuplan.model import Run, Sample, State

__all__ = ["conduct"]

KILL_MARGIN_S = 10.0
GIVE_UP_S = 10.0


@dataclass(slots=True)
class Active:
    """A run that was handed to the launcher and has no outcome yet."""

    task: Task
    handle: Handle
    record: RunRecord
    was_stopping: bool = False
    is_ours: bool = True
    """Whether this gpuplan started it, and not one before."""
    pid: int | None = None
    asked: int = 0
    """How urgently it was asked to stop: 0 not, 1 within its grace, 2 now."""


def conduct(
    site: Site,
    *,
    launcher: Launcher,
    store: RunStore,
    observer: Observer,
    on_event: Callable[[Event], None] = lambda _event: None,
    may_start: Callable[[Run], str | None] = lambda _run: None,
    interrupts: Interrupts | None = None,
    poll_s: float = 0.2,
    sample_s: float = 1.0,
) -> Conducted:
    """Start, look after and record all placed runs of the plan that are not finished yet.

    `may_start` gives a reason not to start a run. Ctrl-C or SIGTERM asks the runs to checkpoint and leave, a second one
    kills them. Raises UserError when state cannot be written any more: then running runs are left as they are.
    """
    make_state(site.state)
    with sole_conductor(site.state), interrupts or Interrupts() as asked:
        conductor = Conductor(
            site, launcher=launcher, store=store, observer=observer, on_event=on_event, may_start=may_start
        )
        conductor.take_up()
        while conductor.is_busy():
            conductor.heed(asked.count)
            conductor.start_ready()
            conductor.sample(every_s=sample_s)
            conductor.look(wait_s=poll_s)
        return conductor.result()


class Conductor:
    """The state of one `conduct`."""

    def __init__(
        self,
        site: Site,
        *,
        launcher: Launcher,
        store: RunStore,
        observer: Observer,
        on_event: Callable[[Event], None],
        may_start: Callable[[Run], str | None],
    ) -> None:
        self.site, self.launcher, self.store, self.observer = site, launcher, store, observer
        self.on_event, self.may_start = on_event, may_start
        self.experiment = site.plan.experiment.name
        self.estimates = {estimate.run: estimate for estimate in site.plan.estimates}
        self.tasks = in_plan_order(site.plan)
        self.waiting: list[Task] = []
        self.active: dict[Handle, Active] = {}
        self.states: dict[str, State] = {}
        self.skipped: list[str] = []
        self.held: dict[str, str] = {}
        self.brake: str | None = None
        self.patience = Patience()
        self.stopping_since: float | None = None
        self.sampled_at = time.monotonic()

    # ------------------------------------------------------------ what was before

    def take_up(self) -> None:
        """Find out what of the plan is finished, still runs, or ended while nobody looked."""
        new: list[RunRecord] = []
        for task in self.tasks:
            name = task.run.name
            record = self.store.record(self.experiment, name)
            known = record if record and record.run.key == task.run.key else None
            handle = self.launcher.adopt(name, run_folder(self.site.state, name))
            if known and known.state == "finished":
                self.skipped.append(name)
                self.states[name] = "finished"
                self.tell("skipped", name, "finished before", record=known)
            elif handle and handle.key == task.run.key and _is_open(known, handle):
                self.adopt(task, handle, known or self.new_record(task, attempt=handle.attempt))
            else:
                self.patience.forgive(name, losses=self.store.lost_in_a_row(self.experiment, name))
                self.waiting.append(task)
                new += [] if record else [self.new_record(task, attempt=0)]
        self.settle_strangers()
        self.store.save_all(new)

    def adopt(self, task: Task, handle: Handle, record: RunRecord) -> None:
        """Take up a run that an earlier gpuplan started; it has the devices that it was started on."""
        record = record.model_copy(update={"attempt": handle.attempt, "outcome": None})
        task = task._replace(devices=record.devices or task.devices)
        self.active[handle] = Active(task, handle, record, was_stopping=record.state == "stopping", is_ours=False)
        self.tell("adopted", task.run.name, f"attempt {handle.attempt} was started before", record=record)

    def settle_strangers(self) -> None:
        """Record the ends of runs that this plan does not have, and refuse to start beside those that still run."""
        ours = {active.record.folder for active in self.active.values()}
        still_running = []
        for record in self.store.open_records():
            if record.folder in ours:
                continue
            handle = self.launcher.adopt(record.run.name, Path(record.folder))
            sight = self.launcher.poll([handle])[handle] if handle else Lost(None)
            if isinstance(sight, Running):
                still_running.append(record.run.name)
            elif isinstance(sight, Lost) and sight.started_at is None:
                self.store.save(record.model_copy(update={"state": "waiting"}))
            else:
                self.save_end(record, _ending(sight), what="ended while nobody looked")
        if still_running:
            raise _still_running(still_running)

    # ------------------------------------------------------------ starting

    def start_ready(self) -> None:
        """Start what the plan has next, as far as devices are free."""
        if not self.may_go_on():
            return
        ready = startable(
            self.waiting,
            taken=[device for active in self.active.values() for device in active.task.devices],
            stages_running=[active.task.stage for active in self.active.values()],
        )
        for task in ready:
            reason = self.may_start(task.run)
            if reason is None:
                self.start(task)
            else:
                self.hold(task, reason)

    def may_go_on(self) -> bool:
        """Whether runs may still be started."""
        return self.stopping_since is None and self.brake is None

    def hold(self, task: Task, reason: str) -> None:
        """Leave a run out, because it may not start."""
        self.waiting.remove(task)
        self.held[task.run.name] = reason
        self.store.note(self.experiment, f"not started: {reason}", run=task.run.name)
        self.tell("held", task.run.name, reason)

    def start(self, task: Task) -> None:
        """Start a run; it stays where it is in the queue while processes of its last attempt live."""
        name, folder = task.run.name, run_folder(self.site.state, task.run.name)
        handle = self.launcher.adopt(name, folder)
        is_foreign = handle is not None and handle.key != task.run.key
        if handle and isinstance(self.launcher.poll([handle])[handle], Running):
            if is_foreign:
                raise _still_running([name])
            return
        if is_foreign:
            self.make_place(name, folder)
        attempt = self.next_attempt(task, 0 if handle is None or is_foreign else handle.attempt)
        job, provenance, checkpoint = prepare(self.site, task.run, devices=task.devices, attempt=attempt)
        record = self.new_record(task, attempt=attempt).model_copy(
            update={"state": "starting", "started_at": time.time(), "provenance": provenance}
        )
        resumed = f", resumed from {checkpoint.name}" if checkpoint else ""
        text = f"attempt {attempt} on {', '.join(map(str, task.devices)) or 'no device'}{resumed}"
        self.store.save(record, what=text)
        handle = self.launcher.submit(job)
        if handle is not None:
            self.waiting.remove(task)
            self.active[handle] = Active(task, handle, record)
            self.tell("started", name, text, record=record)

    def make_place(self, name: str, folder: Path) -> None:
        """Move the folder of another run of this name away. The store knows first, so that a kill in between heals."""
        place = archive_place(self.site.state, name)
        self.store.archive(str(folder), to=str(place))
        with writing(folder):
            place.parent.mkdir(exist_ok=True)
            folder.rename(place)
        self.store.note(self.experiment, f"the run of old was moved to {place}", run=name)
        self.tell("archived", name, f"the run of old was moved to {place}")

    def next_attempt(self, task: Task, newest: int) -> int:
        """A number that no process was ever started under; `newest` is the last that was given to the launcher."""
        record = self.store.record(self.experiment, task.run.name)
        if record is None or record.run.key != task.run.key:
            return newest + 1
        was_only_announced = record.attempt > newest and record.outcome is None
        return record.attempt if was_only_announced else max(record.attempt, newest) + 1

    def new_record(self, task: Task, *, attempt: int) -> RunRecord:
        """The record of a run that is about to start, or of which only its folder knows."""
        return RunRecord(
            experiment=self.experiment,
            run=task.run,
            folder=str(run_folder(self.site.state, task.run.name)),
            state="waiting",
            attempt=attempt,
            devices=task.devices,
            estimate=self.estimates.get(task.run.name),
        )

    # ------------------------------------------------------------ looking

    def sample(self, *, every_s: float) -> None:
        """Look at what runs, about once in `every_s`."""
        if time.monotonic() - self.sampled_at < every_s:
            return
        self.sampled_at = time.monotonic()
        samples: dict[str, Sample] = {}
        for active in self.active.values():
            if active.record.state == "starting" and active.pid is not None:
                self.change(active, "running")
            sample = self.observer.sample(active.record, active.pid) if active.pid is not None else None
            if sample is not None:
                samples[active.task.run.name] = sample
                self.tell("sampled", active.task.run.name, "", record=active.record, sample=sample)
        self.store.add_samples(self.experiment, samples)

    def change(self, active: Active, state: State) -> None:
        """Note the state of a run that has no outcome yet."""
        active.record = active.record.model_copy(update={"state": state})
        self.store.save(active.record)

    def look(self, *, wait_s: float) -> None:
        """Wait a moment for something to end, and record what has."""
        self.launcher.wait(self.active.keys(), timeout_s=wait_s)
        for handle, sight in self.launcher.poll(self.active.keys()).items():
            active = self.active[handle]
            if isinstance(sight, Running):
                active.pid = sight.pid
            elif isinstance(sight, Lost) and sight.started_at is None and self.patience.spares(handle.run):
                self.change(active, "waiting")
                self.put_back(active)
            else:
                self.end(active, _ending(sight))

    def put_back(self, active: Active) -> None:
        """Let a run wait for its next attempt, in its place in the plan."""
        del self.active[active.handle]
        bisect.insort(self.waiting, active.task, key=lambda task: task.order)

    def end(self, active: Active, ending: Ending) -> None:
        """Record an end, and decide whether the run is tried again."""
        active.record = record = self.save_end(active.record, ending, what=f"attempt {active.record.attempt} ended")
        name, because = active.task.run.name, record.outcome.because if record.outcome else ""
        self.tell("ended", name, because, record=record)
        losses = self.store.lost_in_a_row(self.experiment, name) if record.state == "lost" else 0
        again = self.patience.tries_again(record, losses=losses, was_stopping=active.was_stopping)
        if again and self.stopping_since is None:
            self.put_back(active)
            self.tell("again", name, f"will be started again: {because}", record=record)
            return
        del self.active[active.handle]
        self.states[name] = record.state
        brake = self.patience.brake(record) if active.is_ours else None
        if brake and self.waiting:
            self.brake = brake
            self.store.note(self.experiment, brake)
            self.tell("braked", None, brake)

    def save_end(self, record: RunRecord, ending: Ending, *, what: str) -> RunRecord:
        """Have an end judged, and keep all of it in one transaction."""
        record = record.model_copy(
            update={
                "ending": ending,
                "started_at": ending.started_at or record.started_at,
                "ended_at": ending.ended_at or time.time(),
            }
        )
        samples = self.store.samples(record.experiment, record.run.name, attempt=record.attempt)
        outcome, measurement = self.observer.judge(record, samples)
        record = record.model_copy(
            update={"state": outcome.status, "outcome": outcome, "measurement": measurement},
        )
        self.store.save(record, what=f"{what}, {outcome.status}: {outcome.because}")
        return record

    # ------------------------------------------------------------ stopping

    def heed(self, asked: int) -> None:
        """Pass on that somebody asked to stop; runs that ignore it are killed a while after their grace."""
        if asked == 0:
            return
        if self.stopping_since is None:
            self.stopping_since = time.monotonic()
            self.tell("stopping", None, f"asked {len(self.active)} runs to checkpoint and leave")
        urgency = 2 if asked > 1 or self.stopping_s() > self.grace_s + KILL_MARGIN_S else 1
        for active in self.active.values():
            if active.record.state != "stopping":
                self.change(active, "stopping")
            if active.asked < urgency and self.launcher.request_stop(active.handle, now=urgency == 2):
                active.asked = urgency

    @property
    def grace_s(self) -> float:
        """What a run has to checkpoint."""
        return self.site.plan.experiment.limits.grace

    def stopping_s(self) -> float:
        """How long ago somebody asked to stop."""
        return 0.0 if self.stopping_since is None else time.monotonic() - self.stopping_since

    # ------------------------------------------------------------ result

    def is_busy(self) -> bool:
        """Whether there is anything left to do or to wait for. Processes that cannot even be killed are given up."""
        is_hopeless = self.stopping_s() > self.grace_s + KILL_MARGIN_S + GIVE_UP_S
        return bool(self.active and not is_hopeless) or bool(self.waiting and self.may_go_on())

    def result(self) -> Conducted:
        """What came of it."""
        states = self.states | {active.task.run.name: active.record.state for active in self.active.values()}
        return Conducted(
            states={task.run.name: states.get(task.run.name, "waiting") for task in self.tasks},
            skipped=tuple(self.skipped),
            held=self.held,
            brake=self.brake,
            interrupted=self.stopping_since is not None,
        )

    def tell(
        self,
        what: Happening,
        run: str | None,
        text: str,
        *,
        record: RunRecord | None = None,
        sample: Sample | None = None,
    ) -> None:
        """Let the face know."""
        self.on_event(Event(what, run, text, record, sample))


def _still_running(runs: list[str]) -> UserError:
    return UserError(
        f"runs that are not in this plan are still running here: {', '.join(sorted(runs))}",
        hint="apply the plan that they belong to, or end them: gpuplan stop",
        exit_code=EXIT_BLOCKED,
    )


def _is_open(known: RunRecord | None, handle: Handle) -> bool:
    """Whether the store does not know yet what became of the attempt that the folder knows."""
    if known is None or known.attempt < handle.attempt:
        return True
    return known.attempt == handle.attempt and known.outcome is None


def _ending(sight: Sight) -> Ending:
    if isinstance(sight, Ended):
        return sight.ending
    if isinstance(sight, Lost) and sight.started_at is None:
        return Ending(problem="the helper process that starts the command was killed before it could")
    return Ending(started_at=sight.started_at)
