"""`gpuplan diff`: what differs between two plan files."""

from __future__ import annotations

from pathlib import Path

import click

from gpuplan.cli.options import json_option
from gpuplan.cli.output import console, emit_json, print_lines

ROWS_SHOWN = 40


@click.command("diff")
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@json_option
def command(*, before: Path, after: Path, as_json: bool) -> None:
    """What differs between the plan files BEFORE and AFTER: spec, runs, estimates, prices, places, findings."""
    from gpuplan.flow.diff import diff_files  # noqa: PLC0415
    from gpuplan.report import compared  # noqa: PLC0415
    from gpuplan.report.render import as_rich  # noqa: PLC0415
    from gpuplan.report.table import limited  # noqa: PLC0415

    found = diff_files(before, after)
    names = {"before": str(before), "after": str(after)}
    if as_json:
        emit_json(compared.difference_json(found, **names))
        return
    out = console()
    print_lines(out, [compared.headline(found, **names)])
    for table in (compared.differences_table(found), compared.moves_table(found)):
        if table.rows:
            out.print(as_rich(limited(table, ROWS_SHOWN, rest="--json has them all"), width=out.width))
    print_lines(out, compared.lines(found))
