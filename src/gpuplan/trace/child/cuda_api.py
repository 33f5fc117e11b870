"""Answers of `torch.cuda` and its kin while a program is traced as if a GPU were there. It allocates nothing."""

# ruff: noqa: SLF001  what PyTorch does with a tensor is decided below its public functions
from __future__ import annotations

import contextlib
from typing import Any, Callable, Dict, Optional

import torch

from .state import STATE

__all__ = ["pretend_gpu"]

GPU_MEMORY_BYTES = 80 * 2**30
"""Programs ask for it to choose a batch; the trace itself has no limit."""


class Properties:
    """What `torch.cuda.get_device_properties` gives."""

    def __init__(self) -> None:
        self.name = "traced GPU"
        self.major, self.minor = STATE.capability
        self.total_memory = GPU_MEMORY_BYTES
        self.multi_processor_count = 108
        self.warp_size = 32
        self.is_integrated = False


class Event:
    """A `torch.cuda.Event` on a device that takes no time."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None: ...

    def record(self, *_args: Any) -> None:
        """Nothing to record."""

    def wait(self, *_args: Any) -> None:
        """Nothing to wait for."""

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def query(self) -> bool:
        """Everything is done."""
        return True

    def elapsed_time(self, _other: Any) -> float:
        """No time passes, but programs divide by it."""
        return 1.0


class Stream(Event):
    """A `torch.cuda.Stream` with nothing in it."""

    def is_capturing(self) -> bool:
        """No graph is captured."""
        return False

    def wait_stream(self, *_args: Any) -> None:
        """Nothing to wait for."""

    def wait_event(self, *_args: Any) -> None:
        """Nothing to wait for."""

    def record_event(self, event: Optional[Event] = None) -> Event:
        """An event that has happened."""
        return event or Event()


class Generator(torch.Generator):
    """Random numbers are never drawn on the device: all generators are the host's."""

    def __new__(cls, device: Any = "cpu") -> Any:
        """One of the host."""
        del device
        return super().__new__(cls)


def pretend_gpu() -> None:
    """Replace the functions of `torch.cuda` that would look for a driver."""
    for name, value in _answers().items():
        setattr(torch.cuda, name, value)
    torch._C._cuda_getCurrentRawStream = _answering(0)  # libraries of kernels ask for it on import
    torch._C._get_accelerator = lambda *_args: torch.device("cuda")
    torch.Generator = Generator  # type: ignore[misc]
    torch.get_autocast_gpu_dtype = lambda: torch.get_autocast_dtype("cuda")
    accelerator = getattr(torch, "accelerator", None)
    for name, value in _accelerator_answers().items() if accelerator is not None else ():
        setattr(accelerator, name, value)


def _answers() -> Dict[str, Any]:
    """Each name has a function of its own: torch._dynamo refuses one that it finds under two names."""
    nothing = (
        "init _lazy_init synchronize empty_cache ipc_collect set_device manual_seed manual_seed_all seed seed_all "
        "reset_peak_memory_stats reset_max_memory_allocated reset_accumulated_memory_stats set_rng_state "
        "set_rng_state_all set_per_process_memory_fraction set_stream"
    )
    zero = "memory_allocated max_memory_allocated memory_reserved max_memory_reserved current_device"
    return {
        **{name: _answering(None) for name in nothing.split()},
        **{name: _answering(0) for name in zero.split()},
        "Event": Event,
        "Stream": Stream,
        "current_stream": lambda *_args: Stream(),
        "default_stream": lambda *_args: Stream(),
        "is_available": _answering(value=True),
        "device_count": _answering(1),
        "is_current_stream_capturing": _answering(value=False),
        "is_bf16_supported": lambda including_emulation=True: including_emulation or STATE.capability >= (8, 0),
        "get_device_capability": lambda *_args: STATE.capability,
        "get_device_name": lambda *_args: Properties().name,
        "get_device_properties": lambda *_args: Properties(),
        "get_arch_list": list,
        "mem_get_info": _answering((GPU_MEMORY_BYTES, GPU_MEMORY_BYTES)),
        "memory_stats": lambda *_args: {},
        "get_rng_state": lambda *_args: torch.get_rng_state(),
        "get_rng_state_all": lambda: [torch.get_rng_state()],
        "stream": lambda *_args: contextlib.nullcontext(),
        "device": lambda *_args: contextlib.nullcontext(),
    }


def _accelerator_answers() -> Dict[str, Any]:
    return {
        "is_available": _answering(value=True),
        "device_count": _answering(1),
        "current_accelerator": _answering(torch.device("cuda")),
        "current_device_index": _answering(0),
        "current_device_idx": _answering(0),
        "set_device_index": _answering(None),
        "set_device_idx": _answering(None),
        "current_stream": lambda *_args: Stream(),
        "set_stream": _answering(None),
        "synchronize": _answering(None),
    }


def _answering(value: Any) -> Callable[..., Any]:
    return lambda *_args, **_kwargs: value
