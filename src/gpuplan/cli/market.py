"""Options on where to run and what that may cost, as short names of `--set` on keys of the spec."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from gpuplan.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuplan.cli.options import Given

__all__ = ["Wished", "market_options"]


class Wished(NamedTuple):
    """What the command line says about offers and limits."""

    on: str | None
    gpu: str | None
    budget: str | None
    deadline: str | None
    cautious: bool
    table: Path | None

    def applied_to(self, given: Given) -> Given:
        """The same spec with these wishes in place of its own."""
        settings = []
        if self.on is not None:
            settings.append(f"compute.on={_listed(self.on, '--on')}")
        if self.gpu is not None:
            settings.append(f"compute.gpus={_listed(self.gpu, '--gpu')}")
        if self.budget is not None:
            settings.append(f"limits.budget={json.dumps(_dollars(self.budget))}")
        if self.deadline is not None:
            settings.append(f"limits.deadline={json.dumps(self.deadline)}")
        return given._replace(overrides=(*given.overrides, *settings))


def market_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --on, --gpu, --budget, --deadline, --cautious and --offers; the function gets them as `wished`."""

    @functools.wraps(function)
    def with_wished(**options: Any) -> Any:
        wished = Wished(**{name: options.pop(name) for name in Wished._fields})
        return function(wished=wished, **options)

    for decorate in (
        click.option(
            "--offers", "table", type=click.Path(path_type=Path, dir_okay=False), help="A CSV table of your own offers."
        ),
        click.option("--cautious", is_flag=True, help="Plan with p90 durations, not with medians."),
        click.option("--deadline", metavar="TIME", help="As limits.deadline: 5 days."),
        click.option("--budget", metavar="USD", help="As limits.budget: 50."),
        click.option("--gpu", metavar="A,B", help="As compute.gpus: 'RTX 4090,A100 80GB'."),
        click.option("--on", metavar="A,B", help="As compute.on: local,vast,runpod."),
    ):
        with_wished = decorate(with_wished)
    return with_wished


def _listed(text: str, option: str) -> str:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UserError(f"{option} names nothing", hint=f"{option} A,B")
    return json.dumps(names)


def _dollars(text: str) -> str:
    """A bare number is in dollars: nothing else is asked for here."""
    return f"{text} USD" if text.replace(".", "", 1).isdigit() else text
