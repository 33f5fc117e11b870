"""`gpuplan show`: everything recorded of a run, and the schemas of what gpuplan reads and writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gpuplan.cli.options import json_option, state_option
from gpuplan.cli.output import console, emit_json
from gpuplan.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

SCHEMAS = ("spec", "plan", "run", "evidence")


@click.command("show")
@click.argument("run", required=False)
@click.option("--schema", type=click.Choice(SCHEMAS), help="The JSON Schema of a spec, a plan, a run or evidence.")
@state_option
@json_option
def command(*, run: str | None, schema: str | None, state: Path, as_json: bool) -> None:
    """Everything recorded of RUN: what exactly ran, how it ended, what was predicted and what was measured."""
    if schema is not None:
        from gpuplan.flow.schemas import schema_of  # noqa: PLC0415

        emit_json(schema_of(schema))
        return
    if run is None:
        raise UserError("which run?", hint="gpuplan ps lists them; gpuplan show --schema spec")
    from gpuplan.flow.live import find_record  # noqa: PLC0415
    from gpuplan.flow.state import State  # noqa: PLC0415

    record = find_record(State(state), run)
    if as_json:
        emit_json({"schema": "gpuplan.run/1", **record.model_dump(mode="json")})
        return
    from gpuplan.report.probed import record_table  # noqa: PLC0415
    from gpuplan.report.render import as_rich  # noqa: PLC0415

    out = console()
    out.print(as_rich(record_table(record), width=out.width))
