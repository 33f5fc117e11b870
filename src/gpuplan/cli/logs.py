"""`gpuplan logs`: a run's output, followed if asked."""

from __future__ import annotations

import codecs
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpuplan.cli.options import state_option
from gpuplan.cli.output import say
from gpuplan.errors import EXIT_MACHINE, UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuplan.model import RunRecord

FOLLOW_INTERVAL_S = 0.3
KEPT = re.compile(r"([\n\r\t])")
"""What a terminal may act on: it moves within its line, and a progress bar needs it."""


@click.command("logs")
@click.argument("run")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@click.option("-n", "--lines", type=click.IntRange(min=1), help="Only the last so many lines; a progress bar is one.")
@state_option
def command(*, run: str, follow: bool, lines: int | None, state: Path) -> None:
    """Print the log of RUN.

    Into a pipe or a file it goes as it is. On a terminal, what would command the terminal is spelled out.
    """
    from gpuplan.flow.live import find_record, log_tail, read_from  # noqa: PLC0415
    from gpuplan.flow.state import State  # noqa: PLC0415

    home = State(state)
    path = Path(find_record(home, run).folder) / "log.txt"
    offset = log_tail(path, lines) if lines else 0
    shown = _for_a_terminal() if sys.stdout.isatty() else lambda chunk, **_: chunk
    while True:
        record = find_record(home, run)
        chunk = read_from(path, offset)
        offset += len(chunk)
        if chunk:
            click.echo(shown(chunk), nl=False)
        elif record.ended_at is not None or not follow:
            break
        else:
            time.sleep(FOLLOW_INTERVAL_S)
    click.echo(shown(b"", final=True), nl=False)
    if not offset:
        _say_why_nothing(record, path)


def _for_a_terminal() -> Callable[..., str | bytes]:
    """Turns bytes into text that moves nothing but the place within a line; a character may come in two pieces."""
    from gpuplan.report.table import clean  # noqa: PLC0415  pydantic, that a pipe does not pay

    decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def shown(chunk: bytes, *, final: bool = False) -> str:
        text = decoder.decode(chunk, final=final)
        return "".join(part if part.isprintable() or KEPT.fullmatch(part) else clean(part) for part in KEPT.split(text))

    return shown


def _say_why_nothing(record: RunRecord, path: Path) -> None:
    """Say that the run has written nothing, or raise UserError where it has ended and its log is gone."""
    if record.ended_at is not None and not path.exists():
        hint = f"gpuplan show {record.run.name} says what is recorded of it"
        raise UserError(f"{record.run.name} has no log: {path} is not there", hint=hint, exit_code=EXIT_MACHINE)
    say(f"{record.run.name} is {record.state} and has written nothing{' yet' if record.ended_at is None else ''}")
