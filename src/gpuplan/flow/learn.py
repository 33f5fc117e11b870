"""Foreign logs -> evidence, and history played again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data import find_gpu
from gpuplan.errors import UserError
from gpuplan.expand import expand, shape_of
from gpuplan.footprint import Unknown, footprint_of
from gpuplan.learn import Told, completed, evidence_of_log, refusal_of_log
from gpuplan.learn.replay import replay
from gpuplan.model import Evidence, LoggedRun
from gpuplan.observe.logs import Refusal, joined, read_logs
from gpuplan.verify.measured import Context, doubts
from gpuplan.world import look_at_machine
from gpuplan.world.logs import told_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuplan.flow.state import State
    from gpuplan.learn.replay import Replayed
    from gpuplan.model import Experiment, Finding, Run, World
    from gpuplan.spec import Spec

__all__ = ["Learned", "Lesson", "Request", "back_test", "learn"]

ONE_RUN = "one run with "
"""How the note begins that names the other logs of a run."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to learn from, and what the user says of it."""

    paths: Sequence[Path]
    told: Told = field(default_factory=Told)
    batch_rows: int | None = None
    spec: Spec | None = None


class Lesson(NamedTuple):
    """One log and what came of it."""

    log: LoggedRun
    fact: Evidence | None
    refused: str | None
    is_new: bool
    replaces: bool = False
    """Whether the store held another reading of the same log, by an older gpuplan, whose place this one took."""


class Learned(NamedTuple):
    """What was learned, what was refused and why, and what is odd in the logs."""

    lessons: tuple[Lesson, ...]
    refused: tuple[Refusal, ...]
    findings: tuple[Finding, ...]


def learn(request: Request, state: State) -> Learned:
    """Read every log below the paths, and keep what each teaches. Raises UserError for a path that is not there."""
    read = _read(request.paths)
    runs = expand(request.spec.experiment) if request.spec else ()
    spec, told = request.spec, request.told
    logs = [
        completed(one, told_of(one, spec.experiment, runs, told=told) if spec else told)
        for one in read
        if isinstance(one, LoggedRun)
    ]
    with state.reading() as store:
        world = look_at_machine(None, (), store=store)
    lessons = [_lesson(log, request, world) for log in logs]
    known = {fact.id for fact in world.evidence}
    taught = {lesson.fact.id: lesson for lesson in lessons if lesson.fact is not None}
    with state.writing() as store:
        replacing = store.learn_evidence(
            [lesson.fact for lesson in taught.values() if lesson.fact is not None],
            {one: _sources(lesson.log) for one, lesson in taught.items()},
        )
    return Learned(
        lessons=tuple(_seen_once(lessons, known, replacing)),
        refused=tuple(one for one in read if isinstance(one, Refusal)),
        findings=doubts(logs, _context(request, logs, runs, world)),
    )


def back_test(state: State, spec: Spec | None) -> tuple[Replayed, ...]:
    """Every fact of the store predicted from those before it. Raises UserError where nothing was learned yet."""
    with state.reading() as store:
        world = look_at_machine(None, (), store=store)
    if not world.evidence:
        raise UserError(f"nothing was learned yet in {state.folder}", hint="gpuplan learn PATH, or gpuplan apply SPEC")
    return replay(world, _experiments(world, state, spec))


def _read(paths: Sequence[Path]) -> list[LoggedRun | Refusal]:
    """What the logs at the paths say, those of one run as one; what lies in a folder that is named too, once."""
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} is not there", hint="gpuplan learn FILE_OR_FOLDER...")
    places = {path.resolve(): path for path in reversed(paths)}
    chosen = [path for place, path in reversed(places.items()) if places.keys().isdisjoint(place.parents)]
    return joined(one for path in chosen for one in read_logs(path))


def _sources(log: LoggedRun) -> tuple[str, ...]:
    """What a log is known by, whoever reads it: the content of its file, with the names of the logs it was joined with.

    A run of several logs takes the place of what its main log alone said, and never the other way round. Nothing where
    the log is no file.
    """
    path = Path(log.path)
    try:
        if not path.is_file():
            return ()
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ()
    others = "\n".join(sorted(note for note in log.notes if note.startswith(ONE_RUN)))
    return (f"{content}+{hashlib.sha256(others.encode()).hexdigest()[:16]}", content) if others else (content,)


def _lesson(log: LoggedRun, request: Request, world: World) -> Lesson:
    gpu = find_gpu(log.gpu) or world.gpus.get(log.gpu) if log.gpu else None
    experiment = request.spec.experiment.name if request.spec else request.told.experiment
    fact = evidence_of_log(log, experiment=experiment, gpu=gpu, today=world.today)
    return Lesson(log, fact, refusal_of_log(log, gpu=gpu), is_new=fact is not None)


def _seen_once(lessons: Sequence[Lesson], known: set[str], replacing: frozenset[str]) -> Iterator[Lesson]:
    """The same lessons, of which only the first of equal ones is new, and none that was known or read before."""
    seen = known | replacing
    for lesson in lessons:
        fact = lesson.fact.id if lesson.fact is not None else None
        yield lesson._replace(is_new=fact is not None and fact not in seen, replaces=fact in replacing)
        seen |= {fact} if fact is not None else set()


def _context(request: Request, logs: Sequence[LoggedRun], runs: Sequence[Run], world: World) -> Context:
    named = {log.gpu: gpu for log in logs if log.gpu and (gpu := find_gpu(log.gpu))}
    if request.spec is None:
        return Context(batch_rows=request.batch_rows, gpus=named)
    experiment = request.spec.experiment
    sizes = {shape_of(run, experiment).micro_batch for run in runs}
    by_spec = sizes.pop() if len(sizes) == 1 else None
    footprint = footprint_of(runs[0], experiment, world)
    return Context(
        batch_rows=request.batch_rows or by_spec,
        gpus=named,
        footprint=None if isinstance(footprint, Unknown) else footprint,
    )


def _experiments(world: World, state: State, spec: Spec | None) -> dict[str, Experiment]:
    """The specs of what was applied, and the one that was given."""
    names = {fact.experiment for fact in world.evidence}
    plans = [plan for name in sorted(names) if (plan := state.newest_plan(name)) is not None]
    found = {plan.experiment.name: plan.experiment for plan in plans}
    return found | ({spec.experiment.name: spec.experiment} if spec else {})
