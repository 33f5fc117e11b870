"""Plans on the way to a better one, on stderr: a line that changes on a terminal, a line each elsewhere."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from gpuplan.cli.output import console, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gpuplan.place.shown import Draft

__all__ = ["drafts"]


@contextlib.contextmanager
def drafts(*, silent: bool) -> Iterator[Callable[[Draft], None]]:
    """What is to be told of each plan, while the search goes on; on a terminal nothing of it stays."""
    if silent:
        yield lambda _draft: None
    elif sys.stderr.isatty():
        with _changing_line() as tell:
            yield tell
    else:
        yield _lines()


@contextlib.contextmanager
def _changing_line() -> Iterator[Callable[[Draft], None]]:
    from rich.text import Text  # noqa: PLC0415  50 ms that a pipe does not pay

    from gpuplan.report.priced import draft_line  # noqa: PLC0415

    with console(stderr=True).status("planning") as status:
        yield lambda draft: status.update(Text(draft_line(draft)))


def _lines() -> Callable[[Draft], None]:
    from gpuplan.report.priced import draft_line  # noqa: PLC0415

    said: list[str] = []

    def tell(draft: Draft) -> None:
        """Each line once: plans may differ in what is not shown."""
        line = draft_line(draft)
        if line not in said:
            said.append(line)
            say(line)

    return tell
