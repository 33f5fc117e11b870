"""Plain values -> Experiment, with every mistake at once, each at its place. It never reads a file."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from gpuplan.command import LAUNCH_FIELDS, quoted_field, script_of, words
from gpuplan.errors import MAX_PROBLEMS, Problem, SpecError
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
    from collections.abc import Iterator, Sequence

    from gpuplan.spec.document import Document, Path

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
    "finite_number": "NaN or infinite",
    "too_short": "an empty list; give at least one value",
    "string_too_short": "empty",
}
TEMPLATES = {
    "value_error": "{error}",
    "literal_error": "{given} is none of {expected}",
    "greater_than_equal": "at least {ge}, please",
    "less_than_equal": "at most {le}, please",
    "string_too_long": "at most {max_length} characters, please",
    "too_long": "at most {max_length} values, please",
}
COUNTABLE = 10**15
NAME_RULE = "letters, digits, dots, dashes and underscores, at most 100, beginning with a letter or digit"
KEY_RULE = "letters, digits and underscores, at most 100, not beginning with a digit"


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
        has_program = {"command", "workload"} & document.value.keys()
        problems = [*_translated(error, document), *([] if has_program else _no_program(document))]
        raise SpecError(problems) from None
    problems = list(_contradictions(experiment, document))
    if problems:
        raise SpecError(problems)
    return experiment


# ---------------------------------------------------------------- pydantic's words to ours


def _translated(error: ValidationError, document: Document) -> Iterator[Problem]:
    """A problem for each place with a mistake, in the order of the file; of very many only as many as are shown."""
    details: dict[Path, list[Any]] = {}
    for detail in error.errors(include_url=False):
        details.setdefault(_path_in(detail, document.value), []).append(detail)
    for at in sorted(details, key=document.place)[: MAX_PROBLEMS + 1]:
        first, *others = details[at]
        message, hint = (_wanted(details[at]), None) if others else _message(first, at)
        shown = ".".join(map(str, at))
        yield document.problem(f"{shown}: {message}" if shown else message, at, hint)


def _wanted(details: list[Any]) -> str:
    """Of a role or a dimension, which may be several things."""
    is_switch = any(detail["type"].startswith("bool") for detail in details)
    return f"the name of a setting or {'true/false' if is_switch else 'a number'}, please"


def _path_in(detail: Any, value: Any) -> Path:
    """The part of pydantic's location that is in the document: union branches and `[key]` are left out."""
    at: list[str | int] = []
    for part in detail["loc"]:
        if isinstance(value, dict) and (part in value or (detail["type"] == "missing" and part == detail["loc"][-1])):
            at.append(part)
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            at.append(part)
            value = value[part]
    return tuple(at)


def _message(detail: Any, at: Path) -> tuple[str, str | None]:
    kind, bounds = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(at)
    if kind == "string_pattern_mismatch":
        rule = NAME_RULE if "." in bounds["pattern"] else KEY_RULE
        return f"{str(detail['input'])[:60]!r} is not a name: {rule}", None
    if kind == "missing":
        return "missing", f"add `{at[-1]}: ...`"
    if kind in TEMPLATES:
        return TEMPLATES[kind].format(given=repr(str(detail["input"])[:60]), **bounds), None
    return MESSAGES.get(kind, detail["msg"][:1].lower() + detail["msg"][1:]), None


def _unknown_key(at: Path) -> tuple[str, str | None]:
    section = SECTIONS.get(tuple(0 if isinstance(part, int) else part for part in at[:-1]))
    known = list(section.model_fields) if section else []
    elsewhere = next((path for path, model in SECTIONS.items() if str(at[-1]) in model.model_fields), None)
    if elsewhere is not None:
        where = f"under {elsewhere[0]}:" if elsewhere else "at the top of the file"
        return f"unknown key here; it belongs {where}", None
    near = nearest(str(at[-1]), known)
    if near:
        return f"unknown key, did you mean {near}?", None
    return "unknown key", f"known here: {', '.join(known)}" if known else None


# ---------------------------------------------------------------- mistakes that only the whole shows


def _contradictions(experiment: Experiment, document: Document) -> Iterator[Problem]:
    yield from _program(experiment, document)
    yield from _axes(experiment, document)
    for where, point in _points(experiment):
        for name, value in point.items():
            yield from _setting(name, value, document, (*where, name))
    yield from _twice(experiment, document)
    yield from _paths(experiment, document)
    total = count(experiment)
    if total.runs > MAX_RUNS:
        at = next((name for name in ("vary", "zip", "points", "stages") if getattr(experiment, name)), "seeds")
        shown = str(total) if total.runs < COUNTABLE else f"more than {COUNTABLE:,} runs"
        yield document.problem(f"{shown}; at most {MAX_RUNS:,}", (at,), "vary less, or sample points and list them")


