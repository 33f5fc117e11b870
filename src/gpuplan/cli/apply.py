"""`gpuplan apply`: carry out a plan, after showing it and asking."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpuplan.cli.options import json_option, quiet_option, spec_from, spec_options, state_option
from gpuplan.cli.output import command_line, emit_json, say
from gpuplan.cli.plan import again, is_blocked, print_plan
from gpuplan.errors import EXIT_BLOCKED, DriftError, UserError

if TYPE_CHECKING:
    from gpuplan.cli.options import Given
    from gpuplan.flow.apply import Applied
    from gpuplan.flow.state import State
    from gpuplan.launch.ports import Event
    from gpuplan.model import Plan

PLAN_MARK = b'"gpuplan.plan/'
MARK_WITHIN_BYTES = 200
TOLD = frozenset({"adopted", "archived", "started", "ended", "again", "held", "braked", "stopping"})


@click.command("apply")
@spec_options
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--accept-drift", is_flag=True, help="Apply a plan file although the world has changed since.")
@state_option
@json_option
@quiet_option
def command(given: Given, *, yes: bool, accept_drift: bool, state: Path, as_json: bool, quiet: bool) -> int:
    """Carry out SPEC, or exactly a PLAN file of `gpuplan plan -o`, on this machine.

    A spec is planned and shown first, then you are asked; where nobody can be, as with --json, say -y. Finished runs
    are skipped; what a killed gpuplan left running is taken up again. Ctrl-C asks the runs to checkpoint, a second one
    kills them.
    """
    from gpuplan.flow.apply import apply, create_inputs, refuse_what_waits  # noqa: PLC0415
    from gpuplan.flow.state import State  # noqa: PLC0415

    home = State(state)
    is_saved = bool(given.path and _is_plan(Path(given.path)))
    asks = not (is_saved or yes)
    if is_saved:
        plan = _saved_plan(Path(given.path or ""), home, accept_drift=accept_drift)
    else:
        plan = _planned(given, home, show=asks and not quiet and not as_json)
    if is_blocked(plan):
        raise UserError(_blocked(plan), hint="gpuplan check says how to mend it", exit_code=EXIT_BLOCKED)
    refuse_what_waits(plan)
    if asks:
        _ask(as_json=as_json)
    create_inputs(plan, say=lambda text: say(text, quiet=quiet))
    applied = apply(plan, home, on_event=lambda event: None if quiet else _tell(event))
    if as_json:
        emit_json(_answer(plan, applied))
    else:
        same = command_line("apply", given.path or "", state=state) if is_saved else again(plan, "apply", state=state)
        click.echo(_closing(plan, applied, same=same or "the same command", folder=state))
    return applied.exit_code


def _is_plan(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return PLAN_MARK in file.read(MARK_WITHIN_BYTES)
    except (OSError, ValueError):
        return False


def _saved_plan(path: Path, home: State, *, accept_drift: bool) -> Plan:
    from gpuplan.flow.plan import drift, replan  # noqa: PLC0415
    from gpuplan.flow.planfile import read_plan_file  # noqa: PLC0415

    plan = read_plan_file(path)
    changed = () if accept_drift else drift(plan, replan(plan, home))
    if changed:
        lines = "\n".join(f"  {text}" for text in changed)
        raise DriftError(f"{path} was made for another world:\n{lines}", hint="plan again, or --accept-drift")
    return plan


def _planned(given: Given, home: State, *, show: bool) -> Plan:
    from gpuplan.flow.plan import make_plan  # noqa: PLC0415

    plan = make_plan(spec_from(given), home)
    if show:
        print_plan(plan)
    return plan


def _ask(*, as_json: bool) -> None:
    if as_json or not sys.stdin.isatty():
        why = "--json asks nothing" if as_json else "this is no terminal"
        raise UserError(f"nobody to ask: {why}", hint="add -y, or apply a plan file")
    click.confirm("Apply?", abort=True, err=True)


def _blocked(plan: Plan) -> str:
    errors = [finding for finding in plan.findings if finding.severity == "error"]
    return "the plan is blocked:\n" + "\n".join(f"  {error.place}: {error.message}" for error in errors)


def _tell(event: Event) -> None:
    if event.what in TOLD:
        click.echo(f"{event.run or 'gpuplan':<32} {event.what:<9} {event.text}", err=True)


def _closing(plan: Plan, applied: Applied, *, same: str, folder: Path) -> str:
    """How it ended, and the command that comes next; `same` is the one that goes on."""
    states = applied.conducted.states
    finished = sum(state == "finished" for state in states.values())
    lines = [f"{finished} of {len(states)} runs finished"]
    for name, state in states.items():
        if state != "finished":
            lines.append(f"  {name}: {applied.conducted.held.get(name, state)}")
    if applied.conducted.brake:
        lines.append(f"stopped starting runs: {applied.conducted.brake}")
    if applied.conducted.interrupted:
        lines.append(f"interrupted: {same} goes on from here")
    return "\n".join([*lines, f"next: {command_line('report', plan.experiment.name, state=folder)}"])


def _answer(plan: Plan, applied: Applied) -> dict[str, object]:
    return {
        "schema": "gpuplan.apply/1",
        "experiment": plan.experiment.name,
        "states": dict(applied.conducted.states),
        "skipped": list(applied.conducted.skipped),
        "held": applied.conducted.held,
        "brake": applied.conducted.brake,
        "interrupted": applied.conducted.interrupted,
        "learned": applied.learned,
        "exit_code": applied.exit_code,
    }
