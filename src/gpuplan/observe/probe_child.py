"""The measuring half of probe.py: a stand-alone script (Python 3.9, standard library first) for the run's own Python.

It reads nothing from disk but what it imports, and never writes anything but one line of JSON.

    python - cpu|cuda THREADS STARTED_MONOTONIC_S < probe_child.py
"""

from __future__ import annotations

import importlib
import json
import operator
import platform
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

MARK = "GPUPLAN_PROBE "
ROUND_S = 0.15
MOST_ROUNDS = 40
COPY_BYTES = 64 * 2**20
CHAIN = 50
CPU_SIZES = (256, 512, 1024)
CUDA_SIZES = (1024, 4096, 8192)
TOO_SLOW = 8


def main() -> None:
    """Measure with torch, else numpy, else nothing but Python, and print what was found."""
    kind, threads, started_s = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    result: dict[str, Any] = {"versions": {"python": platform.python_version()}, "problems": []}
    torch, numpy = _load("torch", result), None
    if torch is None and kind == "cpu":
        numpy = _load("numpy", result)
    result["startup_s"] = time.monotonic() - started_s
    if torch is not None:
        result.update(with_torch(torch, kind, threads))
    elif numpy is not None:
        result.update(with_numpy(numpy))
    elif kind == "cpu":
        result.update(with_python())
    sys.stdout.write("\n" + MARK + json.dumps(result) + "\n")


def _load(name: str, result: dict[str, Any]) -> Any:
    try:
        module = importlib.import_module(name)
    except ImportError:
        return None
    except Exception as error:  # noqa: BLE001  a broken installation may raise anything
        result["problems"].append(f"import {name}: {type(error).__name__}: {str(error)[:200]}")
        return None
    result["versions"][name] = str(getattr(module, "__version__", "unknown"))
    return module


def with_torch(torch: Any, kind: str, threads: int) -> dict[str, Any]:
    """The rates of the CPU, or of the first GPU that torch sees."""
    if kind == "cuda" and not torch.cuda.is_available():
        return {"framework": "torch", "no_cuda": True}
    torch.set_num_threads(threads)
    device = torch.device(kind)
    wait = torch.cuda.synchronize if kind == "cuda" else _nothing
    small = torch.ones(8, device=device)
    small.mul_(1.0)
    wait()
    found = {"framework": "torch", "context_bytes": _context_bytes(torch, kind)}
    found["kernel_overhead_s"] = _spread(_torch_chain(torch, small, wait), per=2 * CHAIN + 2)
    found["copy_bytes_per_s"] = _rate(_torch_copy(torch, device, wait), 2 * COPY_BYTES)
    found["flops"] = _torch_matmuls(torch, device, wait)
    if kind == "cuda":
        properties = torch.cuda.get_device_properties(0)
        found.update(name=properties.name, memory_bytes=properties.total_memory)
        found["compute_capability"] = f"{properties.major}.{properties.minor}"
    return found


def _torch_chain(torch: Any, small: Any, wait: Callable[[], None]) -> Callable[[], None]:
    """Operations too small to take time of their own, forward and backward, as in a training step."""
    start = small.clone().requires_grad_()

    def chain() -> None:
        value = start
        for _ in range(CHAIN):
            value = value * small
        torch.autograd.grad(value.sum(), start)
        wait()

    return chain


def _torch_copy(torch: Any, device: Any, wait: Callable[[], None]) -> Callable[[], None]:
    source = torch.ones(COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)
        wait()

    return copy


def _torch_matmuls(torch: Any, device: Any, wait: Callable[[], None]) -> dict[str, dict[str, Any]]:
    cuda = device.type == "cuda"
    sizes = CUDA_SIZES if cuda else CPU_SIZES
    rates = {"fp32": _torch_sizes(torch, torch.float32, device, wait, sizes)}
    if cuda and torch.cuda.get_device_capability(0) >= (8, 0):
        torch.backends.cuda.matmul.allow_tf32 = True
        rates["tf32"] = _torch_sizes(torch, torch.float32, device, wait, sizes)
    small = sizes[0]
    first = _rate(_torch_product(torch, torch.bfloat16, device, wait, small), 2 * small**3)
    if first["p50"] * TOO_SLOW >= rates["fp32"][str(small)]["p50"]:
        rates["bf16"] = {str(small): first}
        rates["bf16"].update(_torch_sizes(torch, torch.bfloat16, device, wait, sizes[1:]))
    return rates


