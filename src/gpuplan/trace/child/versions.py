"""Which software was traced, and which files it was read from. It imports nothing."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from typing import Any, Dict, List, Set, Tuple

from .sites import PACKAGES, is_below

__all__ = ["Files", "packages", "versions"]

NAMED = ("torch", "transformers", "peft", "accelerate", "timm", "torchvision", "bitsandbytes", "trl", "numpy")
LONGEST_LIST = 10_000


def versions() -> Dict[str, str]:
    """Versions of Python, PyTorch and the libraries that were imported."""
    found = {"python": platform.python_version()}
    for name in NAMED:
        version = getattr(sys.modules.get(name), "__version__", None)
        if version is not None:
            found[name] = str(version)
    return found


class Files:
    """Files of the working directory that were opened: the result holds as long as they stay as they are."""

    def __init__(self, workdir: str) -> None:
        self.workdir = os.path.join(os.path.realpath(workdir), "")
        self._seen: Set[str] = set()
        sys.addaudithook(self._hear)

    def own(self) -> List[str]:
        """Existing files of the user's that were read, imported modules too."""
        for module in list(sys.modules.values()):
            path = getattr(module, "__file__", None)
            if isinstance(path, str) and is_below(path, self.workdir):
                self._seen.add(os.path.realpath(path))
        return sorted(path for path in self._seen if os.path.isfile(path) and not path.endswith(".pyc"))[:LONGEST_LIST]

    def _hear(self, event: str, arguments: Tuple[Any, ...]) -> None:
        """Python tells of each file it opens: the path, the mode of `open` or the flags of `os.open`."""
        if event != "open" or not isinstance(arguments[0], str):
            return
        path, mode, flags = arguments
        if os.path.isabs(path) and not path.startswith(self.workdir):
            return
        writes = any(letter in mode for letter in "wax+") if mode else bool(flags & (os.O_WRONLY | os.O_RDWR))
        if not writes and is_below(path, self.workdir):
            self._seen.add(os.path.realpath(path))


def packages() -> List[List[Any]]:
    """The installed packages that were imported: first file, time of change and size, which a new version replaces."""
    roots: Dict[str, os.stat_result] = {}
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and "." not in name and any(part in path for part in PACKAGES):
            with contextlib.suppress(OSError):
                roots[path] = os.stat(path)
    return [[path, facts.st_mtime_ns, facts.st_size] for path, facts in sorted(roots.items())]
