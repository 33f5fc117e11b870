"""How answers reach people and programs: tables through Rich, JSON never; answers on stdout, the rest on stderr."""

from __future__ import annotations

import json
import os
import shlex
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel
    from rich.console import Console

__all__ = ["DEFAULT_STATE", "command_line", "console", "emit_json", "print_lines", "say"]

DEFAULT_STATE = Path(".gpuplan")

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


def command_line(verb: str, *words: str, state: Path) -> str:
    """`gpuplan verb words` as a shell takes it: quoted, and with the state folder where it is not the usual one."""
    folder = () if state == DEFAULT_STATE else ("--state", str(state))
    return shlex.join(["gpuplan", verb, *folder, *words])


def print_lines(out: Console, lines: Iterable[str]) -> None:
    """Each line; where it is wider than the screen it goes on below, two further in, broken between words only.

    What could move a cursor is spelled out: names and paths of a spec or a log may hold anything.
    """
    from gpuplan.report.table import clean  # noqa: PLC0415  pydantic, that --help does not pay

    for line in (clean(part) for text in lines for part in text.split("\n")):
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        for part in textwrap.wrap(
            line, out.width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False,
            replace_whitespace=False,
        ):  # fmt: skip
            out.print(part, soft_wrap=True)
