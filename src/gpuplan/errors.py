"""Errors for the user: what happened, where, and what to do next. Anything else that escapes is a bug of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MAX_PROBLEMS", "DriftError", "GpuplanError", "MissingError", "Problem", "SpecError", "UserError"]

MAX_PROBLEMS = 50
MAX_MESSAGE = 400

EXIT_MACHINE = 1
EXIT_USAGE = 2
EXIT_BLOCKED = 3
EXIT_RUNS_FAILED = 4
EXIT_MISSING = 5
EXIT_NOT_MET = 6
EXIT_INTERRUPTED = 130


class GpuplanError(Exception):
    """Base of what the command line prints as `message` and `hint` and turns into an exit code, without a traceback."""

    exit_code = EXIT_MACHINE

    def __init__(self, message: str, *, hint: str | None = None, exit_code: int | None = None) -> None:
        self.message = _printable(message, keep="\n")
        super().__init__(self.message)
        self.hint = hint if hint is None else _printable(hint)
        if exit_code is not None:
            self.exit_code = exit_code


class UserError(GpuplanError):
    """A command or an input that cannot be used as it is."""

    exit_code = EXIT_USAGE


class DriftError(GpuplanError):
    """The world is no longer the one that a plan was made for."""

    exit_code = EXIT_BLOCKED


class MissingError(GpuplanError):
    """Something has to be installed first; the hint is the command."""

    exit_code = EXIT_MISSING


class Problem:
    """One mistake in a file: `path:line:column: message`, the line itself and what to do."""

    __slots__ = ("column", "hint", "line", "message", "path", "text")

    def __init__(
        self, message: str, *, path: str, line: int = 1, column: int = 1, text: str = "", hint: str | None = None
    ) -> None:
        self.message = _printable(message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]}...")
        self.path = path
        self.line = line
        self.column = column
        self.text = text
        self.hint = hint

    def __str__(self) -> str:
        shown = f"{self.path}:{self.line}:{self.column}: {self.message}"
        if self.text:
            shown += f"\n    {self.text}\n    {' ' * (self.column - 1)}^"
        return shown + (f"\n    {self.hint}" if self.hint else "")


class SpecError(UserError):
    """Every mistake found in a spec, at once, in the order of the file; the first `MAX_PROBLEMS` of very many."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line, problem.column))[:MAX_PROBLEMS])
        more = ["and more like these"] if len(problems) > MAX_PROBLEMS else []
        super().__init__("\n".join([*map(str, self.problems), *more]))


def _printable(text: str, *, keep: str = "") -> str:
    """The characters that a terminal would act on or could not show written as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)
