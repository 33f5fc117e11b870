"""`gpuplan plan`: what a sweep will take. Reads only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpuplan.cli.drafts import drafts
from gpuplan.cli.market import market_options
from gpuplan.cli.options import json_option, quiet_option, spec_from, spec_options, state_option
from gpuplan.cli.output import console, emit_json, say
from gpuplan.errors import EXIT_BLOCKED

if TYPE_CHECKING:
    from gpuplan.cli.market import Wished
    from gpuplan.cli.options import Given
    from gpuplan.model import Plan

ROWS_SHOWN = 30


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
    from gpuplan.flow.state import State  # noqa: PLC0415
    from gpuplan.world.asked import Asked  # noqa: PLC0415

    asked = Asked(table=wished.table, cautious=wished.cautious)
    with drafts(silent=quiet or as_json) as say_better:
        plan = make_plan(spec_from(wished.applied_to(given)), State(state), asked=asked, say_better=say_better)
    if output is not None:
        output.write_text(plan.model_dump_json(indent=2, by_alias=True) + "\n", "utf-8")
        say(f"wrote {output}", quiet=quiet)
    if as_json:
        emit_json(plan)
    else:
        print_plan(plan, schedule=schedule)
        click.echo(next_step(plan, output))
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
        for line in (bound, *catch_lines(plan.options), *advice_lines(plan.advice)):
            out.print(line)
    table = limited(planned.plan_table(plan), ROWS_SHOWN, rest="--json has them all")
    out.print(as_rich(table, width=out.width))
    if schedule:
        out.print(as_rich(planned.schedule_table(plan), width=out.width))
    out.print(planned.totals_line(plan))
    for text in planned.assumptions(plan):
        out.print(f"- {text}")
    for line in planned.finding_lines(plan.findings):
        out.print(line)


def next_step(plan: Plan, output: Path | None) -> str:
    """The command that comes next."""
    from gpuplan.flow.plan import machines_elsewhere  # noqa: PLC0415

    if is_blocked(plan):
        return "next: mend what is marked x, then plan again"
    if machines_elsewhere(plan):
        return "next: rent the machines of the ticked option; `gpuplan apply` runs on this machine only"
    return f"next: gpuplan apply {output or plan.spec_path}"
