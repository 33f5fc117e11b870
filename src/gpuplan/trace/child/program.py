"""The tracer from request to result: one process for each batch, so that none sees what another left behind."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import resource
import signal
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional

from .document import document_of
from .failures import describe_failure
from .observe import Observation, observe
from .request import Request, read_request
from .session import Session
from .target import find_function, line_of
from .versions import Files, packages, versions

if TYPE_CHECKING:
    from .sites import Line

__all__ = ["main"]

FORMAT = 1


def main(path: str) -> int:
    """Trace what the request asks for and write the result."""
    request = read_request(path)
    os.chdir(request.workdir)
    _tell_crashes(request.crash)
    _limit_memory(request.memory_limit_bytes)
    _write(request.result, _document(request))
    return 0


def _tell_crashes(path: str) -> None:
    """Write the line that runs to `path` on a crash, and when gpuplan asks with SIGUSR2 before it ends the process."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    faulthandler.enable(file)
    faulthandler.register(signal.SIGUSR2, file)


def _limit_memory(limit_bytes: int) -> None:
    """An error at the line that asks for too much; gpuplan's own watch sees only the process as a whole.

    Private writable memory is what counts: a limit on address space would stop PyTorch's libraries from loading.
    """
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _document(request: Request) -> Dict[str, Any]:
    files = Files(request.workdir)
    started = time.monotonic()
    session = Session(request)
    entry: Optional[Line] = None
    try:
        session.start()
        function = find_function(request)
        entry = line_of(function)
        session.census.look()
        imported = time.monotonic()
        found = _observe_all(session, function, request)
    except BaseException as error:  # noqa: BLE001  whatever the user's program throws is its answer
        return {"failure": describe_failure(error, request=request, stage=session.stage, entry=entry)}
    failure = next((one["failure"] for one in found if "failure" in one), None)
    if failure is not None:
        return {"failure": failure}
    observations = [Observation(**one["observation"]) for one in found]
    read = {path for one in found for path in one["files"]}
    return {
        "format": FORMAT,
        "gpu": request.gpu,
        "versions": versions(),
        "entry": entry,
        "files": sorted(read | set(files.own())),
        "packages": packages(),
        "import_s": imported - started,
        "trace_s": time.monotonic() - imported,
        **document_of(observations, workdir=request.workdir),
    }


def _observe_all(session: Session, function: Callable[[Dict[str, Any]], Any], request: Request) -> List[Dict[str, Any]]:
    """Each batch in a process of its own where that is possible, both at once."""
    processes = [_fork(session, function, request, batch) for batch in request.batches]
    return [_collect(pid, request, batch) for pid, batch in zip(processes, request.batches)]  # noqa: B905  Python 3.9


def _fork(session: Session, function: Callable[[Dict[str, Any]], Any], request: Request, batch: int) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            _tell_crashes("{}.{}".format(request.crash, batch))
            _write(_part(request, batch), _observe_one(session, function, request, batch))
            code = 0
        finally:
            os._exit(code)
    return pid


def _observe_one(
    session: Session, function: Callable[[Dict[str, Any]], Any], request: Request, batch: int
) -> Dict[str, Any]:
    files = Files(request.workdir)
    try:
        observation = observe(session, function, request.settings_at(batch), batch)
    except BaseException as error:  # noqa: BLE001  whatever the user's program throws is its answer
        return {"failure": describe_failure(error, request=request, stage=session.stage, entry=line_of(function))}
    return {"observation": observation._asdict(), "files": files.own()}


def _collect(pid: int, request: Request, batch: int) -> Dict[str, Any]:
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        # The same end for this process, so that gpuplan sees the signal.
        os.kill(os.getpid(), os.WTERMSIG(status))
    try:
        with open(_part(request, batch), encoding="utf-8") as file:
            part: Dict[str, Any] = json.load(file)
    except (OSError, ValueError):
        return {"failure": {"kind": "vanished", "code": os.WEXITSTATUS(status)}}
    return part


def _part(request: Request, batch: int) -> str:
    return "{}.{}".format(request.result, batch)


def _write(path: str, document: Dict[str, Any]) -> None:
    """All of it or nothing."""
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(document, file, separators=(",", ":"))
    os.replace(path + ".new", path)