def _torch_sizes(torch: Any, dtype: Any, device: Any, wait: Callable[[], None], sizes: Any) -> dict[str, Any]:
    return {str(size): _rate(_torch_product(torch, dtype, device, wait, size), 2 * size**3) for size in sizes}


def _torch_product(torch: Any, dtype: Any, device: Any, wait: Callable[[], None], size: int) -> Callable[[], None]:
    left = torch.ones(size, size, dtype=dtype, device=device)
    result = torch.empty_like(left)

    def multiply() -> None:
        torch.mm(left, left, out=result)
        wait()

    return multiply


def _context_bytes(torch: Any, kind: str) -> int:
    """Resident bytes of this process; on a GPU, the bytes in use beyond torch's own, so nobody else may use it."""
    if kind == "cpu":
        return _resident_bytes()
    free_bytes, total_bytes = torch.cuda.mem_get_info()
    return int(total_bytes - free_bytes - torch.cuda.memory_reserved())


def with_numpy(numpy: Any) -> dict[str, Any]:
    """The rates of the CPU in fp32."""
    small = numpy.ones(8, dtype="float32")
    context_bytes = _resident_bytes()
    source = numpy.ones(COPY_BYTES // 4, dtype="float32")
    target = numpy.empty_like(source)
    flops = {}
    for size in CPU_SIZES:
        left = numpy.ones((size, size), dtype="float32")
        flops[str(size)] = _rate(_call(numpy.dot, left, left), 2 * size**3)
    return {
        "framework": "numpy",
        "context_bytes": context_bytes,
        "kernel_overhead_s": _spread(_many(_call(numpy.add, small, small, small)), per=CHAIN),
        "copy_bytes_per_s": _rate(_call(numpy.copyto, target, source), 2 * COPY_BYTES),
        "flops": {"fp32": flops},
    }


def with_python() -> dict[str, Any]:
    """What Python alone can do: a copy is a real one, the products only show that there is no library for them."""
    context_bytes = _resident_bytes()
    source, target = bytes(COPY_BYTES), bytearray(COPY_BYTES)
    numbers = [1.5] * 100_000
    products = _rate(lambda: sum(map(operator.mul, numbers, numbers)), 2 * len(numbers))
    return {
        "framework": "python",
        "context_bytes": context_bytes,
        "kernel_overhead_s": _spread(_many(_call(operator.mul, 1.5, 2.5)), per=CHAIN),
        "copy_bytes_per_s": _rate(_call(target.__setitem__, slice(None), source), 2 * COPY_BYTES),
        "flops": {"fp32": {"1": products}},
    }


def _nothing() -> None:
    """A CPU operation has ended when its call returns."""


def _call(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    return lambda: function(*arguments)


def _many(operation: Callable[[], Any]) -> Callable[[], None]:
    def repeat() -> None:
        for _ in range(CHAIN):
            operation()

    return repeat


def _rate(work: Callable[[], Any], amount: float) -> dict[str, float]:
    """Amount a second: median of the rounds, and the slow and fast tenth."""
    seconds = _seconds(work)
    return {"p10": amount / seconds["p90"], "p50": amount / seconds["p50"], "p90": amount / seconds["p10"]}


def _spread(work: Callable[[], Any], *, per: int) -> dict[str, float]:
    return {key: value / per for key, value in _seconds(work).items()}


def _seconds(work: Callable[[], Any]) -> dict[str, float]:
    """Seconds of one call, the first ones left out, in rounds until their time is up."""
    work()
    work()
    taken: list[float] = []
    until = time.perf_counter() + ROUND_S
    while len(taken) < MOST_ROUNDS and (len(taken) < 3 or time.perf_counter() < until):
        before = time.perf_counter()
        work()
        taken.append(max(time.perf_counter() - before, 1e-9))
    taken.sort()
    return {
        "p10": taken[len(taken) // 10],
        "p50": statistics.median(taken),
        "p90": taken[(9 * (len(taken) - 1)) // 10],
    }


def _resident_bytes() -> int:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(status.split("VmRSS:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        pass
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes


if __name__ == "__main__":
    main()
