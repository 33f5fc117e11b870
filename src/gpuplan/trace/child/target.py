"""Finds the user's function and makes a step of it. It runs their code and takes no part in it."""

from __future__ import annotations

import importlib
import inspect
import sys
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional

from .failures import RefusedError
from .sites import Line

if TYPE_CHECKING:
    from .request import Request

__all__ = ["find_function", "line_of", "make_step"]


def find_function(request: Request) -> Callable[[Dict[str, Any]], Any]:
    """Import the module from the working directory and take the function."""
    sys.path.insert(0, request.workdir)
    module = _import(request.module)
    function = module
    for name in request.function.split("."):
        if not hasattr(function, name):
            raise RefusedError("missing_function", "{} has no {!r}".format(_path_of(module), request.function))
        function = getattr(function, name)
    if not callable(function):
        raise RefusedError(
            "missing_function", "{!r} in {} is not a function".format(request.function, _path_of(module))
        )
    found: Callable[[Dict[str, Any]], Any] = function
    return found


def make_step(function: Callable[[Dict[str, Any]], Any], settings: Dict[str, Any]) -> Callable[[], Any]:
    """Call the user's function; raises RefusedError if it gives nothing that can be called."""
    step = function(settings)
    if not callable(step):
        kind = "nothing" if step is None else "a {}".format(type(step).__name__)
        raise RefusedError("no_step", "it returned {} instead of a function that does one training step".format(kind))
    made: Callable[[], Any] = step
    return made


def line_of(function: Any) -> Optional[Line]:
    """Where a function begins."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return Line(code.co_filename, code.co_firstlineno, code.co_name) if code is not None else None


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise RefusedError("missing_target", "there is no module {!r}".format(name)) from None
        raise


def _path_of(module: Any) -> str:
    return str(getattr(module, "__file__", None) or module.__name__)
