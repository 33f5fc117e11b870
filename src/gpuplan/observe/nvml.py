"""What the NVIDIA driver says of its devices and of the processes on them, through NVML if nvidia-ml-py is installed.

It only reads. Where there is no driver, no library or no permission it answers None or nothing, never an error.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

__all__ = ["Seen", "Use", "devices", "library", "use"]


class Seen(NamedTuple):
    """One device as the driver lists it; a MIG slice stands in the place of its GPU."""

    number: int
    """The driver's number of the GPU; its slices share it."""
    identity: str
    """What CUDA_VISIBLE_DEVICES takes: a UUID."""
    name: str
    """As in `NVIDIA A100-SXM4-80GB`, for a slice with ` MIG 1g.10gb` behind it."""
    memory_bytes: int | None
    used_bytes: int = 0


class Use(NamedTuple):
    """What some processes have of some devices: their memory on the fullest one, and how busy the devices are."""

    memory_bytes: int | None = None
    busy: float | None = None


@cache
def library() -> Any | None:
    """The initialised pynvml module; None without the package, a driver or a device."""
    try:
        import pynvml  # noqa: PLC0415  an extra
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def devices(nvml: Any) -> tuple[Seen, ...]:
    """All devices of this machine, MIG slices in the place of a GPU that is cut into them."""
    seen: list[Seen] = []
    for index in range(_ask(nvml, nvml.nvmlDeviceGetCount) or 0):
        handle = _ask(nvml, nvml.nvmlDeviceGetHandleByIndex, index)
        if handle is not None:
            seen += _slices(nvml, index, handle) or [_device(nvml, index, handle)]
    return tuple(seen)


def use(nvml: Any, identities: Sequence[str], pids: Collection[int]) -> Use:
    """What the processes `pids` use of the devices; memory is None where the driver does not show these processes.

    A container often hides the process ids of its host: then it is unknown whose memory it is, and not guessed.
    """
    handles = [handle for handle in (_handle(nvml, identity) for identity in identities) if handle is not None]
    memory = [found for found in (_memory_of(nvml, handle, pids) for handle in handles) if found is not None]
    rates = [_ask(nvml, nvml.nvmlDeviceGetUtilizationRates, handle) for handle in handles]
    busy = [rate.gpu / 100 for rate in rates if rate is not None]
    return Use(max(memory, default=None), sum(busy) / len(busy) if busy else None)


def _slices(nvml: Any, index: int, handle: Any) -> list[Seen]:
    mode = _ask(nvml, nvml.nvmlDeviceGetMigMode, handle)
    if not mode or not mode[0]:
        return []
    numbers = range(_ask(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0)
    handles = [_ask(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, number) for number in numbers]
    return [_device(nvml, index, each) for each in handles if each is not None]


def _device(nvml: Any, index: int, handle: Any) -> Seen:
    memory = _ask(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    return Seen(
        number=index,
        identity=_word(_ask(nvml, nvml.nvmlDeviceGetUUID, handle)) or str(index),
        name=_word(_ask(nvml, nvml.nvmlDeviceGetName, handle)) or "unnamed NVIDIA device",
        memory_bytes=int(memory.total) if memory is not None else None,
        used_bytes=int(memory.used) if memory is not None else 0,
    )


def _handle(nvml: Any, identity: str) -> Any | None:
    if identity.isdigit():
        return _ask(nvml, nvml.nvmlDeviceGetHandleByIndex, int(identity))
    return _ask(nvml, nvml.nvmlDeviceGetHandleByUUID, identity)


def _memory_of(nvml: Any, handle: Any, pids: Collection[int]) -> int | None:
    listed = _ask(nvml, nvml.nvmlDeviceGetComputeRunningProcesses, handle) or []
    ours = [process.usedGpuMemory for process in listed if process.pid in pids]
    known = [int(size) for size in ours if size is not None]
    return sum(known) if known else None


def _ask(nvml: Any, question: Callable[..., Any], *arguments: Any) -> Any | None:
    """One answer of the driver; None where it refuses, as for MIG on a card without it."""
    try:
        return question(*arguments)
    except nvml.NVMLError:
        return None


def _word(answer: object) -> str:
    """Old versions of the package answer in bytes."""
    return answer.decode(errors="replace") if isinstance(answer, bytes) else str(answer or "")
