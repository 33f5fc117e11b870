"""`gpuplan watch`: a live table of the runs, with progress bars and what is left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from gpuplan.cli.options import state_option
from gpuplan.cli.output import console

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from gpuplan.flow.live import LiveRow
    from gpuplan.flow.state import State

BAR_WIDTH = 16


@click.command("watch")
@click.argument("experiment", required=False)
@click.option("--every", "every_s", type=click.FloatRange(0.2, 3600), default=1.0, show_default=True, help="Seconds.")
@state_option
def command(*, experiment: str | None, every_s: float, state: Path) -> None:
    """Watch the runs of EXPERIMENT, or of all, until none runs any more. Ctrl-C leaves; the runs go on."""
    from rich.live import Live  # noqa: PLC0415

    from gpuplan.flow.live import live_rows  # noqa: PLC0415
    from gpuplan.flow.state import State  # noqa: PLC0415

    home = State(state)
    out = console()
    if not out.is_terminal:
        _print_once_a_change(home, experiment, every_s)
        return
    with Live(console=out, auto_refresh=False, transient=False) as live:
        while True:
            rows = live_rows(home, experiment)
            live.update(_screen(rows, out.width), refresh=True)
            if not any(row.is_open for row in rows):
                return
            time.sleep(every_s)


def _screen(rows: Sequence[LiveRow], width: int) -> RenderableType:
    from rich.console import Group  # noqa: PLC0415
    from rich.progress_bar import ProgressBar  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from gpuplan.flow.live import shown_left, summary_line  # noqa: PLC0415
    from gpuplan.report.table import show  # noqa: PLC0415

    grid = Table(box=None, pad_edge=False)
    for title in ("Run", "State", "", "Step", "Time", "Left", "Memory", "Why"):
        grid.add_column(title, no_wrap=True, overflow="ellipsis", max_width=max(12, width // 4))
    for row in rows:
        bar = ProgressBar(total=1.0, completed=row.progress or 0.0, width=BAR_WIDTH)
        step = f"{row.step or 0:,}/{row.steps:,}" if row.steps else show(row.step, "count")
        texts = (
            show(row.elapsed_s, "duration"),
            show(row.left_s, "duration"),
            show(row.host_bytes, "bytes"),
            row.because,
        )
        grid.add_row(Text(row.run), Text(row.state), bar, Text(step), *(Text(text) for text in texts))
    return Group(grid, Text(f"{summary_line(rows)}; longest left: {shown_left(rows)}"))


def _print_once_a_change(home: State, experiment: str | None, every_s: float) -> None:
    """Off a terminal: a line whenever the sum changes."""
    from gpuplan.flow.live import live_rows, summary_line  # noqa: PLC0415

    last = ""
    while True:
        rows = live_rows(home, experiment)
        if (line := summary_line(rows)) != last:
            click.echo(line)
            last = line
        if not any(row.is_open for row in rows):
            return
        time.sleep(every_s)
