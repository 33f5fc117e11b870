"""Plain values -> Experiment, with every mistake at once, each at its place. It never reads a file."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from gpuplan.command import words
from gpuplan.errors import Problem, SpecError
from gpuplan.expand import GANG_AXES, count
from gpuplan.model import (
    MAX_RANKS,
    MAX_RUNS,
    Architecture,
    Checkpoint,
    Compute,
    Control,
    Environment,
    Experiment,
    FootprintSource,
    Input,
    Limits,
    Roles,
    Stage,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.spec.read import Document, Path

__all__ = ["experiment_of", "nearest"]

SECTIONS: dict[Path, type[BaseModel]] = {
    (): Experiment,
    ("roles",): Roles,
    ("footprint",): FootprintSource,
    ("footprint", "model"): Architecture,
    ("environment",): Environment,
    ("checkpoint",): Checkpoint,
    ("compute",): Compute,
    ("limits",): Limits,
    ("controls", 0): Control,
    ("stages", 0): Stage,
    ("inputs", 0): Input,
}
MESSAGES = {
    "missing": "missing",
    "int_type": "a whole number, please",
    "int_parsing": "a whole number, please",
    "int_from_float": "a whole number, please",
    "float_type": "a number, please",
    "float_parsing": "a number, please",
    "string_type": "a text, please",
    "bool_type": "true or false, please",
    "bool_parsing": "true or false, please",
    "list_type": "a list, please: [a, b]",
    "dict_type": "a mapping, please: key: value",
    "model_type": "a mapping, please: key: value",
    "too_short": "an empty list; give at least one value",
    "string_too_short": "empty",
}
NAME_RULE = "letters, digits, dots, dashes and underscores, at most 100, beginning with a letter or digit"
KEY_RULE = "letters, digits and underscores, not beginning with a digit"


def nearest(word: str, known: Any) -> str | None:
    """The known word that `word` most resembles, if any does."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), None)


def experiment_of(document: Document) -> Experiment:
    """The Experiment that a document describes. Raises SpecError with all its mistakes."""
    if not isinstance(document.value, dict):
        raise SpecError([document.problem("a spec is a mapping: name: ..., command: ...", ())])
    try:
        experiment = Experiment.model_validate(document.value)
    except ValidationError as error:
        raise SpecError(list(_translated(error, document))) from None
    problems = list(_contradictions(experiment, document))
    if problems:
        raise SpecError(problems)
    return experiment


# ---------------------------------------------------------------- pydantic's words to ours


def _translated(error: ValidationError, document: Document) -> Iterator[Problem]:
    seen: set[tuple[Path, str]] = set()
    for detail in sorted(error.errors(include_url=False), key=lambda detail: _sort_key(detail, document)):
        at = _path_in(detail["loc"], document.value)
        message, hint = _message(detail, at)
        if (at, message) not in seen:
            seen.add((at, message))
            shown = ".".join(map(str, at))
            yield document.problem(f"{shown}: {message}" if shown else message, at, hint)


def _sort_key(detail: Any, document: Document) -> tuple[int, int]:
    return document.place(_path_in(detail["loc"], document.value))


def _path_in(location: tuple[str | int, ...], value: Any) -> Path:
    """The part of pydantic's location that is in the document: union branches and `[key]` are left out."""
    at: list[str | int] = []
    for position, part in enumerate(location):
        last = position == len(location) - 1
        if isinstance(value, dict) and (part in value or (last and part != "[key]" and value is not None)):
            at.append(part)
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            at.append(part)
            value = value[part]
    return tuple(at)


def _message(detail: Any, at: Path) -> tuple[str, str | None]:
    kind = detail["type"]
    if kind == "extra_forbidden":
        return _unknown_key(at)
    if kind == "string_pattern_mismatch":
        is_key = detail["loc"][-1] == "[key]"
        return f"{str(detail['input'])[:60]!r} is not a name: {KEY_RULE if is_key else NAME_RULE}", None
    if kind == "literal_error":
        return f"{str(detail['input'])[:60]!r} is none of {detail['ctx']['expected']}", None
    if kind == "value_error":
        return str(detail["ctx"]["error"]), None
    if kind == "missing":
        hint = f"add `{at[-1]}: ...`" if at else None
        return "missing", hint
    return MESSAGES.get(kind, detail["msg"][:1].lower() + detail["msg"][1:]), None


