"""Foreign logs -> evidence, evidence -> a file and back, and history played again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from gpuplan.data import find_gpu
from gpuplan.errors import UserError
from gpuplan.expand import expand, shape_of
from gpuplan.footprint import Unknown, footprint_of
from gpuplan.learn import Told, anonymous, completed, evidence_of_log, refusal_of_log
from gpuplan.learn.replay import replay
from gpuplan.model import Evidence, LoggedRun
from gpuplan.observe.logs import Refusal, read_logs
from gpuplan.verify.measured import Context, doubts
from gpuplan.world import look_at_machine
from gpuplan.world.logs import told_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from gpuplan.flow.state import State
    from gpuplan.learn.replay import Replayed
    from gpuplan.model import Experiment, Finding, Run, World
    from gpuplan.spec import Spec

__all__ = ["Imported", "Learned", "Lesson", "Request", "back_test", "export_evidence", "import_evidence", "learn"]


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


class Learned(NamedTuple):
    """What was learned, what was refused and why, and what is odd in the logs."""

    lessons: tuple[Lesson, ...]
    refused: tuple[Refusal, ...]
    findings: tuple[Finding, ...]


class Imported(NamedTuple):
    """What came out of a file of evidence."""

    new: int
    known: int
    refused: tuple[str, ...]


def learn(request: Request, state: State) -> Learned:
    """Read every log below the paths, and keep what each teaches. Raises UserError for a path that is not there."""
    read = list(_read(request.paths))
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
    with state.writing() as store:
        store.add_evidence((lesson.fact for lesson in lessons if lesson.fact is not None), replace=True)
    return Learned(
        lessons=tuple(_seen_once(lessons, known)),
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


def export_evidence(state: State, path: Path, *, nameless: bool) -> int:
    """Write all evidence to `path`, a JSON object a line; `nameless` without paths, commands and names."""
    with state.reading() as store:
        facts = store.evidence() if store else ()
    chosen = [anonymous(fact) if nameless else fact for fact in facts]
    path.write_text("".join(f"{fact.model_dump_json()}\n" for fact in chosen), "utf-8")
    return len(chosen)


def import_evidence(state: State, path: Path) -> Imported:
    """Take over the evidence in `path`; lines that are not evidence are named. Raises UserError, OSError."""
    facts: list[Evidence] = []
    refused: list[str] = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                facts.append(Evidence.model_validate_json(line))
            except ValidationError as error:
                refused.append(f"{path}:{number}: {error.errors()[0]['msg']}")
    with state.writing() as store:
        new = store.add_evidence(facts)
    return Imported(new, len(facts) - new, tuple(refused))


def _read(paths: Sequence[Path]) -> Iterator[LoggedRun | Refusal]:
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} is not there", hint="gpuplan learn FILE_OR_FOLDER...")
        yield from read_logs(path)


def _lesson(log: LoggedRun, request: Request, world: World) -> Lesson:
    gpu = find_gpu(log.gpu) or world.gpus.get(log.gpu) if log.gpu else None
    experiment = request.spec.experiment.name if request.spec else request.told.experiment
    fact = evidence_of_log(log, experiment=experiment, gpu=gpu, today=world.today)
    return Lesson(log, fact, refusal_of_log(log, gpu=gpu), is_new=fact is not None)


def _seen_once(lessons: Sequence[Lesson], known: set[str]) -> Iterator[Lesson]:
    """The same lessons, of which only the first of equal ones is new, and none that was known."""
    seen = set(known)
    for lesson in lessons:
        yield lesson._replace(is_new=lesson.fact is not None and lesson.fact.id not in seen)
        if lesson.fact is not None:
            seen.add(lesson.fact.id)


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
