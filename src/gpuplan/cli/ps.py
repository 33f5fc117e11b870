"""`gpuplan ps`: the runs and their states."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gpuplan.cli.options import json_option, state_option
from gpuplan.cli.output import command_line, console, emit_json

if TYPE_CHECKING:
    from pathlib import Path


@click.command("ps")
@click.argument("experiment", required=False)
@state_option
@json_option
def command(*, experiment: str | None, state: Path, as_json: bool) -> None:
    """The runs of EXPERIMENT, or of all: state, progress, duration, why they ended."""
    from gpuplan.flow.live import live_rows, live_table  # noqa: PLC0415
    from gpuplan.flow.state import State  # noqa: PLC0415
    from gpuplan.report.render import as_rich  # noqa: PLC0415

    rows = live_rows(State(state), experiment)
    if as_json:
        emit_json({"schema": "gpuplan.ps/1", "runs": [row.as_json() for row in rows]})
        return
    if not rows:
        click.echo(f"nothing was applied yet; next: {command_line('apply', 'SPEC', state=state)}")
        return
    out = console()
    out.print(as_rich(live_table(rows), width=out.width))
