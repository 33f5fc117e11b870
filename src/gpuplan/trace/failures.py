"""Says what stopped a trace so that its author can mend it: file, line, what happened, what to do. It hides nothing."""

from __future__ import annotations

import difflib
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gpuplan.errors import EXIT_MISSING, UserError
from gpuplan.units import format_bytes, format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuplan.trace.process import Ended

__all__ = ["Asked", "explain_end", "explain_failure", "explain_start", "last_line"]

FRAME = re.compile(r'File "([^"]+)", line (\d+) in (\S+)')
PACKAGES = ("site-packages", "dist-packages")
DOING = {"import": "on import", "make": "while it made the step", "step": "in the training step"}
LESS_MEMORY = (
    "build models from a configuration (`from_config`), not from saved weights, and arrays with torch, which has no "
    "memory while it is traced"
)
SHOWN_OUTPUT_LINES = 5
LONGEST_TEXT = 300


class Asked(NamedTuple):
    """What was to be traced, and within which limits."""

    target: str
    python: str
    workdir: Path
    timeout_s: float
    memory_limit_bytes: int


def explain_failure(failure: Mapping[str, Any], asked: Asked) -> UserError:
    """The error for what the child reported."""
    kind, text = failure["kind"], str(failure.get("text", ""))[:LONGEST_TEXT]
    if kind in {"no_torch", "old_torch", "broken_torch", "old_python"}:
        return _explain_python(kind, text, asked)
    if kind == "missing_target":
        return _explain_missing_target(asked)
    if kind == "missing_module":
        return UserError(
            f"{_where(failure, asked)}: {text}",
            hint=f"install it where the program runs: {asked.python} -m pip install ...",
            exit_code=EXIT_MISSING,
        )
    message, hint = _sentence(kind, text, failure, asked)
    return UserError(f"{_where(failure, asked)}: {message}", hint=hint)


def explain_end(ended: Ended, crash: str, asked: Asked) -> UserError:
    """The error for a child that left no answer: a limit, a crash, or an exit of its own."""
    where = last_line(crash, asked) or asked.target
    if ended.stopped == "time":
        return UserError(
            f"{where}: the trace did not end within {format_duration(asked.timeout_s)}; this line was running",
            hint="does it wait for values (a loop until a loss is reached), for input, a lock or the network?",
        )
    if ended.stopped == "memory":
        limit = format_bytes(asked.memory_limit_bytes)
        return UserError(
            f"{where}: the trace took more than {limit} of this machine's memory; this line was running",
            hint=LESS_MEMORY,
        )
    if "SyntaxError" in ended.output and "__main__.py" in ended.output:
        return _explain_python("old_python", "too old", asked)
    if ended.code < 0:
        name = signal.Signals(-ended.code).name
        return UserError(f"{where}: the interpreter crashed ({name}){_said(ended)}", hint=_crash_hint(name))
    return UserError(
        f"{where}: the process ended with exit code {ended.code} and without a result{_said(ended)}",
        hint="does the program call os._exit, or replace its process?",
    )


def explain_start(error: OSError, asked: Asked) -> UserError:
    """The error for a Python that cannot be started."""
    return UserError(
        f"cannot start {asked.python}: {error.strerror or error}",
        hint="set `environment.python` to the Python that runs the program",
    )


def _explain_python(kind: str, text: str, asked: Asked) -> UserError:
    sentence = {
        "no_torch": "has no PyTorch",
        "old_torch": f"has PyTorch {text}; a trace needs 2.4 or newer",
        "broken_torch": f"cannot load its PyTorch: {text}",
        "old_python": f"is {text}; a trace needs Python 3.9 or newer",
    }[kind]
    install = "set `environment.python` to the Python that runs the program"
    if kind == "no_torch":
        install += f", or install it there: {asked.python} -m pip install torch"
    return UserError(f"{asked.target}: {asked.python} {sentence}", hint=install, exit_code=EXIT_MISSING)


