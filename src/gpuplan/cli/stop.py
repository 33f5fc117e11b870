"""`gpuplan stop`: ask runs to checkpoint and end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gpuplan.cli.options import json_option, state_option
from gpuplan.cli.output import emit_json
from gpuplan.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path


@click.command("stop")
@click.argument("runs", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that run.")
@click.option("--now", is_flag=True, help="Kill instead of asking.")
@state_option
@json_option
def command(*, runs: tuple[str, ...], everything: bool, now: bool, state: Path, as_json: bool) -> None:
    """Ask RUNS to checkpoint and end; they are killed after the spec's grace."""
    from gpuplan.flow.live import stop_runs  # noqa: PLC0415
    from gpuplan.flow.state import State  # noqa: PLC0415

    if not runs and not everything:
        raise UserError("which runs?", hint="gpuplan stop NAME..., or --all")
    stopped = stop_runs(State(state), None if everything else runs, now=now)
    if as_json:
        emit_json({"schema": "gpuplan.stop/1", "stopped": list(stopped)})
    else:
        click.echo(f"asked to stop: {', '.join(stopped)}" if stopped else "nothing was running")
