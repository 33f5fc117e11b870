"""Traces many steps in one process with the tracer's own code: `python agreement_child.py REQUESTS.json ANSWERS.jsonl`.

Each step runs in a fork, as in `gpuplan trace`; only the imports are shared. It compares nothing.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
import time
from pathlib import Path
from typing import Any

CHILD = Path(__file__).parents[1] / "src" / "gpuplan" / "trace" / "child"


def main(requests_path: str, answers_path: str) -> None:
    """Answer every request, one JSON line each."""
    with open(requests_path, encoding="utf-8") as file:  # noqa: PTH123  as the rest of the child, free of gpuplan
        requests: list[dict[str, Any]] = json.load(file)
    starter = runpy.run_path(str(CHILD / "__main__.py"), run_name="agreement")
    starter["load_package"]()
    package = starter["PACKAGE"]
    parts = {
        name: importlib.import_module(f"{package}.{name}") for name in ("program", "session", "target", "document")
    }
    request_of = importlib.import_module(f"{package}.request").Request
    asked = [request_of(**one | {"capability": tuple(one["capability"])}) for one in requests]
    session = parts["session"].Session(asked[0])
    session.start()
    sys.path.insert(0, str(Path(__file__).parent))
    functions = {one.module: parts["target"].find_function(one) for one in asked}
    session.census.look()
    with open(answers_path, "w", encoding="utf-8") as answers:  # noqa: PTH123
        for one in asked:
            answers.write(json.dumps(_answer(parts, session, functions[one.module], one)) + "\n")
            answers.flush()


def _answer(parts: dict[str, Any], session: Any, function: Any, request: Any) -> dict[str, Any]:
    started = time.monotonic()
    found = parts["program"]._observe_all(session, function, request)  # noqa: SLF001  one fork a batch, as the program does
    failure = next((one["failure"] for one in found if "failure" in one), None)
    if failure is not None:
        return {"failure": failure}
    observation = sys.modules[parts["program"].__name__].Observation
    observations = [observation(**one["observation"]) for one in found]
    document = parts["document"].document_of(observations, workdir=request.workdir)
    for trace in document["traces"]:
        trace["stream"] = None
    return {"document": document, "seconds": time.monotonic() - started}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
    sys.stdout.flush()
    os._exit(0)
