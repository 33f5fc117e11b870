"""Traces a function in its own Python, within limits, and keeps the answer. It never imports the user's code."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gpuplan.errors import UserError
from gpuplan.trace import cache
from gpuplan.trace.failures import Asked, explain_end, explain_failure, explain_start, last_line
from gpuplan.trace.process import run_limited
from gpuplan.trace.result import Traced, read_document
from gpuplan.units import GIB

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuplan.model import Scalar

__all__ = ["Limits", "cached", "trace"]

CHILD = Path(__file__).parent / "child"
TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
DEFAULT_CAPABILITY = "8.0"
CAPABILITY = re.compile(r"\d{1,2}\.\d")
QUIET = {
    "CUDA_VISIBLE_DEVICES": "",  # a GPU that is there stays untouched
    "OMP_NUM_THREADS": "1",  # nothing is computed, and a process with threads cannot fork
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


class Limits(NamedTuple):
    """How much of this machine a trace may take."""

    timeout_s: float = 120.0
    memory_bytes: int = 8 * GIB


def trace(
    target: str,
    settings: Mapping[str, Scalar],
    *,
    python: str | None = None,
    workdir: Path | None = None,
    micro_batch: str | None = None,
    batches: Sequence[int] = (),
    device: Literal["cuda", "cpu"] = "cuda",
    compute_capability: str = DEFAULT_CAPABILITY,
    ranks: int = 1,
    variables: Mapping[str, str] | None = None,
    limits: Limits | None = None,
    cache_folder: Path | None = None,
) -> Traced:
    """What one training step of `target` ("module:function") needs, as a function of the micro-batch.

    `micro_batch` names its setting, `batches` are one or two values to trace it at; by default the one in the settings
    and twice as many. Of `ranks` processes that train together, it is what the first one needs. Raises UserError
    that names the line of the user's program where it failed.
    """
    asked = _asked(target, python=python, workdir=workdir, limits=limits or Limits())
    request = _request(
        asked,
        settings,
        micro_batch=micro_batch,
        batches=batches,
        device=device,
        capability=compute_capability,
        ranks=ranks,
    )
    key = _key(asked, request, variables)
    started = time.monotonic()
    known = cache.load(cache_folder, key) if cache_folder else None
    document = known or _with_reserved(_run(asked, request, variables or {}), target, _own_batch(settings, micro_batch))
    if known is None and cache_folder:
        cache.save(cache_folder, key, document, document["files"])
    return read_document(document, target=target, from_cache=known is not None, duration_s=time.monotonic() - started)


def _own_batch(settings: Mapping[str, Scalar], micro_batch: str | None) -> int:
    value = settings.get(micro_batch) if micro_batch else 1
    return value if isinstance(value, int) else 1


def _with_reserved(document: dict[str, Any], target: str, batch: int) -> dict[str, Any]:
    """The document with the allocator's part at the run's own batch: a plan reads it and need not replay again."""
    replayed = read_document(document, target=target, from_cache=False, duration_s=0.0).reserved(batch)
    return document | {"reserved_bytes": {str(batch): replayed.reserved_bytes} if replayed else {}}


def cached(
    target: str,
    settings: Mapping[str, Scalar],
    *,
    cache_folder: Path,
    python: str | None = None,
    workdir: Path | None = None,
    micro_batch: str | None = None,
    batches: Sequence[int] = (),
    device: Literal["cuda", "cpu"] = "cuda",
    ranks: int = 1,
    variables: Mapping[str, str] | None = None,
) -> Traced | None:
    """What `trace` with these arguments found before, if nothing it was made of has changed since. Runs nothing."""
    asked = _asked(target, python=python, workdir=workdir, limits=Limits())
    request = _request(
        asked,
        settings,
        micro_batch=micro_batch,
        batches=batches,
        device=device,
        capability=DEFAULT_CAPABILITY,
        ranks=ranks,
    )
    document = cache.load(cache_folder, _key(asked, request, variables))
    return read_document(document, target=target, from_cache=True, duration_s=0.0) if document else None


def _asked(target: str, *, python: str | None, workdir: Path | None, limits: Limits) -> Asked:
    return Asked(
        target=target,
        python=_interpreter(python),
        workdir=(workdir or Path()).resolve(),
        timeout_s=limits.timeout_s,
        memory_limit_bytes=limits.memory_bytes,
    )


def _key(asked: Asked, request: Mapping[str, Any], variables: Mapping[str, str] | None) -> str:
    return cache.key_of({**request, "variables": dict(variables or {})}, asked.python)


def _interpreter(python: str | None) -> str:
    """The path of a Python; symbolic links are kept, as a virtual environment is one."""
    if python is None:
        return sys.executable
    return shutil.which(python) or str(Path(python).absolute())


def _request(
    asked: Asked,
    settings: Mapping[str, Scalar],
    *,
    micro_batch: str | None,
    batches: Sequence[int],
    device: str,
    capability: str,
    ranks: int,
) -> dict[str, Any]:
    """What the child is asked; raises UserError for what makes no sense to ask."""
    if not TARGET.fullmatch(asked.target):
        raise UserError(
            f"{asked.target!r} is not a function to trace", hint="write module:function, as in mytrain:make_step"
        )
    if not asked.workdir.is_dir():
        raise UserError(
            f"there is no folder {asked.workdir}", hint="set `environment.workdir` to where the program runs"
        )
    if not CAPABILITY.fullmatch(capability):
        raise UserError(
            f"{capability!r} is not a compute capability", hint="write one such as 8.0 (A100) or 9.0 (H100)"
        )
    module, _, function = asked.target.partition(":")
    return {
        "module": module,
        "function": function,
        "settings": dict(settings),
        "varied": micro_batch,
        "batches": _batches(settings, micro_batch, batches),
        "workdir": str(asked.workdir),
        "gpu": device == "cuda",
        "ranks": ranks,
        "capability": [int(part) for part in capability.split(".")],
        "memory_limit_bytes": asked.memory_limit_bytes,
    }


def _batches(settings: Mapping[str, Scalar], micro_batch: str | None, batches: Sequence[int]) -> list[int]:
    """The batches to trace at. Batch 1 is left out where there is a choice: programs often treat it apart."""
    if micro_batch is None:
        return [1]
    if batches:
        if not 1 <= len(set(batches)) <= 2 or min(batches) < 1:
            raise UserError(f"cannot trace at the batches {list(batches)}", hint="give one or two, from 1 on")
        return sorted(set(batches))
    value = settings.get(micro_batch)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(
            f"the setting {micro_batch!r} is no micro-batch: {value!r}",
            hint="name the setting with a whole number of rows in `roles.micro_batch`",
        )
    return [max(2, value), 2 * max(2, value)]


def _run(asked: Asked, request: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="gpuplan-trace-") as name:
        folder = Path(name)
        result = folder / "result.json"
        paths = {"result": str(result), "crash": str(folder / "crash")}
        (folder / "request.json").write_text(json.dumps({**request, **paths}), "utf-8")
        try:
            ended = run_limited(
                [asked.python, str(CHILD), str(folder / "request.json")],
                workdir=asked.workdir,
                variables={**variables, **QUIET},
                timeout_s=asked.timeout_s,
                memory_limit_bytes=asked.memory_limit_bytes,
                last_words=lambda: last_line(_crashes(folder), asked) is not None,
            )
        except OSError as error:
            raise explain_start(error, asked) from None
        if ended.stopped or not result.is_file():
            raise explain_end(ended, _crashes(folder), asked)
        document: dict[str, Any] = json.loads(result.read_text("utf-8"))
    if "failure" in document:
        raise explain_failure(document["failure"], asked)
    return document


def _crashes(folder: Path) -> str:
    """What the child's processes wrote of where they were."""
    return "\n".join(path.read_text("utf-8", "replace") for path in sorted(folder.glob("crash*")))