def _unknown_key(at: Path) -> tuple[str, str | None]:
    section = SECTIONS.get(tuple(0 if isinstance(part, int) else part for part in at[:-1]))
    known = list(section.model_fields) if section else []
    near = nearest(str(at[-1]), known)
    if near:
        return f"unknown key, did you mean {near}?", None
    elsewhere = next((path for path, model in SECTIONS.items() if str(at[-1]) in model.model_fields), None)
    if elsewhere:
        return f"unknown key here; it belongs under {'.'.join(map(str, elsewhere))}:", None
    return "unknown key", f"known here: {', '.join(known)}" if known else None


# ---------------------------------------------------------------- mistakes that only the whole shows


def _contradictions(experiment: Experiment, document: Document) -> Iterator[Problem]:
    yield from _program(experiment, document)
    yield from _axes(experiment, document)
    yield from _twice(experiment, document)
    yield from _paths(experiment, document)
    total = count(experiment)
    if total.runs > MAX_RUNS:
        at = ("vary",) if experiment.vary else ("points",)
        yield document.problem(f"{total}; at most {MAX_RUNS:,}", at, "vary less, or sample points and list them")


def _program(experiment: Experiment, document: Document) -> Iterator[Problem]:
    if not experiment.command and not experiment.workload:
        yield document.problem("command: missing", (), "add `command: python train.py ...`, or `workload: agnews`")
    if experiment.command and experiment.workload:
        yield document.problem("workload: stands beside command; give one of them", ("workload",))
    if experiment.footprint and len(experiment.footprint.model_fields_set) != 1:
        yield document.problem("footprint: takes exactly one of model, trace, logs", ("footprint",))
    commands: dict[Path, str | None] = {("command",): experiment.command}
    commands[("checkpoint", "resume")] = experiment.checkpoint.resume
    commands |= {("controls", i, "command"): control.command for i, control in enumerate(experiment.controls)}
    commands |= {("inputs", i, "create"): source.create for i, source in enumerate(experiment.inputs)}
    for at, template in commands.items():
        yield from _command(template, document, at)


def _command(template: str | None, document: Document, at: Path) -> Iterator[Problem]:
    name = ".".join(map(str, at))
    try:
        if template is not None and not words(template):
            yield document.problem(f"{name}: empty", at)
    except ValueError as error:
        yield document.problem(f"{name}: {str(error).lower()}", at, "quote a lone quote: it's -> \"it's\"")


def _axes(experiment: Experiment, document: Document) -> Iterator[Problem]:
    lengths = {name: len(values) for name, values in experiment.zip.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        yield document.problem(f"zip: lists of different lengths: {shown}", ("zip",))
    for name in experiment.vary.keys() & experiment.zip.keys():
        yield document.problem(f"zip.{name}: varied under vary too", ("zip", name))
    for section in ("vary", "zip"):
        for name, values in getattr(experiment, section).items():
            for index, value in enumerate(values):
                yield from _gang(name, value, document, (section, name, index))
            if len({(type(value), value) for value in values}) < len(values) and section == "vary":
                yield document.problem(f"{section}.{name}: a value stands twice", (section, name))
    for name in GANG_AXES:
        if name in experiment.settings:
            message = f"settings.{name}: {name} is not a setting of the program; it stands beside settings"
            yield document.problem(message, ("settings", name))
    for where, point in _named_points(experiment):
        for name, value in point.items():
            yield from _gang(name, value, document, (*where, name))


def _named_points(experiment: Experiment) -> Iterator[tuple[Path, dict[str, Any]]]:
    yield from ((("points", i), point) for i, point in enumerate(experiment.points))
    yield from ((("controls", i, "settings"), control.settings) for i, control in enumerate(experiment.controls))
    yield from ((("stages", i, "settings"), stage.settings) for i, stage in enumerate(experiment.stages))


def _gang(name: str, value: Any, document: Document, at: Path) -> Iterator[Problem]:
    if name not in GANG_AXES:
        return
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_RANKS:
        shown = ".".join(map(str, at))
        yield document.problem(f"{shown}: {value!r} is not a number of {name} from 1 to {MAX_RANKS}", at)


def _twice(experiment: Experiment, document: Document) -> Iterator[Problem]:
    for section in ("controls", "stages"):
        names = [item.name for item in getattr(experiment, section)]
        for index, name in enumerate(names):
            if name in names[:index]:
                yield document.problem(f"{section}.{index}.name: {name} stands twice", (section, index, "name"))
    for index, seed in enumerate(experiment.seeds):
        if seed in experiment.seeds[:index]:
            yield document.problem(f"seeds.{index}: {seed} stands twice", ("seeds", index))


def _paths(experiment: Experiment, document: Document) -> Iterator[Problem]:
    files = experiment.checkpoint.files
    if files.startswith("/") or ".." in files.split("/"):
        yield document.problem("checkpoint.files: leaves the run's folder", ("checkpoint", "files"))
