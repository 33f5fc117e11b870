"""Finds the line of the user's program behind an operator, in the backward pass too. It never reads source files."""

# ruff: noqa: SLF001  what PyTorch does with a tensor is decided below its public functions
from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional, Tuple

import torch

if TYPE_CHECKING:
    from types import CodeType, FrameType

__all__ = ["Line", "Site", "Sites", "is_below"]

TORCH = os.path.dirname(os.path.abspath(torch.__file__))
OWN = os.path.dirname(os.path.abspath(__file__))
PACKAGES = (os.sep + "site-packages" + os.sep, os.sep + "dist-packages" + os.sep)
FRAMEWORK, LIBRARY, USER = range(3)
CALL_OF_MODULE = torch.nn.Module._call_impl.__code__

sequence_number = getattr(getattr(torch._C, "_autograd", None), "_get_sequence_nr", None)
current_node = getattr(torch._C, "_current_autograd_node", None)


class Line(NamedTuple):
    """A line of a file, and the function that it is in."""

    path: str
    line: int
    function: str


class Site(NamedTuple):
    """Where an operator was called: the innermost line of the user's files, and that of a library."""

    user: Optional[Line]
    library: Optional[Line]
    in_module: bool


class Sites:
    """All places that called an operator, each once."""

    def __init__(self, workdir: str) -> None:
        self.workdir = os.path.join(os.path.realpath(workdir), "")
        self.table: List[Site] = []
        self._numbers: Dict[Any, int] = {}
        self._kinds: Dict[CodeType, int] = {}
        self._nodes: Dict[int, int] = {}

    def here(self) -> int:
        """The number of the site that called the operator now.

        In the backward pass no line calls it: then it is the line that made the node of the autograd graph.
        """
        node = current_node() if current_node is not None else None
        if node is not None and not torch.is_grad_enabled():
            known = self._nodes.get(node._sequence_nr())
            if known is not None:
                return known
        site = self._walk()
        if sequence_number is not None:
            # The node of this operator was made just before the operator got here.
            self._nodes[sequence_number() - 1] = site
        return site

    def _walk(self) -> int:
        user: Optional[Tuple[CodeType, int]] = None
        library: Optional[Tuple[CodeType, int]] = None
        in_module = False
        frame: Optional[FrameType] = sys._getframe(2)
        while frame is not None:
            code = frame.f_code
            kind = self._kinds.get(code)
            if kind is None:
                kind = self._kinds[code] = self._kind_of(code.co_filename)
            if kind == USER and user is None:
                user = (code, frame.f_lineno)
            elif kind == LIBRARY and library is None and user is None:
                library = (code, frame.f_lineno)
            in_module = in_module or code is CALL_OF_MODULE
            frame = frame.f_back
        key = (user, library, in_module)
        number = self._numbers.get(key)
        return self._learn(key) if number is None else number

    def _learn(self, key: Any) -> int:
        user, library, in_module = key
        self._numbers[key] = len(self.table)
        self.table.append(Site(_line(user), _line(library), in_module))
        return len(self.table) - 1

    def _kind_of(self, path: str) -> int:
        if path.startswith((TORCH, OWN, "<")):
            return FRAMEWORK
        return USER if is_below(path, self.workdir) else LIBRARY


def is_below(path: str, workdir: str) -> bool:
    """Whether a file is the user's: in the working directory and not an installed package."""
    if path.startswith("<"):  # the code of `exec` and of frozen modules
        return False
    absolute = os.path.realpath(path)
    return absolute.startswith(workdir) and not any(part in absolute for part in PACKAGES)


def _line(place: Optional[Tuple[CodeType, int]]) -> Optional[Line]:
    if place is None:
        return None
    code, line = place
    return Line(os.path.abspath(code.co_filename), line, code.co_name)
