"""Checks that runs can be told apart: names, points, controls, and where each writes. It never renames one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from gpuplan.command import fields, values_of
from gpuplan.verify.case import groups
from gpuplan.verify.commands import fact_of
from gpuplan.verify.options import output_options
from gpuplan.verify.settings import reads_seed, used_settings
from gpuplan.verify.wanted import filled, words_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from gpuplan.model import Experiment, Finding, Run
    from gpuplan.verify.case import Case
    from gpuplan.verify.options import Option

__all__ = ["duplicate_points", "equal_controls", "equal_names", "no_run_folder", "shared_outputs"]

Effect: TypeAlias = "tuple[Hashable, ...]"


def equal_names(case: Case) -> Iterator[Finding]:
    """Two runs with one name have one folder; names that differ in case alone have, on some disks."""
    for same in groups(case, lambda run, _: run.name.casefold()).values():
        first = same[0]
        other = next((run for run in same if run.key != first.key), None)
        if other is None:
            continue
        if first.name == other.name:
            yield case.finding(
                "error",
                "name-twice",
                message=f"{len(same)} runs are called {first.name}",
                because=_difference(first, other),
                fix=_fix_name(case.experiment, first, other),
                at="names" if case.experiment.names else first.name,
            )
        else:
            yield case.finding(
                "warning",
                "name-case",
                message=f"{first.name} and {other.name} differ in upper and lower case alone",
                because="some disks do not tell their folders apart",
                fix=_fix_name(case.experiment, first, other),
                at="names" if case.experiment.names else first.name,
            )


def duplicate_points(case: Case) -> Iterator[Finding]:
    """The same point twice, in two sections of the spec."""
    for same in groups(case, lambda run, _: run.key if run.control is None else None).values():
        if len(same) > 1:
            yield case.finding(
                "error",
                "point-twice",
                message=f"the same point stands {len(same)} times",
                because=f"settings, seed and stage are equal: {_point(same[0])}",
                fix="leave one of them out; for repetitions use `seeds`",
                at="points" if case.experiment.points else "vary",
                runs=same,
            )


def equal_controls(case: Case) -> Iterator[Finding]:
    """A control that does what another run does is no control."""
    others: dict[Effect, Run] = {}
    for run in sorted(case.runs, key=lambda run: run.control is not None):
        effect = _effect(case, run)
        other = others.setdefault(effect, run)
        if run.control is not None and other is not run:
            yield case.finding(
                "error",
                "control-equal",
                message=f"the control {run.control} is the same as {other.name}",
                because=f"their commands are equal in all but the name and the folder: {_point(other)}",
                fix="change a setting that the command uses, or leave the control out",
                at=f"controls.{[control.name for control in case.experiment.controls].index(run.control)}",
            )


def shared_outputs(case: Case) -> Iterator[Finding]:
    """Two runs that write to one place: the second overwrites the first, or both write into one file."""
    places: dict[str, dict[str, tuple[Run, Option]]] = {}
    for run in case.runs:
        for option in output_options(words_of(run.command)):
            place = filled(option.value, values_of(run) | {"run_dir": f"run folder of {run.name}", "checkpoint": ""})
            if place is not None:
                places.setdefault(place.removeprefix("./").rstrip("/"), {})[run.name] = (run, option)
    for place, writers in places.items():
        if len(writers) > 1:
            runs = [run for run, _ in writers.values()]
            option = next(iter(writers.values()))[1]
            yield case.finding(
                "warning" if "run_dir" in fields(runs[0].command) else "error",
                "output-shared",
                message=f"`{option.name} {option.value}` is one place for all of them: {place or '.'}",
                because=f"{runs[0].name} and {runs[1].name} would write over each other's results",
                fix=f"`{option.name} {{run_dir}}`" if option.name != ">" else "`> {run_dir}/NAME`",
                at="workload" if case.experiment.workload else "command",
                runs=runs,
            )


def no_run_folder(case: Case) -> Iterator[Finding]:
    """Nothing in the command says where a run writes, and there are several."""
    silent = groups(case, lambda run, _: run.command if _is_silent(case, run) else None)
    for runs in silent.values():
        if len(runs) > 1:
            yield case.finding(
                "note",
                "output-unknown",
                message="the command does not say where a run writes",
                because="it has no {run_dir} and no output option, and its program does not read GPUPLAN_RUN_DIR",
                fix="pass the run's own folder, as in `--output_dir {run_dir}`",
                at="command",
                runs=runs,
            )


def _effect(case: Case, run: Run) -> Effect:
    """All that decides what a run does, its name and its folder left out."""
    used = used_settings(case.experiment, run.command)
    values = {name: run.settings[name] for name in sorted(run.settings if used is None else used & run.settings.keys())}
    seed = run.seed if reads_seed(case, run) else None
    return (_anonymous(run.command), tuple(values.items()), seed, run.ranks, run.copies, run.train)


def _anonymous(command: str) -> str:
    return re.sub(r"\{(name|run_dir|stage)\}", "", command)


def _difference(first: Run, other: Run) -> str:
    names = [
        name for name in first.settings.keys() | other.settings.keys() if _value(first, name) != _value(other, name)
    ]
    names = [*sorted(names), *(["seed"] if first.seed != other.seed else [])]
    shown = "; ".join(
        f"{name} is {_value(first, name)} in one and {_value(other, name)} in another" for name in names[:3]
    )
    return shown or "their commands, stages or gangs differ"


def _value(run: Run, name: str) -> object:
    return run.seed if name == "seed" else run.settings.get(name, "not set")


def _fix_name(experiment: Experiment, first: Run, other: Run) -> str:
    names = [name for name in first.point if first.point[name] != other.point.get(name)]
    names += ["seed"] if first.seed != other.seed else []
    names += ["stage"] if first.stage != other.stage else []
    if experiment.names is None:
        return "rename the control or the value" if names else "leave one of them out"
    if not names:
        return "leave `names` out: the names that gpuplan makes tell repeats apart"
    return f"add {{{names[0]}}} to it, as in `names: {experiment.names}-{{{names[0]}}}`"


def _point(run: Run) -> str:
    values = [*run.point.items(), *([("seed", run.seed)] if run.seed is not None else [])]
    return ", ".join(f"{name}={value}" for name, value in values) or "the experiment's settings"


def _is_silent(case: Case, run: Run) -> bool:
    if (
        case.experiment.workload
        or {"run_dir", "name"} & set(fields(run.command))
        or output_options(words_of(run.command))
    ):
        return False
    fact = fact_of(case, run)
    return fact is None or "GPUPLAN_RUN_DIR" not in fact.names
