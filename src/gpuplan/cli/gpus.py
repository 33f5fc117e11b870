"""`gpuplan gpus`: this machine's devices, and the accelerators that gpuplan knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gpuplan.cli.options import json_option, state_option
from gpuplan.cli.output import console, emit_json

if TYPE_CHECKING:
    from pathlib import Path


@click.command("gpus")
@click.argument("name", required=False)
@click.option("--known", is_flag=True, help="All accelerators in gpuplan's data.")
@state_option
@json_option
def command(*, name: str | None, known: bool, state: Path, as_json: bool) -> None:
    """This machine's devices; or the facts on the accelerator NAME, by any of its usual names."""
    from gpuplan.flow.devices import facts, machine_now  # noqa: PLC0415
    from gpuplan.flow.state import State  # noqa: PLC0415
    from gpuplan.report.probed import device_table, gpu_table  # noqa: PLC0415
    from gpuplan.report.render import as_rich  # noqa: PLC0415

    if name or known:
        rows = facts(name)
        table = gpu_table(rows)
        answer: dict[str, object] = {"gpus": [row.model_dump(mode="json") for row in rows]}
    else:
        world = machine_now(State(state))
        table = device_table(world)
        answer = {
            "machine": world.machine.model_dump(mode="json"),
            "findings": [oddity.model_dump(mode="json") for oddity in world.oddities],
        }
    if as_json:
        emit_json({"schema": "gpuplan.gpus/1", **answer})
        return
    out = console()
    out.print(as_rich(table, width=out.width))