def _program(experiment: Experiment, document: Document) -> Iterator[Problem]:
    if not experiment.command and not experiment.workload:
        yield from _no_program(document)
    if experiment.command and experiment.workload:
        yield document.problem("workload: stands beside command; give one of them", ("workload",))
    if experiment.footprint and sum(source is not None for _, source in experiment.footprint) != 1:
        yield document.problem("footprint: takes exactly one of model, trace, logs", ("footprint",))
    commands: dict[Path, str | None] = {("command",): experiment.command}
    commands[("checkpoint", "resume")] = experiment.checkpoint.resume
    commands |= {("controls", i, "command"): control.command for i, control in enumerate(experiment.controls)}
    commands |= {("inputs", i, "create"): source.create for i, source in enumerate(experiment.inputs)}
    for at, template in commands.items():
        yield from _command(template, document, at)


def _no_program(document: Document) -> Iterator[Problem]:
    yield document.problem("command: missing", (), "add `command: python train.py ...`, or `workload: agnews`")


def _command(template: str | None, document: Document, at: Path) -> Iterator[Problem]:
    name = ".".join(map(str, at))
    if template is None:
        return
    try:
        line = words(template)
    except ValueError as error:
        yield document.problem(f"{name}: {str(error).lower()}", at, "quote a lone quote: it's -> \"it's\"")
        return
    if not "".join(line[:1]):
        yield document.problem(f"{name}: empty", at)
    script = script_of(line)
    field = quoted_field(line[script]) if script is not None else None
    if field:
        hint = "take the quotes away; gpuplan quotes the value for the shell"
        yield document.problem(f"{name}: {field} stands inside quotes of the shell's script", at, hint)


def _axes(experiment: Experiment, document: Document) -> Iterator[Problem]:
    lengths = {name: len(values) for name, values in experiment.zip.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        yield document.problem(f"zip: lists of different lengths: {shown}", ("zip",))
    for name in experiment.vary.keys() & experiment.zip.keys():
        yield document.problem(f"zip.{name}: varied under vary too", ("zip", name))
    for name, values in experiment.vary.items():
        if len({(type(value), value) for value in values}) < len(values):
            yield document.problem(f"vary.{name}: a value stands twice", ("vary", name))
    for section in ("vary", "zip"):
        for name, values in getattr(experiment, section).items():
            yield from _launch_field(name, document, (section, name))
            for index, value in enumerate(values):
                yield from _gang(name, value, document, (section, name, index))


def _points(experiment: Experiment) -> Iterator[tuple[Path, dict[str, Any]]]:
    yield ("settings",), experiment.settings
    yield from ((("points", i), point) for i, point in enumerate(experiment.points))
    yield from ((("controls", i, "settings"), control.settings) for i, control in enumerate(experiment.controls))
    yield from ((("stages", i, "settings"), stage.settings) for i, stage in enumerate(experiment.stages))


def _setting(name: str, value: Any, document: Document, at: Path) -> Iterator[Problem]:
    yield from _launch_field(name, document, at)
    if name in GANG_AXES and at == ("settings", name):
        message = f"settings.{name}: {name} is not a setting of the program; it stands beside settings"
        yield document.problem(message, at)
    else:
        yield from _gang(name, value, document, at)


def _launch_field(name: str, document: Document, at: Path) -> Iterator[Problem]:
    if name in LAUNCH_FIELDS and name not in GANG_AXES:
        hint = "write `seeds: [...]` beside settings" if name == "seed" else "give the setting another name"
        shown = ".".join(map(str, at))
        yield document.problem(f"{shown}: gpuplan fills {{{name}}} itself; no setting can be called so", at, hint)


def _gang(name: str, value: Any, document: Document, at: Path) -> Iterator[Problem]:
    if name not in GANG_AXES:
        return
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_RANKS:
        shown = ".".join(map(str, at))
        yield document.problem(f"{shown}: {value!r} is not a number of {name} from 1 to {MAX_RANKS}", at)


def _twice(experiment: Experiment, document: Document) -> Iterator[Problem]:
    for section in ("controls", "stages"):
        names = [item.name for item in getattr(experiment, section)]
        for index in _repeated(names):
            message = f"{section}.{index}.name: {names[index]} stands twice"
            yield document.problem(message, (section, index, "name"))
    for index in _repeated(experiment.seeds):
        yield document.problem(f"seeds.{index}: {experiment.seeds[index]} stands twice", ("seeds", index))


def _repeated(values: Sequence[str | int]) -> Iterator[int]:
    seen: set[str | int] = set()
    for index, value in enumerate(values):
        if value in seen:
            yield index
        seen.add(value)


def _paths(experiment: Experiment, document: Document) -> Iterator[Problem]:
    files = experiment.checkpoint.files
    if files.startswith("/") or ".." in files.split("/"):
        yield document.problem("checkpoint.files: leaves the run's folder", ("checkpoint", "files"))
    if experiment.names and "/" in experiment.names:
        yield document.problem("names: a run's name is one folder, without slashes", ("names",))
