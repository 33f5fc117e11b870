"""`gpuplan trace`: what one training step of your own code holds, without a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gpuplan.cli.options import json_option, quiet_option, spec_from, spec_options, state_option
from gpuplan.cli.output import console, emit_json, print_lines, say
from gpuplan.errors import UserError
from gpuplan.units import parse_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from gpuplan.cli.options import Given


@click.command("trace")
@spec_options
@click.option("--device", type=click.Choice(["gpu", "cpu"]), help="As on this kind; default: what the spec plans on.")
@click.option("--most", type=click.IntRange(1, 100), default=4, show_default=True, help="Kinds of run at most.")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(5, 3600), default=120.0, show_default=True, help="Seconds."
)
@click.option(
    "--memory",
    metavar="SIZE",
    help="Also find the largest micro-batch in so much, as 22 GiB (a card less its context).",
)
@state_option
@json_option
@quiet_option
def command(
    given: Given,
    *,
    device: str | None,
    most: int,
    timeout_s: float,
    memory: str | None,
    state: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Trace the step that `footprint.trace` of SPEC names, on fake tensors: peak memory at every batch, and why.

    Your code runs in your own environment, in a child process with limits, without weights, data or a GPU; a run of
    several `ranks` as its first rank, without a network. Plans use what was traced for as long as the files it was
    traced from do not change.
    """
    from gpuplan.flow import traced as tables  # noqa: PLC0415
    from gpuplan.flow.state import State  # noqa: PLC0415
    from gpuplan.flow.trace import trace_runs  # noqa: PLC0415
    from gpuplan.report.render import as_rich  # noqa: PLC0415

    found = trace_runs(
        spec_from(given), State(state), most=most, kind=device, timeout_s=timeout_s, room_bytes=_bytes(memory),
        say=lambda text: say(text, quiet=quiet),
    )  # fmt: skip
    if as_json:
        emit_json({"schema": "gpuplan.trace/1", "traces": [tables.as_json(one) for one in found]})
        return
    out = console()
    for alike in tables.alike(found):
        one, more = alike[0], f" +{len(alike) - 1}" if len(alike) > 1 else ""
        headline = tables.headline(one.traced, tables.memory_of(one.traced, one.micro_batch))
        print_lines(out, [f"{one.run.name}{more}: {headline}"])
        out.print(as_rich(tables.peak_table(one.traced, one.micro_batch), width=out.width))
        out.print(as_rich(tables.behind_table(one.traced, one.micro_batch), width=out.width))
        if one.largest is not None:
            print_lines(out, [tables.largest_line(one.largest)])


def _bytes(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise UserError(f"--memory {error}", hint="--memory 22GiB") from None
