"""`gpuplan fit`: will it fit, with which batch, on which GPU, how many on a card?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gpuplan.cli.options import json_option, spec_from, spec_options, state_option
from gpuplan.cli.output import console, emit_json, print_lines

if TYPE_CHECKING:
    from pathlib import Path

    from gpuplan.cli.options import Given


@click.command("fit")
@spec_options
@click.option("--run", "name", help="Which run; default: the first.")
@click.option("--gpus", metavar="A,B", help="Which GPUs; default: compute.gpus, else a ladder from 8 to 180 GB.")
@click.option("--batches", metavar="A,B", help="Which micro-batches; default: its own, and 1 to 128 by doubling.")
@click.option("--remedies/--no-remedies", default=True, help="What to do where it does not fit; default: shown.")
@state_option
@json_option
def command(
    given: Given, *, name: str | None, gpus: str | None, batches: str | None, remedies: bool, state: Path, as_json: bool
) -> None:
    """GPUs x micro-batches for one run of SPEC: memory, what fits, the largest batch, runs on a card, and remedies."""
    from gpuplan.flow.fit import fit_run  # noqa: PLC0415
    from gpuplan.flow.state import State  # noqa: PLC0415
    from gpuplan.report.fitted import because_lines, fit_table, ladder_json, remedies_table  # noqa: PLC0415
    from gpuplan.report.render import as_rich  # noqa: PLC0415

    found = fit_run(spec_from(given), State(state), name=name, gpus=gpus, batches=batches, remedies=remedies)
    if as_json:
        emit_json(
            {
                "schema": "gpuplan.fit/1",
                "run": found.run.name,
                "copies": found.run.copies,
                "own_batch": found.own_batch,
                "batches": list(found.batches),
                "gpus": [
                    {
                        "gpu": one.gpu.name,
                        "largest_batch": one.largest_batch,
                        "runs_on_a_card": one.copies,
                        "own": one.own.model_dump(mode="json"),
                        "memory": [memory.model_dump(mode="json") for memory in one.at_batches],
                        "remedies": ladder_json(one.ladder) if one.ladder else None,
                    }
                    for one in found.fits
                ],
            }
        )
        return
    out = console()
    table = fit_table(found.run, found.fits, found.batches, own_batch=found.own_batch)
    out.print(as_rich(table, width=out.width))
    print_lines(out, because_lines(found.fits))
    for one in found.fits:
        if one.ladder is not None and one.own.fits == "NO FIT":
            out.print()
            out.print(as_rich(remedies_table(found.run, one.ladder), width=out.width))
