"""Measures how fast this machine's CPU, or a GPU, is for the Python that the runs will use, in a few seconds.

It measures in a child process with a time limit (probe_child.py); this process never imports torch. The CUDA half has
never run on a GPU: the machine it was written on has none.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from importlib import resources
from typing import Any, NamedTuple

from gpuplan.errors import MissingError, UserError
from gpuplan.model import Gpu
from gpuplan.units import format_number

__all__ = ["Probe", "Spread", "probe_cpu", "probe_cuda"]

MARK = "GPUPLAN_PROBE "
TIME_LIMIT_S = 60.0
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Spread(NamedTuple):
    """Median, and the slow and the fast tenth of the rounds; far apart on a machine that was busy."""

    p10: float
    p50: float
    p90: float


class Probe(NamedTuple):
    """A measured row, how much its figures varied, and what was measured with."""

    gpu: Gpu
    spread: dict[str, Spread]
    """By figure: `fp32`, `bf16`, `bandwidth_bytes_per_s`, `kernel_overhead_s`."""
    versions: dict[str, str]
    framework: str


def probe_cpu(python: str, *, threads: int, name: str, memory_bytes: int, time_limit_s: float = TIME_LIMIT_S) -> Probe:
    """A row for this CPU as one rank with `threads` threads has it: the best of three sizes of matmul, by precision.

    `python` is the run's: rates and start-up are those of its torch, else its numpy. With neither the FLOP/s are what
    plain Python does and the row says `assumed`.
    """
    threading = dict.fromkeys(THREAD_VARIABLES, str(threads))
    found = _measure(python, "cpu", threads, time_limit_s, threading | {"CUDA_VISIBLE_DEVICES": ""})
    return _probe(found, Gpu(name=name, kind="cpu", memory_bytes=memory_bytes, threads=threads, **_facts(found)))


def probe_cuda(python: str, *, identity: str = "", time_limit_s: float = TIME_LIMIT_S) -> Probe:
    """A row for one GPU, the first or the one with this UUID; nobody else may use it meanwhile. Never run on a GPU."""
    found = _measure(python, "cuda", 1, time_limit_s, {"CUDA_VISIBLE_DEVICES": identity} if identity else {})
    if "name" not in found:
        reason = "sees no GPU" if found.get("framework") == "torch" else "has no torch"
        raise MissingError(
            f"{python} {reason}, so no GPU can be measured",
            hint="install a CUDA build of torch there: https://pytorch.org/get-started/locally",
        )
    return _probe(
        found,
        Gpu(
            name=str(found["name"]),
            memory_bytes=int(found["memory_bytes"]),
            compute_capability=str(found["compute_capability"]),
            **_facts(found),
        ),
    )


def _measure(python: str, kind: str, threads: int, time_limit_s: float, variables: dict[str, str]) -> dict[str, Any]:
    """What the child prints. It works in an empty folder, so that no file beside it is taken for a library."""
    script = resources.files("gpuplan.observe").joinpath("probe_child.py").read_bytes()
    command = [python, "-", kind, str(threads), repr(time.monotonic())]
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                command,
                input=script,
                capture_output=True,
                cwd=folder,
                env=os.environ | variables,
                timeout=time_limit_s,
                check=False,
            )
        except OSError as error:
            raise UserError(
                f"cannot start {python}: {error.strerror}", hint="set environment.python to the runs' interpreter"
            ) from None
        except subprocess.TimeoutExpired:
            raise UserError(
                f"{python} took more than {format_number(time_limit_s)} s to be measured",
                hint=f"try `{python} -c 'import torch'`; a slow network disk is the usual reason",
            ) from None
    return _answer(done, python)


def _answer(done: subprocess.CompletedProcess[bytes], python: str) -> dict[str, Any]:
    for line in reversed(done.stdout.decode(errors="replace").splitlines()):
        if line.startswith(MARK):
            answer: dict[str, Any] = json.loads(line.removeprefix(MARK))
            return answer
    said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
    raise UserError(
        f"measuring with {python} ended with code {done.returncode}: {said[-1][:200]}",
        hint=f"it needs Python 3.9 or later: `{python} --version`",
    )


def _facts(found: dict[str, Any]) -> dict[str, Any]:
    """The measured fields of the row."""
    return {
        "bandwidth_bytes_per_s": found["copy_bytes_per_s"]["p50"],
        "peak_flops": {precision: _best(sizes)["p50"] for precision, sizes in found["flops"].items()},
        "kernel_overhead_s": found["kernel_overhead_s"]["p50"],
        "context_bytes": found["context_bytes"],
        "startup_s": found["startup_s"],
        "source": f"measured here with {found['framework']} {found['versions'].get(found['framework'], '')}".rstrip(),
        "checked": "assumed" if found["framework"] == "python" else "measured",
        "notes": _notes(found),
    }


def _notes(found: dict[str, Any]) -> str:
    notes = [f"{key} best at {_best_size(sizes)}" for key, sizes in found["flops"].items() if len(sizes) > 1]
    if found["framework"] == "python":
        notes.append("neither torch nor numpy there: FLOP/s are those of plain Python, the rest is a lower bound")
    return "; ".join([*notes, *found["problems"]])


def _probe(found: dict[str, Any], gpu: Gpu) -> Probe:
    spread = {precision: Spread(**_best(sizes)) for precision, sizes in found["flops"].items()}
    spread["bandwidth_bytes_per_s"] = Spread(**found["copy_bytes_per_s"])
    spread["kernel_overhead_s"] = Spread(**found["kernel_overhead_s"])
    return Probe(gpu, spread, dict(found["versions"]), str(found["framework"]))


def _best(sizes: dict[str, dict[str, float]]) -> dict[str, float]:
    return sizes[_best_size(sizes)]


def _best_size(sizes: dict[str, dict[str, float]]) -> str:
    return max(sizes, key=lambda size: sizes[size]["p50"])
