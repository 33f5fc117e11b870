"""`gpuplan probe`: measure this machine and the real command, briefly, so that plans rest on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gpuplan.cli.options import json_option, quiet_option, spec_from, spec_options, state_option
from gpuplan.cli.output import command_line, console, emit_json, print_lines, say
from gpuplan.errors import EXIT_RUNS_FAILED

if TYPE_CHECKING:
    from pathlib import Path

    from gpuplan.cli.options import Given
    from gpuplan.flow.probe import Probed


@click.command("probe")
@spec_options
@click.option(
    "--seconds",
    "seconds_s",
    type=click.FloatRange(1, 600),
    default=4.0,
    show_default=True,
    help="Training time to measure of each command.",
)
@click.option("--most", type=click.IntRange(1, 100), default=4, show_default=True, help="Commands to measure at most.")
@click.option("--all-ranks", "with_ranks", is_flag=True, help="Measure runs of several ranks too.")
@state_option
@json_option
@quiet_option
def command(
    given: Given, *, seconds_s: float, most: int, with_ranks: bool, state: Path, as_json: bool, quiet: bool
) -> int:
    """Measure this machine's rates, then each kind of run in SPEC for some seconds; plans use it from then on."""
    from gpuplan.flow.probe import probe  # noqa: PLC0415
    from gpuplan.flow.state import State  # noqa: PLC0415
    from gpuplan.report.probed import probe_tables  # noqa: PLC0415
    from gpuplan.report.render import as_rich  # noqa: PLC0415

    found = probe(
        spec_from(given), State(state), seconds_s=seconds_s, most=most, with_ranks=with_ranks,
        say=lambda text: say(text, quiet=quiet),
    )  # fmt: skip
    if as_json:
        emit_json(
            {
                "schema": "gpuplan.probe/1",
                "device": found.gpu.model_dump(mode="json"),
                "evidence": [fact.model_dump(mode="json") for fact in found.evidence],
                "refused": list(found.refused),
            }
        )
    else:
        out = console()
        for table in probe_tables(found.gpu, found.evidence):
            out.print(as_rich(table, width=out.width))
        print_lines(out, [f"! {text}" for text in found.refused])
        click.echo(_next_step(given, found, state=state))
    return 0 if found.evidence or not found.refused else EXIT_RUNS_FAILED


def _next_step(given: Given, found: Probed, *, state: Path) -> str:
    verb = "check" if found.refused and not found.evidence else "plan"
    if given.command or given.path == "-":
        return f"next: gpuplan {verb}, on the same spec"
    changes = [word for change in given.overrides for word in ("--set", change)]
    return f"next: {command_line(verb, *([given.path] if given.path else []), *changes, state=state)}"
