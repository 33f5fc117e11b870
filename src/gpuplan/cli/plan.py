"""`gpuplan plan`: what a sweep will take. Reads only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpuplan.cli.drafts import drafts
from gpuplan.cli.market import market_options
from gpuplan.cli.options import json_option, quiet_option, spec_from, spec_options, state_option
from gpuplan.cli.output import command_line, console, emit_json, print_lines, say
from gpuplan.errors import EXIT_BLOCKED

if TYPE_CHECKING:
    from gpuplan.cli.market import Wished
    from gpuplan.cli.options import Given
    from gpuplan.model import Plan

ROWS_SHOWN = 30
MEND = "next: mend what is marked x, then plan again"


@click.command("plan")
@spec_options
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the plan file here.")
@click.option("--schedule", is_flag=True, help="Show every placement.")
@market_options
@state_option
@json_option
@quiet_option
def command(
    given: Given, wished: Wished, *, output: Path | None, schedule: bool, state: Path, as_json: bool, quiet: bool
) -> int:
    """Plan SPEC (experiment.yaml): memory, time and place of every run, and what is wrong. Changes nothing.

    With more than `local` in `compute.on`, or a table of offers: the ways to run it, with cost, time and catch.
    """
    from gpuplan.flow.plan import make_plan  # noqa: PLC0415
    from gpuplan.flow.state import State, make_plan_file  # noqa: PLC0415
    from gpuplan.world.asked import Asked  # noqa: PLC0415

    asked = Asked(table=wished.table, cautious=wished.cautious)
    with drafts(silent=quiet or as_json) as say_better:
        plan = make_plan(spec_from(wished.applied_to(given)), State(state), asked=asked, say_better=say_better)
    if output is not None:
        make_plan_file(output, plan)
        output.write_text(plan.model_dump_json(indent=2, by_alias=True) + "\n", "utf-8")
        say(f"wrote {output}", quiet=quiet)
    if as_json:
        emit_json(plan)
    else:
        print_plan(plan, schedule=schedule)
        click.echo(next_step(plan, output, state=state))
    return EXIT_BLOCKED if is_blocked(plan) else 0


def is_blocked(plan: Plan) -> bool:
    """Whether a finding forbids to apply it."""
    return any(finding.severity == "error" for finding in plan.findings)


def print_plan(plan: Plan, *, schedule: bool = False) -> None:
    """The plan for people: count, options, table, totals, assumptions, findings."""
    from gpuplan.report import planned  # noqa: PLC0415
    from gpuplan.report.priced import advice_lines, bound_line, catch_lines, options_table  # noqa: PLC0415
    from gpuplan.report.render import as_rich  # noqa: PLC0415
    from gpuplan.report.table import limited  # noqa: PLC0415

    out = console()
    out.print(planned.headline(plan))
    if plan.options:
        out.print(as_rich(options_table(plan.options), width=out.width))
        bound = bound_line(plan.options, prices_as_of=plan.prices_as_of)
        print_lines(out, (bound, *catch_lines(plan.options), *advice_lines(plan.advice)))
    table = limited(planned.plan_table(plan), ROWS_SHOWN, rest="--json has them all")
    out.print(as_rich(table, width=out.width))
    if schedule:
        out.print(as_rich(planned.schedule_table(plan), width=out.width))
    print_lines(out, [planned.totals_line(plan), *(f"- {text}" for text in planned.assumptions(plan))])
    print_lines(out, planned.finding_lines(plan.findings))


def next_step(plan: Plan, output: Path | None, *, state: Path) -> str:
    """The command that comes next, as a shell takes it."""
    from gpuplan.flow.plan import machines_elsewhere  # noqa: PLC0415

    if is_blocked(plan):
        return MEND
    if machines_elsewhere(plan):
        return "next: rent the machines of the ticked option; `gpuplan apply` runs on this machine only"
    if plan.totals.finished == plan.totals.runs:
        return f"next: {command_line('report', plan.experiment.name, state=state)}"
    if output is not None:
        return f"next: {command_line('apply', str(output), state=state)}"
    same = again(plan, "apply", state=state)
    if same is None or plan.cautious or plan.offers_table:
        return f"next: plan it again with `-o plan.json`, then {command_line('apply', 'plan.json', state=state)}"
    return f"next: {same}"


def again(plan: Plan, verb: str, *, state: Path) -> str | None:
    """The command line of `verb` on the same spec; None where the spec is no file."""
    if not Path(plan.spec_path).is_file():
        return None
    changes = [word for change in plan.overrides for word in ("--set", change)]
    return command_line(verb, plan.spec_path, *changes, state=state)
