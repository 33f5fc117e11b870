"""Starts the tracer from its folder, without leaving the folder on the user's import path. It traces nothing itself."""

from __future__ import annotations

import sys

FOLDER = __file__.rpartition("/")[0] or "."
sys.path[:] = [path for path in sys.path if path != FOLDER]

import importlib.util  # noqa: E402  the user's modules could hide those of the standard library until here

PACKAGE = "gpuplan_trace_child"


def main() -> int:
    """Load this folder as a package of its own name and run it."""
    specification = importlib.util.spec_from_file_location(
        PACKAGE, FOLDER + "/__init__.py", submodule_search_locations=[FOLDER]
    )
    assert specification is not None
    assert specification.loader is not None
    package = importlib.util.module_from_spec(specification)
    sys.modules[PACKAGE] = package
    specification.loader.exec_module(package)
    program = importlib.import_module(PACKAGE + ".program")
    return int(program.main(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
