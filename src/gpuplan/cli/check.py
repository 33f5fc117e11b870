"""`gpuplan check`: is the spec sound, how many runs, how are they called?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gpuplan.cli.options import json_option, spec_from, spec_options, state_option
from gpuplan.cli.output import console, emit_json, print_lines
from gpuplan.cli.plan import MEND, again, is_blocked
from gpuplan.errors import EXIT_BLOCKED

if TYPE_CHECKING:
    from pathlib import Path

    from gpuplan.cli.options import Given
    from gpuplan.model import Plan

NAMES_SHOWN = 12


@click.command("check")
@spec_options
@state_option
@json_option
def command(given: Given, *, state: Path, as_json: bool) -> int:
    """Check SPEC (experiment.yaml): the count, a preview of the names, and every finding. Changes nothing."""
    from gpuplan.flow.plan import make_plan  # noqa: PLC0415
    from gpuplan.flow.state import State  # noqa: PLC0415

    plan = make_plan(spec_from(given), State(state))
    if as_json:
        emit_json(
            {
                "schema": "gpuplan.check/1",
                "experiment": plan.experiment.name,
                "runs": [run.name for run in plan.runs],
                "findings": [finding.model_dump(mode="json") for finding in plan.findings],
            }
        )
    else:
        _print(plan)
        click.echo(next_step(plan, state=state))
    return EXIT_BLOCKED if is_blocked(plan) else 0


def _print(plan: Plan) -> None:
    from gpuplan.report import planned  # noqa: PLC0415

    out = console()
    out.print(planned.headline(plan))
    names = [run.name for run in plan.runs]
    more = f" ... and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
    print_lines(out, [f"names: {', '.join(names[:NAMES_SHOWN])}{more}", *planned.finding_lines(plan.findings)])
    errors = sum(finding.severity == "error" for finding in plan.findings)
    warnings = sum(finding.severity == "warning" for finding in plan.findings)
    out.print(f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}")


def next_step(plan: Plan, *, state: Path) -> str:
    """The command that comes next, as a shell takes it."""
    return MEND if is_blocked(plan) else f"next: {again(plan, 'plan', state=state) or 'gpuplan plan, on the same spec'}"
