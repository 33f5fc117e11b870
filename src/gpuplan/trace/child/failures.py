"""Turns whatever stopped a trace into a place in the user's program and a sentence. It never lets a traceback out."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any, Dict, Optional

from .sites import Line, is_below
from .unknowable import DataDependentError

if TYPE_CHECKING:
    from types import TracebackType

    from .request import Request

__all__ = ["RefusedError", "describe_failure"]

LONGEST_TEXT = 600


class RefusedError(Exception):
    """The function cannot be traced, by our own judgement."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def describe_failure(error: BaseException, *, request: Request, stage: str, entry: Optional[Line]) -> Dict[str, Any]:
    """What happened, as JSON: kind, stage, place and the error's own words."""
    place = _place_of(error, request.workdir) or entry
    return {
        "kind": _kind_of(error),
        "stage": stage,
        "path": place.path if place else None,
        "line": place.line if place else None,
        "error": type(error).__name__,
        "text": str(error)[:LONGEST_TEXT],
        "detail": "".join(traceback.format_exception_only(type(error), error))[-LONGEST_TEXT:],
    }


def _kind_of(error: BaseException) -> str:
    if isinstance(error, RefusedError):
        return error.kind
    kinds = (
        (DataDependentError, "data_dependent"),
        (RecursionError, "recursion"),
        (MemoryError, "memory"),
        (SystemExit, "exit"),
        (SyntaxError, "syntax"),
        (ModuleNotFoundError, "missing_module"),
    )
    for kind, name in kinds:
        if isinstance(error, kind):
            return name
    return _kind_of_text(str(error))


def _kind_of_text(text: str) -> str:
    if "can't allocate memory" in text or "not enough memory" in text:
        return "memory"
    without_shape = (
        "no fake impl or Meta kernel",
        "Cannot copy out of meta tensor",
        "with Meta tensors",
        "on meta tensors",
    )
    if any(phrase in text for phrase in without_shape) or "data-dependent" in text:
        return "no_shape"
    return "raised"


def _place_of(error: BaseException, workdir: str) -> Optional[Line]:
    """The innermost line of the user's files that the error came through."""
    if isinstance(error, SyntaxError) and error.filename:
        return Line(error.filename, error.lineno or 1, "")
    found = None
    step: Optional[TracebackType] = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        if is_below(code.co_filename, workdir):
            found = Line(code.co_filename, step.tb_lineno, code.co_name)
        step = step.tb_next
    return found
