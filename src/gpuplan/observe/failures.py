"""What a failed program's last lines say: its exception, looked through torchrun's, and the usual causes with advice.

It knows texts only; what the exit code and the run's figures add is outcome.py's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuplan.model import Status

__all__ = ["Cause", "Raised", "find_cause", "find_exception", "root_exit_code"]


class Cause(NamedTuple):
    """A usual cause, with the line that shows it."""

    status: Status
    because: str
    advice: str


class Pattern(NamedTuple):
    """How a cause shows itself; braces in the texts stand for what the expression found."""

    expression: re.Pattern[str]
    status: Status
    because: str
    advice: str


class Raised(NamedTuple):
    """The exception that ended a program: the line that names it, and the rank if that is known."""

    line: str
    rank: int | None = None


def _pattern(expression: str, status: Status, because: str, advice: str) -> Pattern:
    return Pattern(re.compile(expression), status, because, advice)


SMALLER_STEP = (
    "halve the micro-batch and double the accumulation steps, which keeps the batch; then try checkpointed activations "
    "or bf16; `gpuplan fit` says what fits"
)
MORE_HOST = "give each run more memory: fewer runs or ranks at once, fewer loader workers, a smaller batch"

PATTERNS = (
    _pattern(
        r"OutOfMemoryError|(?:CUDA|HIP|XPU|MPS backend)(?: error:)? out of memory|CUBLAS_STATUS_ALLOC_FAILED|"
        r"CUDNN_STATUS_ALLOC_FAILED|RESOURCE_EXHAUSTED.*(?:allocat|memory)|cudaErrorMemoryAllocation|"
        r"NCCL.*(?:Failed to CUDA|Cuda failure.*out of memory)",
        "oom_device",
        "the GPU ran out of memory",
        SMALLER_STEP,
    ),
    _pattern(
        r"\bMemoryError\b|ArrayMemoryError|DefaultCPUAllocator: (?:can't allocate|not enough) memory|std::bad_alloc|"
        r"Cannot allocate memory|oom-kill|oom_kill|OOM Killed|Out of memory: Kill|OUT_OF_MEMORY",
        "oom_host",
        "the machine ran out of memory",
        MORE_HOST,
    ),
    _pattern(
        r"DataLoader worker \(pid.*\) is killed by signal: (?:Killed|Bus error)|insufficient shared memory \(shm\)",
        "oom_host",
        "a loader worker ran out of memory or of shared memory",
        "use fewer loader workers, or start the container with more shared memory (--shm-size or --ipc=host)",
    ),
    _pattern(
        r"No module named '?(?P<module>[\w.]+)'?",
        "crashed",
        "the module {module} is not installed in the run's environment",
        "`pip install {package}` there, or point environment.python to the interpreter that has it",
    ),
    _pattern(
        r"No space left on device|Errno 28|Disk quota exceeded|Errno 122",
        "crashed",
        "the disk is full",
        "free some space or keep fewer checkpoints (checkpoint.keep), then apply the plan again",
    ),
    _pattern(
        r"Torch not compiled with CUDA enabled|Found no NVIDIA driver|no CUDA-capable device|CUDA-capable device\(s\) "
        r"is/are busy|No CUDA GPUs are available|CUDA driver version is insufficient|invalid device ordinal",
        "crashed",
        "the program found no GPU that it can use",
        "run `gpuplan check`; see nvidia-smi, CUDA_VISIBLE_DEVICES, and whether this torch is built for this CUDA",
    ),
    _pattern(
        r"no kernel image is available for execution|sm_\d+ is not compatible with the current PyTorch",
        "crashed",
        "this build of torch has no code for this GPU",
        "install a build of torch that lists the GPU's compute capability: torch.cuda.get_arch_list()",
    ),
    _pattern(
        r"Address already in use|EADDRINUSE|Errno 98",
        "crashed",
        "its network port is taken by another program",
        "start torchrun with --standalone, or give each run a port of its own (--master_port)",
    ),
    _pattern(
        r"Too many open files|Errno 24\b",
        "crashed",
        "it has too many files open",
        "raise the limit (`ulimit -n 65536`), or use fewer loader workers",
    ),
    _pattern(
        r"(?:401 Client Error|GatedRepoError|403 Client Error|Access to model .* is restricted)",
        "crashed",
        "a download was refused: it needs an account or a licence to be accepted",
        "log in where the run starts (`huggingface-cli login`) and accept the licence, or fetch the files beforehand",
    ),
    _pattern(
        r"Name or service not known|Temporary failure in name resolution|Network is unreachable|Max retries exceeded",
        "crashed",
        "it could not reach the network",
        "fetch data and models beforehand (`inputs:` with `create:`); compute nodes often have no network",
    ),
    _pattern(
        r"device-side assert triggered|illegal memory access",
        "crashed",
        "a GPU kernel failed",
        "run it once with CUDA_LAUNCH_BLOCKING=1, or on the CPU: the usual reason is an index or a label out of range",
    ),
    _pattern(
        r"NCCL.*(?:timeout|timed out)|Watchdog caught collective operation timeout",
        "crashed",
        "a rank waited in vain for the others",
        "look for a rank that stopped or took another branch; the log of each rank says where it was",
    ),
)

PACKAGES = {
    "cv2": "opencv-python",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "skimage": "scikit-image",
    "yaml": "pyyaml",
    "bs4": "beautifulsoup4",
    "dotenv": "python-dotenv",
    "flash_attn": "flash-attn",
    "pynvml": "nvidia-ml-py",
}
"""Modules whose package has another name."""

EXCEPTION_LINE = re.compile(
    r"^(?:\[(?:default|rank)?(?P<rank>\d+)\]:?\s*)*"
    r"(?P<name>(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Iteration|Timeout))"
    r"(?P<text>:.*)?$"
)
ROOT_RANK = re.compile(r"^\s*rank\s*:\s*(\d+) \(local_rank: \d+\)")
ROOT_EXIT = re.compile(r"^\s*exitcode\s*:\s*(-?\d+) \(pid: \d+\)")
NOISE = ("ChildFailedError", "SignalException", "ProcessExitedException", "CalledProcessError")
SECONDARY = re.compile(
    r"Connection (?:closed|reset) by peer|Broken pipe|DistBackendError|DistNetworkError|DistStoreError|"
    r"ProcessGroupNCCL|Gloo .*timeout|ConnectionResetError|EOFError"
)


def find_cause(lines: Sequence[str]) -> Cause | None:
    """The usual cause that the lines show.

    It is sought in the exception that ended the program. Where there is none of its own, any line may show it, the
    last first: a library or the kernel has said so.
    """
    exception = find_exception(lines)
    own = exception is not None and not SECONDARY.search(exception.line)
    for line in [exception.line] if exception and own else reversed(lines):
        for pattern in PATTERNS:
            found = pattern.expression.search(line)
            if found:
                module = (found.groupdict().get("module") or "").split(".")[0]
                names = {"module": module, "package": PACKAGES.get(module, module)}
                return Cause(pattern.status, pattern.because.format(**names), pattern.advice.format(**names))
    return None


def find_exception(lines: Sequence[str]) -> Raised | None:
    """The exception that ended the program: of the rank that failed first, not torchrun's or a waiting rank's."""
    found = [each for each in (_exception(line) for line in lines) if each is not None]
    own = [each for each in found if not any(noise in each.line for noise in NOISE)]
    first_hand = [each for each in own if not SECONDARY.search(each.line)] or own
    rank = _root(lines, ROOT_RANK)
    chosen = [each for each in first_hand if rank is not None and each.rank == rank] or first_hand
    return chosen[-1] if chosen else None


def root_exit_code(lines: Sequence[str]) -> int | None:
    """The exit code of the rank that torchrun says failed first; negative for a signal."""
    return _root(lines, ROOT_EXIT)


def _exception(line: str) -> Raised | None:
    match = EXCEPTION_LINE.match(line)
    if match is None:
        return None
    rank = match["rank"]
    return Raised(match["name"] + (match["text"] or ""), int(rank) if rank else None)


def _root(lines: Sequence[str], expression: re.Pattern[str]) -> int | None:
    """What stands in torchrun's section on the first failure."""
    inside = False
    for line in lines:
        inside = inside or line.startswith("Root Cause")
        match = expression.match(line) if inside else None
        if match:
            return int(match[1])
    return None
