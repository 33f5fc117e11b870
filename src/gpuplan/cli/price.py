"""`gpuplan price`: what would it cost, anywhere?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gpuplan.cli.drafts import drafts
from gpuplan.cli.market import market_options
from gpuplan.cli.options import json_option, quiet_option, spec_from, spec_options, state_option
from gpuplan.cli.output import console, emit_json, print_lines
from gpuplan.errors import EXIT_BLOCKED

if TYPE_CHECKING:
    from pathlib import Path

    from gpuplan.cli.market import Wished
    from gpuplan.cli.options import Given
    from gpuplan.flow.price import Prices

ROWS_SHOWN = 30


@click.command("price")
@spec_options
@market_options
@click.option("--bill", is_flag=True, help="The bill of the ticked option, line by line.")
@state_option
@json_option
@quiet_option
def command(given: Given, wished: Wished, *, bill: bool, state: Path, as_json: bool, quiet: bool) -> int:
    """Price SPEC over all places of the shipped snapshot: the ways to run it, and each GPU.

    Whatever `compute.on` says; with --on, at these places only. Nothing is asked of a network, and nothing is rented.
    """
    from gpuplan.flow.price import price  # noqa: PLC0415
    from gpuplan.flow.state import State  # noqa: PLC0415
    from gpuplan.world.asked import Asked  # noqa: PLC0415

    asked = Asked(table=wished.table, anywhere=wished.on is None, cautious=wished.cautious)
    with drafts(silent=quiet or as_json) as say_better:
        prices = price(spec_from(wished.applied_to(given)), State(state), asked, say_better=say_better)
    if as_json:
        emit_json(_json(prices))
    else:
        _print(prices, bill=bill)
    totals = prices.plan.totals
    is_priced = any(option.chosen for option in prices.plan.options) or totals.finished == totals.runs
    return 0 if is_priced else EXIT_BLOCKED


def _print(prices: Prices, *, bill: bool) -> None:
    from gpuplan.report import planned, priced  # noqa: PLC0415
    from gpuplan.report.render import as_rich  # noqa: PLC0415
    from gpuplan.report.table import limited  # noqa: PLC0415

    out, plan = console(), prices.plan
    out.print(planned.headline(plan))
    if plan.options:
        out.print(as_rich(priced.options_table(plan.options), width=out.width))
    bound = priced.bound_line(plan.options, prices_as_of=plan.prices_as_of)
    print_lines(out, (bound, *priced.catch_lines(plan.options), *priced.advice_lines(plan.advice)))
    if bill and plan.options:
        out.print(as_rich(priced.bill_table(plan.options[0]), width=out.width))
    table = limited(priced.gpus_table(prices.by_gpu), ROWS_SHOWN, rest="--json has them all")
    if table.rows:
        out.print(as_rich(table, width=out.width))
    print_lines(out, [f"- {text}" for text in planned.assumptions(plan)])
    print_lines(out, planned.finding_lines([one for one in plan.findings if priced.is_of_offers(one)]))


def _json(prices: Prices) -> dict[str, object]:
    plan = prices.plan
    return {
        "schema": "gpuplan.price/1",
        "experiment": plan.experiment.name,
        "prices_as_of": plan.prices_as_of,
        "options": [option.model_dump(mode="json") for option in plan.options],
        "advice": list(plan.advice),
        "by_gpu": [option.model_dump(mode="json") for option in prices.by_gpu],
        "assumptions": [assumption.model_dump(mode="json") for assumption in plan.assumptions],
        "findings": [one.model_dump(mode="json") for one in plan.findings],
    }
