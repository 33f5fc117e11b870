"""`gpuplan offers`: what can be rented or had, for how much, how old the price is, and why not the rest."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpuplan.cli.options import json_option, state_option
from gpuplan.cli.output import console, emit_json, print_lines
from gpuplan.errors import UserError

if TYPE_CHECKING:
    from gpuplan.flow.offers import Asked

ROWS_SHOWN = 30


@click.command("offers")
@click.argument("path", metavar="[SPEC]", required=False)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key: compute.disk='50 GB'.")
@click.option("--gpu", "gpus", metavar="A,B", help="Which GPUs, by any of their names.")
@click.option("--spot/--no-spot", default=None, help="Only, or never, what may be taken away while it runs.")
@click.option("--max-price", metavar="USD", help="The most for one GPU and hour.")
@click.option("--why-not", is_flag=True, help="What was left out, and why.")
@click.option("--refresh", metavar="A,B", help="Ask vast, runpod, lambda or gpuhunt now, through the network.")
@click.option("--from", "table", type=click.Path(path_type=Path), help="A CSV table of your own offers.")
@click.option("--torch", "python", metavar="PYTHON", help="Only GPUs that this interpreter's torch was built for.")
@state_option
@json_option
def command(
    *,
    path: str | None,
    overrides: tuple[str, ...],
    gpus: str | None,
    spot: bool | None,
    max_price: str | None,
    why_not: bool,
    refresh: str | None,
    table: Path | None,
    python: str | None,
    state: Path,
    as_json: bool,
) -> None:
    """What one can have, the cheapest GPU-hour first; with SPEC, what its `compute:` wishes let through."""
    from gpuplan.flow.offers import Wanted, offers_now  # noqa: PLC0415
    from gpuplan.flow.state import State  # noqa: PLC0415
    from gpuplan.spec import load  # noqa: PLC0415

    if overrides and not path:
        hint = f"gpuplan offers SPEC --set {shlex.quote(overrides[0])}"
        raise UserError("--set changes a spec, and none is given", hint=hint)
    experiment = load(path, overrides).experiment if path else None
    wanted = Wanted(gpus=gpus, spot=spot, max_price=max_price, refresh=refresh, table=table, python=python)
    asked = offers_now(experiment, State(state), wanted)
    if as_json:
        emit_json(_json(asked))
        return
    _print(asked, why_not=why_not)


def _print(asked: Asked, *, why_not: bool) -> None:
    from gpuplan.report.offered import offers_table, refused_table, unstated_table  # noqa: PLC0415
    from gpuplan.report.render import as_rich  # noqa: PLC0415
    from gpuplan.report.table import limited  # noqa: PLC0415

    out, offered = console(), asked.offered
    tables = []
    if offered.offers:
        tables.append(offers_table(offered.offers, today=asked.today))
    else:
        out.print("nothing that is stated to be as wished")
    if offered.unstated:
        tables.append(unstated_table(offered.refused, today=asked.today))
    for table in tables:
        out.print(as_rich(limited(table, ROWS_SHOWN, rest="--json has them all"), width=out.width))
    if why_not:
        reasons = limited(refused_table(offered.refused), ROWS_SHOWN, rest="--json has them all")
        out.print(as_rich(reasons, width=out.width))
    for one in offered.refused:
        if one.kind == "source" and not why_not:
            print_lines(out, [f"! {one.offer}: {one.reason}"])
    if offered.refused and not why_not:
        out.print(f"{len(offered.refused):,} left out; --why-not says why")


def _json(asked: Asked) -> dict[str, object]:
    return {
        "schema": "gpuplan.offers/1",
        "today": asked.today,
        "wishes": asked.compute.model_dump(mode="json", exclude_none=True),
        "offers": [
            {**offer.model_dump(mode="json"), "age_days": offer.age_days(asked.today)} for offer in asked.offered.offers
        ],
        "refused": [one.model_dump(mode="json") for one in asked.offered.refused],
    }
