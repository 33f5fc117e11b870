"""Starts the tracer from its folder, without leaving the folder on the user's import path. It traces nothing itself."""

from __future__ import annotations

import sys

FOLDER = __file__.rpartition("/")[0] or "."
sys.path[:] = [path for path in sys.path if path != FOLDER]

import importlib.util  # noqa: E402  the user's modules could hide those of the standard library until here
import json  # noqa: E402
import os  # noqa: E402
import re  # noqa: E402
from typing import Dict, Optional  # noqa: E402

PACKAGE = "gpuplan_trace_child"
OLDEST_PYTHON = (3, 9)
OLDEST_TORCH = (2, 4)


def main(path: str) -> int:
    """Run the tracer, or say in its place why this Python cannot."""
    failure = find_obstacle()
    if failure is None:
        load_package()
        return int(importlib.import_module(PACKAGE + ".program").main(path))
    with open(path, encoding="utf-8") as file:
        result = json.load(file)["result"]
    with open(result, "w", encoding="utf-8") as file:
        json.dump({"failure": failure}, file)
    return 0


def find_obstacle() -> Optional[Dict[str, str]]:
    """What this Python lacks."""
    if sys.version_info < OLDEST_PYTHON:
        return {"kind": "old_python", "text": "Python {}.{}".format(*sys.version_info[:2])}
    try:
        import torch  # noqa: PLC0415  it may be missing
    except ModuleNotFoundError as error:
        return {"kind": "no_torch" if error.name == "torch" else "broken_torch", "text": str(error)}
    except (ImportError, OSError, RuntimeError) as error:
        return {"kind": "broken_torch", "text": str(error)}
    version = re.match(r"(\d+)\.(\d+)", torch.__version__)
    if version and (int(version[1]), int(version[2])) < OLDEST_TORCH:
        return {"kind": "old_torch", "text": str(torch.__version__)}
    return None


def load_package() -> None:
    """Make this folder a package of a name that no user has."""
    specification = importlib.util.spec_from_file_location(
        PACKAGE, FOLDER + "/__init__.py", submodule_search_locations=[FOLDER]
    )
    assert specification is not None
    assert specification.loader is not None
    package = importlib.util.module_from_spec(specification)
    sys.modules[PACKAGE] = package
    specification.loader.exec_module(package)


if __name__ == "__main__":
    code = main(sys.argv[1])
    sys.stdout.flush()
    # Threads of the user's program would keep the interpreter from ending.
    os._exit(code)