def _explain_missing_target(asked: Asked) -> UserError:
    module = asked.target.partition(":")[0]
    names = sorted(path.stem for path in asked.workdir.glob("*.py"))
    near = difflib.get_close_matches(module, names, n=1)
    meant = f"did you mean {near[0]}:{asked.target.partition(':')[2]}? " if near else ""
    return UserError(
        f"{asked.target}: there is no module {module!r} in {asked.workdir}",
        hint=meant + "a target is module:function, looked for in `environment.workdir`",
    )


def _sentence(kind: str, text: str, failure: Mapping[str, Any], asked: Asked) -> tuple[str, str]:
    name = f"{failure.get('error', '')}: {text}" if text else str(failure.get("error", ""))
    doing = DOING.get(str(failure.get("stage")), "")
    limit = format_bytes(asked.memory_limit_bytes)
    sentences = {
        "missing_function": (text, "write `def make_step(settings)`, which returns a function that does one step"),
        "no_step": (
            f"{asked.target} cannot be traced: {text}",
            "return a function without arguments: forward, backward and optimizer step of one batch",
        ),
        "exit": (
            f"it ended the interpreter {doing} (sys.exit: {text or 0})",
            "keep what runs as a program below `if __name__ == '__main__':`",
        ),
        "syntax": (
            f"it is not valid Python: {text}",
            "correct it, or set `environment.python` to the version it is for",
        ),
        "recursion": (f"it calls itself without end {doing}", "see which call of this line comes back to it"),
        "memory": (
            f"it asked for more memory than the trace may have ({limit}) {doing}: {name}",
            LESS_MEMORY,
        ),
        "data_dependent": (
            f"the size of a tensor depends on values here ({doing}), and a trace has none",
            "give the step fixed shapes, or use `footprint: {model: ...}` or `{logs: ...}` instead",
        ),
        "endless": (
            f"this loop ends only when generated values say so ({doing}), and a trace has none",
            "give it a limit, as `for _ in range(max_new_tokens)`, and leave with `break`: it is traced to the limit",
        ),
        "no_shape": (
            f"PyTorch cannot say what this gives without computing it {doing}: {text}",
            "leave it out of the traced step if it is small, or use `footprint: {model: ...}` or `{logs: ...}` instead",
        ),
        "no_gpu": (
            f"{asked.target} never puts anything on the GPU: it would train on the CPU",
            "move the model and the batch to `cuda`, if torch.cuda.is_available()",
        ),
        "vanished": (
            f"{asked.target} ended its process {doing}",
            "does the program call os._exit, or replace its process?",
        ),
    }
    return sentences.get(
        kind, (f"{name} {doing}", "if it runs with real tensors, gpuplan's tracer is at fault: please report it")
    )


def _where(failure: Mapping[str, Any], asked: Asked) -> str:
    """`mytrain.py:12`; the target if the failure has no place."""
    path, line = failure.get("path"), failure.get("line")
    return f"{_relative(str(path), asked.workdir)}:{line}" if path else asked.target


def _relative(path: str, workdir: Path) -> str:
    try:
        return str(Path(os.path.realpath(path)).relative_to(os.path.realpath(workdir)))
    except ValueError:
        return path


def last_line(crash: str, asked: Asked) -> str | None:
    """The innermost line of the user's files in what Python's fault handler wrote."""
    for path, line, _ in FRAME.findall(crash):
        relative = _relative(path, asked.workdir)
        if Path(path).is_absolute() and relative != path and not any(part in path for part in PACKAGES):
            return f"{relative}:{line}"
    return None


def _said(ended: Ended) -> str:
    lines = [line for line in ended.output.splitlines() if line.strip()][-SHOWN_OUTPUT_LINES:]
    return "; it said:\n    " + "\n    ".join(line[:LONGEST_TEXT] for line in lines) if lines else ""


def _crash_hint(name: str) -> str:
    if name == "SIGKILL":
        return "something outside killed it: is this machine out of memory?"
    return "it is compiled code that crashes: does it do so in a plain run on a machine without a GPU?"
