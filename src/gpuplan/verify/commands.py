"""Checks of the commands: they start, need no shell, and name only what is defined. It never starts one."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.command import FIELD, fields, shell_problem, values_of
from gpuplan.verify.case import groups, listed, near
from gpuplan.verify.wanted import head_of, is_shell_script, setting_paths, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.model import CommandFact, Experiment, Finding, Run
    from gpuplan.verify.case import Case, Severity
    from gpuplan.verify.wanted import FilledInput

__all__ = [
    "Maker",
    "command_at",
    "fact_of",
    "makers",
    "mistyped_fields",
    "open_quotes",
    "programs",
    "shell_syntax",
    "undefined_fields",
    "unexpanded",
]

QUOTED = re.compile(r"'[^']*'|\"(?:\\.|[^\"\\])*\"|\\.", re.DOTALL)
SINGLE_QUOTED = re.compile(r"'[^']*'|\\.", re.DOTALL)
VARIABLE = re.compile(r"\$[A-Za-z_]\w*|\$\(|`")
ALMOST_FIELD = re.compile(r"(?<!\{)\{\s*([A-Za-z_][\w-]*)\s*(?:![rsa])?(?::[^{}\"']*)?\}(?!\})")


class Template(NamedTuple):
    """A text of the spec with braces: where it stands, what may stand in the braces beside the settings, its runs."""

    at: str
    text: str
    extra: frozenset[str]
    runs: tuple[Run, ...]
    is_command: bool = True


class Maker(NamedTuple):
    """A command that makes an input: filled in, its program, where it stands, and whether `apply` will run it."""

    text: str
    head: str
    fact: CommandFact
    at: str
    is_due: bool


def open_quotes(case: Case) -> Iterator[Finding]:
    """A command that cannot be split into words."""
    for template in _commands(case):
        if not words_of(template.text):
            yield case.finding(
                "error",
                "command-quotes",
                message="the command cannot be split into words",
                because=f"a quote stays open, or it is empty: {template.text.strip()!r}",
                fix="close the quote; quote a lone one: it's -> \"it's\"",
                at=template.at,
            )


def shell_syntax(case: Case) -> Iterator[Finding]:
    """A pipe, a redirection or a second command: commands do not go through a shell."""
    for template in _commands(case):
        word = _shell_word(template.text)
        if word is not None:
            yield case.finding(
                "error",
                "shell-operator",
                message=f"`{word}` needs a shell, and no shell reads the command",
                because=f"the program would be given `{word}` as an argument",
                fix=f"bash -c {shlex.quote(template.text)}; or quote `{word}` if it is meant as text",
                at=template.at,
            )


def unexpanded(case: Case) -> Iterator[Finding]:
    """`~/data` or `$HOME`, which the program would be given as they stand."""
    for template in _commands(case):
        line = words_of(template.text)
        if line and not is_shell_script(line):
            tildes = [word for word in QUOTED.sub("_", template.text).split() if word.startswith("~")]
            found = [*tildes, *VARIABLE.findall(SINGLE_QUOTED.sub("_", template.text))]
            if found:
                yield _unexpanded(case, found[0], at=template.at)
    for path, runs in setting_paths(case.runs).items():
        if path.startswith("~"):
            yield _unexpanded(case, path, at=command_at(case.experiment, runs[0]))


def programs(case: Case) -> Iterator[Finding]:
    """A program, script or interpreter that cannot be started in the environment of the runs."""
    interpreter = case.experiment.environment.python
    fact = case.world.programs.get(interpreter) if interpreter else None
    if fact is not None and fact.problem:
        fix = f"python3 -m venv {_folder(interpreter or '')}, or correct `environment.python`"
        yield _cannot_start(case, fact, fix=fix, at="environment.python")
        return
    heads = groups(case, lambda run, _: head_of(run.command, values_of(run)))
    for runs in heads.values():
        fact = fact_of(case, runs[0])
        if fact is not None and fact.problem:
            fix = "correct the command, install the program, or name its `environment.python`"
            yield _cannot_start(case, fact, fix=fix, at=command_at(case.experiment, runs[0]), runs=runs)
    made = {source.path for source in case.inputs if source.create}
    for maker in makers(case):
        if maker.fact.problem and shlex.split(maker.head)[-1] not in made:
            severity: Severity = "error" if maker.is_due else "note"
            fix = "correct `create`, or install the program"
            yield _cannot_start(case, maker.fact, fix=fix, at=maker.at, severity=severity)


def undefined_fields(case: Case) -> Iterator[Finding]:
    """Braces that name no setting of a run that they are filled for."""
    for template in _templates(case):
        names = fields(template.text)
        missing: dict[str, list[Run]] = {}
        for run in template.runs:
            known = values_of(run).keys() | template.extra
            for name in names:
                if name not in known or (template.at == "names" and name == "name"):
                    missing.setdefault(name, []).append(run)
        for name, runs in missing.items():
            yield _undefined(case, template, name, runs)


def mistyped_fields(case: Case) -> Iterator[Finding]:
    """`{learning-rate}` or `{lr:.0e}`: almost a field, so it would reach the program as text."""
    for template in _templates(case):
        known = {name for run in template.runs[:1] for name in values_of(run)}
        for match in ALMOST_FIELD.finditer(template.text):
            name = match[1].replace("-", "_")
            if name in known and not FIELD.fullmatch(match[0]):
                yield case.finding(
                    "warning",
                    "field-syntax",
                    message=f"`{match[0]}` is text, not the setting {name}",
                    because="a field is a name in braces and nothing else",
                    fix=f"write {{{name}}}; a text with braces is written {{{{{name}}}}}",
                    at=template.at,
                )


def fact_of(case: Case, run: Run) -> CommandFact | None:
    """What the world knows of the program that a run starts."""
    head = head_of(run.command, values_of(run))
    return case.world.programs.get(head) if head else None


def makers(case: Case) -> Iterator[Maker]:
    """The commands that make the inputs, one of those that differ in values alone."""
    found: dict[tuple[str, str], list[FilledInput]] = {}
    for source in case.inputs:
        head = head_of(source.create, {}) if source.create else None
        if head in case.world.programs:
            found.setdefault((f"inputs.{source.position}.create", head), []).append(source)
    for (at, head), sources in found.items():
        there = [case.world.files[source.path].exists for source in sources if source.path in case.world.files]
        is_due = len(there) < len(sources) or not all(there)
        yield Maker(sources[0].create or "", head, case.world.programs[head], at, is_due)


def _commands(case: Case) -> Iterator[Template]:
    """The distinct commands of the runs, how one is resumed, and how inputs are made."""
    for text, runs in groups(case, lambda run, _: run.command).items():
        extra = frozenset({"run_dir", "checkpoint"})
        yield Template(command_at(case.experiment, runs[0]), text, extra, tuple(runs))
    resume = case.experiment.checkpoint.resume
    if resume is not None:
        yield Template("checkpoint.resume", resume, frozenset({"run_dir", "checkpoint"}), case.runs)
    for index, source in enumerate(case.experiment.inputs):
        if source.create is not None:
            yield Template(f"inputs.{index}.create", source.create, frozenset(), case.runs)


def _templates(case: Case) -> Iterator[Template]:
    yield from _commands(case)
    for index, source in enumerate(case.experiment.inputs):
        yield Template(f"inputs.{index}.path", source.path, frozenset(), case.runs, is_command=False)
    if case.experiment.names is not None:
        named = tuple(run for run in case.runs if run.control is None)
        yield Template("names", case.experiment.names, frozenset(), named, is_command=False)


def command_at(experiment: Experiment, run: Run) -> str:
    """The key path of the command of a run."""
    for index, control in enumerate(experiment.controls):
        if control.name == run.control and control.command is not None:
            return f"controls.{index}.command"
    return "workload" if experiment.workload else "command"


def _shell_word(template: str) -> str | None:
    """What of the unquoted text only a shell would understand."""
    if not words_of(template):
        return None
    unquoted = QUOTED.sub("_", template)
    return shell_problem(unquoted) or next((word for word in unquoted.split() if word.endswith(";")), None)


def _cannot_start(
    case: Case,
    fact: CommandFact,
    *,
    fix: str,
    at: str,
    runs: list[Run] | None = None,
    severity: Severity = "error",
) -> Finding:
    return case.finding(
        severity,
        "program",
        message=f"`{fact.program}` cannot be started",
        because=fact.problem or "",
        fix=fix,
        at=at,
        runs=runs or (),
    )


def _unexpanded(case: Case, text: str, *, at: str) -> Finding:
    return case.finding(
        "warning",
        "shell-expansion",
        message=f"`{text}` reaches the program as it is: no shell expands it",
        because="commands are started without a shell",
        fix="write the value; or put it under `environment.variables` and read it in the program",
        at=at,
    )


def _folder(interpreter: str) -> str:
    """`.venv/bin/python` -> `.venv`."""
    return interpreter.rpartition("/bin/")[0] or ".venv"


def _undefined(case: Case, template: Template, name: str, runs: list[Run]) -> Finding:
    known = sorted(values_of(runs[0]).keys() | template.extra)
    meant = near(name, known)
    if "${" + name + "}" in template.text:
        fix = f"no shell expands ${{{name}}}: write the value, or `bash -c` and ${{{{{name}}}}}"
    elif template.at == "names" and name == "name":
        fix = "leave {name} out: it is what `names` makes"
    else:
        define = f"`settings: {{{name}: VALUE}}`"
        fix = f"did you mean {{{meant}}}? Otherwise define {define}" if meant else f"define {define}"
    return case.finding(
        "error",
        "setting-undefined",
        message=f"{{{name}}} has no value",
        because=f"defined there: {listed(known, shown=12)}",
        fix=fix,
        at=template.at,
        runs=runs,
    )
