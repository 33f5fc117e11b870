"""Checks of the settings: what varies reaches the program, seeds do, and roles name settings. It runs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuplan.command import LAUNCH_FIELDS, fields, render
from gpuplan.expand import GANG_AXES, axes
from gpuplan.model import PRECISION_NAMES, Architecture, Roles
from gpuplan.verify.case import groups, listed, near, setting_at
from gpuplan.verify.commands import fact_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.model import Experiment, Finding, Run
    from gpuplan.verify.case import Case

__all__ = [
    "launch_names",
    "reads_seed",
    "undefined_roles",
    "unread_axes",
    "unread_seeds",
    "unread_settings",
    "used_settings",
]


def launch_names(case: Case) -> Iterator[Finding]:
    """A setting with the name of a field that gpuplan fills itself, which would hide it."""
    taken = {name: None for run in case.runs for name in run.settings if name in LAUNCH_FIELDS}
    for name in taken:
        own_key = {"seed": "`seeds: [...]`", "ranks": "`ranks: ...`", "copies": "`copies: ...`"}.get(name)
        yield case.finding(
            "error",
            "setting-name",
            message=f"the setting {name} has the name of a field that gpuplan fills itself",
            because=f"{{{name}}} in a command is the run's own {name}, and the setting would be lost",
            fix=f"write {own_key} beside `settings`" if own_key else f"give the setting another name: my_{name}",
            at=setting_at(case.experiment, name),
        )


def unread_axes(case: Case) -> Iterator[Finding]:
    """A setting that varies and that nothing reads: runs that differ in it alone are one run; else it is a label."""
    experiment = case.experiment
    used = used_settings(experiment, experiment.command or "")
    if used is None:
        return
    used |= {name for source in experiment.inputs for name in (*fields(source.path), *fields(source.create or ""))}
    alike = groups(case, lambda run, _: None if run.control else _what_is_read(run, used)).values()
    for name in axes(experiment):
        if name not in GANG_AXES and name not in used:
            is_label = all(len({_shown(run, name) for run in runs}) == 1 for runs in alike)
            yield _label(case, name) if is_label else _unread(case, name)


def unread_seeds(case: Case) -> Iterator[Finding]:
    """Seeds that no command passes on and no program reads."""
    deaf = groups(case, lambda run, _: _deaf(case, run))
    for seeds in ([run.seed for run in runs] for runs in deaf.values()):
        count = len(set(seeds))
        same = f"all {count} seeds would be the same run" if count > 1 else "the run would not use it"
        yield case.finding(
            "error",
            "seed-unused",
            message="seeds are given, but the command does not use them",
            because=f"{same}: the command lacks {{seed}}, and its program does not read GPUPLAN_SEED",
            fix="pass it, as in `--seed {seed}`, or read os.environ['GPUPLAN_SEED'] in the program",
            at="seeds",
        )


def unread_settings(case: Case) -> Iterator[Finding]:
    """Settings that neither a command nor a role nor an input uses."""
    experiment = case.experiment
    if experiment.footprint is not None and experiment.footprint.trace is not None:
        return  # make_step is given all settings
    used = _all_uses(case)
    unused = [name for name in experiment.settings if used is not None and name not in used | LAUNCH_FIELDS]
    if unused:
        yield case.finding(
            "note",
            "setting-unused",
            message=f"nothing uses {listed(unused, shown=8)}",
            because="no command, input, name or role refers to it",
            fix=f"pass it, as in `--{unused[0]} {{{unused[0]}}}`, or leave it out",
            at=f"settings.{unused[0]}",
        )


def undefined_roles(case: Case) -> Iterator[Finding]:
    """A role that names a setting which some run lacks, so that its estimate has to assume it."""
    for role in Roles.model_fields:
        name = getattr(case.experiment.roles, role)
        if role == "precision" and name in PRECISION_NAMES:
            continue
        lacking = [run for run in case.runs if isinstance(name, str) and name not in run.settings]
        if lacking:
            meant = near(name, lacking[0].settings)
            yield case.finding(
                "warning",
                "role-undefined",
                message=f"the role {role} is given to {name}, which is not a setting",
                because=f"settings: {listed(lacking[0].settings, shown=12) or 'none'}",
                fix=f"did you mean {meant}?"
                if meant
                else f"`roles: {{{role}: NAME}}`, or a number in place of the name",
                at=f"roles.{role}",
                runs=lacking,
            )


def used_settings(experiment: Experiment, command: str) -> set[str] | None:
    """The names in a command's braces; None for a workload whose command is given all settings at once."""
    used = set(fields(command))
    if experiment.workload and command == experiment.command and not used - LAUNCH_FIELDS:
        return None
    return used


def reads_seed(case: Case, run: Run) -> bool:
    """Whether the seed of a run reaches its program."""
    if case.experiment.workload and run.command == case.experiment.command:
        return True
    fact = fact_of(case, run)
    return "seed" in fields(run.command) or (fact is not None and "GPUPLAN_SEED" in fact.names)


def _what_is_read(run: Run, used: set[str]) -> tuple[str, ...]:
    """All that tells a run from others for its program; as text, as True and 1 are not the same to a program."""
    gang = (run.seed, run.stage, run.ranks, run.copies)
    return (*(f"{name}={_shown(run, name)}" for name in sorted(used)), *map(str, gang))


def _shown(run: Run, name: str) -> str | None:
    return render(run.settings[name]) if name in run.settings else None


def _unread(case: Case, name: str) -> Finding:
    values = dict.fromkeys(run.settings[name] for run in case.runs if name in run.point)
    return case.finding(
        "error",
        "varied-unused",
        message=f"{name} varies, but the command does not use it",
        because=f"the runs with {name} = {listed(map(str, values))} would be the same run {len(values)} times",
        fix=f"pass it, as in `--{name} {{{name}}}`, or stop varying it",
        at=setting_at(case.experiment, name),
    )


def _label(case: Case, name: str) -> Finding:
    return case.finding(
        "note",
        "varied-unused",
        message=f"{name} is a label: the command does not use it",
        because=f"no two runs differ in {name} alone, so that none of them is done twice",
        fix=f"nothing, if it is meant for people; else pass it, as in `--{name} {{{name}}}`",
        at=setting_at(case.experiment, name),
    )


def _deaf(case: Case, run: Run) -> str | None:
    """The command that ignores the seed of a run; controls may, they are one run each."""
    listens = run.seed is None or run.control is not None or reads_seed(case, run)
    return None if listens else run.command


def _all_uses(case: Case) -> set[str] | None:
    experiment = case.experiment
    by_command = [used_settings(experiment, command) for command in {run.command for run in case.runs}]
    if None in by_command:
        return None
    templates = [experiment.names, experiment.checkpoint.resume]
    templates += [text for source in experiment.inputs for text in (source.path, source.create)]
    named = {name for template in templates if template for name in fields(template)}
    roles = {value for value in dict(experiment.roles).values() if isinstance(value, str)}
    return named.union(*(names for names in by_command if names), roles, _dimensions(experiment))


def _dimensions(experiment: Experiment) -> set[str]:
    model = experiment.footprint.model if experiment.footprint else None
    if isinstance(model, str):
        return set(fields(model))
    return (
        {value for value in dict(model).values() if isinstance(value, str)}
        if isinstance(model, Architecture)
        else set()
    )
