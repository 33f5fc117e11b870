"""How answers reach people and programs: tables through Rich, JSON never; answers on stdout, the rest on stderr."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console

__all__ = ["console", "emit_json", "say"]

NARROW_COLUMNS = 100
"""Width for a pipe or a file, where nobody tells it."""


def emit_json(answer: BaseModel | dict[str, Any]) -> None:
    """Exactly one JSON document on stdout, keys in the order of the noun."""
    if isinstance(answer, dict):
        text = json.dumps(answer, indent=2, allow_nan=False)
    else:
        text = answer.model_dump_json(indent=2, by_alias=True)
    sys.stdout.write(text + "\n")


def console(*, stderr: bool = False) -> Console:
    """A Rich console: colour on a terminal only, NO_COLOR and FORCE_COLOR honoured, no markup in what users named."""
    from rich.console import Console  # noqa: PLC0415  50 ms that JSON and --help do not pay

    stream = sys.stderr if stderr else sys.stdout
    plain = os.environ.get("TERM") == "dumb" or None
    width = None if stream.isatty() or "COLUMNS" in os.environ else NARROW_COLUMNS
    return Console(
        file=stream, markup=False, highlight=False, emoji=False, no_color=plain, width=width, soft_wrap=False
    )


def say(text: str, *, quiet: bool = False) -> None:
    """Progress and warnings, for people."""
    if not quiet:
        click.echo(text, err=True)
