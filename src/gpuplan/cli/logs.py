"""`gpuplan logs`: a run's output, followed if asked."""

from __future__ import annotations

import time
from pathlib import Path

import click

from gpuplan.cli.options import state_option

FOLLOW_INTERVAL_S = 0.3


@click.command("logs")
@click.argument("run")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@click.option("-n", "--lines", type=click.IntRange(min=1), help="Only the last so many lines.")
@state_option
def command(*, run: str, follow: bool, lines: int | None, state: Path) -> None:
    """Print the log of RUN."""
    from gpuplan.flow.live import find_record, log_tail, read_from  # noqa: PLC0415
    from gpuplan.flow.state import State  # noqa: PLC0415

    home = State(state)
    record = find_record(home, run)
    path = Path(record.folder) / "log.txt"
    offset = log_tail(path, lines) if lines else 0
    while True:
        ended = find_record(home, run).ended_at is not None
        chunk = read_from(path, offset)
        offset += len(chunk)
        click.echo(chunk.decode("utf-8", errors="replace"), nl=False)
        if not chunk and (ended or not follow):
            return
        if not chunk:
            time.sleep(FOLLOW_INTERVAL_S)
