"""`gpuplan report`: results, predicted against measured, expectations; printed and written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpuplan.cli.options import json_option, state_option
from gpuplan.cli.output import console, emit_json, print_lines
from gpuplan.errors import EXIT_NOT_MET, UserError

if TYPE_CHECKING:
    from gpuplan.report import Report
    from gpuplan.report.table import Table

ROWS_SHOWN = 40
SHORT_PROVENANCE = frozenset({"commit", "interpreter", "machine", "python", "torch", "gpuplan"})
SYMBOLS = {"pass": "ok  ", "fail": "FAIL", "unknown": "?   "}


@click.command("report")
@click.argument("experiment", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="Folder to write to.")
@click.option("--table", "name", metavar="NAME", help="Only this table: results, runs, predictions, scaling, ...")
@click.option("--format", "kind", type=click.Choice(["table", "md", "csv", "latex"]), default="table")
@click.option("--check", is_flag=True, help="End with 6 unless every expectation is met.")
@click.option("--no-write", is_flag=True, help="Print only.")
@state_option
@json_option
def command(
    *,
    experiment: str | None,
    output: Path | None,
    name: str | None,
    kind: str,
    check: bool,
    no_write: bool,
    state: Path,
    as_json: bool,
) -> int:
    """Report on EXPERIMENT, or on what was applied last, and write it as Markdown, HTML, CSV and figures."""
    from gpuplan.flow.review import review  # noqa: PLC0415
    from gpuplan.flow.state import State  # noqa: PLC0415
    from gpuplan.report import as_json as report_json  # noqa: PLC0415
    from gpuplan.report import write  # noqa: PLC0415

    home = State(state)
    report = review(home, experiment)
    if as_json:
        emit_json(report_json(report))
    elif name is not None:
        _print_table(_table(report, name), kind)
    else:
        _print(report)
    if not no_write and name is None:
        paths = write(report, output or home.report_folder(report.experiment))
        if not as_json:
            click.echo(f"wrote {', '.join(str(path) for path in paths if path.suffix in {'.md', '.html', '.csv'})}")
    met = all(line.status == "pass" for line in report.checks)
    return 0 if met or not check else EXIT_NOT_MET


def _table(report: Report, name: str) -> Table:
    if name not in report.data:
        raise UserError(f"no table {name!r}", hint=f"there are: {', '.join(report.data)}")
    return report.data[name]


def _print_table(table: Table, kind: str) -> None:
    from gpuplan.report import render  # noqa: PLC0415

    if kind == "table":
        out = console()
        out.print(render.as_rich(table, width=out.width))
        return
    renderer = {"md": render.as_markdown, "csv": render.as_csv, "latex": render.as_latex}[kind]
    click.echo(renderer(table), nl=False)


def _print(report: Report) -> None:
    from gpuplan.report.render import as_rich  # noqa: PLC0415
    from gpuplan.report.table import limited  # noqa: PLC0415

    out = console()
    print_lines(out, report.summary)
    if report.checks:
        out.print("\nExpected")
        print_lines(out, [f"{SYMBOLS[line.status]} {line.text}: {line.because}" for line in report.checks])
    for section in report.sections:
        tables = [table for table in section.tables if table.rows]
        for text in section.text if tables else ():
            out.print(f"\n{text}")
        for table in tables:
            shown = _shortened(table) if section.key == "provenance" else table
            out.print(as_rich(limited(shown, ROWS_SHOWN, rest="the report has them all"), width=out.width))


def _shortened(table: Table) -> Table:
    """Of what exactly ran, what most questions are about; the files have every package."""
    kept = tuple(row for row in table.rows if row[0] in SHORT_PROVENANCE)
    return replace(table, rows=kept, notes=(*table.notes, "report.md has the versions of all packages."))
