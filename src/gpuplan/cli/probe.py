"""`gpuplan probe`: measure this machine and the real command, briefly, so that plans rest on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gpuplan.cli.options import json_option, quiet_option, spec_from, spec_options, state_option
from gpuplan.cli.output import console, emit_json, say

if TYPE_CHECKING:
    from pathlib import Path

    from gpuplan.cli.options import Given


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
) -> None:
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
        return
    out = console()
    for table in probe_tables(found.gpu, found.evidence, found.refused):
        out.print(as_rich(table, width=out.width))
