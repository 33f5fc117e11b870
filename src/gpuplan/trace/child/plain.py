"""Turns off what would hide a program from its trace: compilers, overrides, workers. It adds nothing."""

# ruff: noqa: SLF001  what PyTorch does with a tensor is decided below its public functions
from __future__ import annotations

from typing import Any, Callable, Dict

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.data import DataLoader

from .state import STATE

__all__ = ["make_plain"]

WORKERS = ("num_workers", "prefetch_factor", "persistent_workers", "multiprocessing_context", "pin_memory", "timeout")
NUM_WORKERS_AT = 5
"""The place of `num_workers` among the arguments of a DataLoader; nobody gives those after it by place."""


def make_plain() -> None:
    """Let Python run the program as it stands, in one process."""
    for space, name in ((torch, "compile"), (torch.jit, "script")):
        setattr(space, name, _as_it_is)
    nn.Module.compile = lambda *_args, **_kwargs: STATE.notes.add("compile")  # type: ignore[method-assign]
    _let_functional_run()
    _let_loaders_run()
    _let_fakes_be()


def _as_it_is(program: Any = None, *_args: Any, **_options: Any) -> Any:
    """In place of a compiler, which needs real kernels to choose from; as a decorator with options too."""
    STATE.notes.add("compile")
    return program if program is not None else _as_it_is


def _let_functional_run() -> None:
    """Let `torch.nn.functional` run its bodies under the function mode, which sees the functions inside them then.

    PyTorch would turn the mode off inside; tensor classes with overrides of their own still get theirs.
    """
    functional: Any = nn.functional
    functional.has_torch_function = lambda tensors: any(map(_is_overridden, tensors))
    functional.has_torch_function_unary = _is_overridden
    functional.has_torch_function_variadic = lambda *tensors: any(map(_is_overridden, tensors))


def _is_overridden(value: Any) -> bool:
    kind = type(value)
    if kind in (torch.Tensor, nn.Parameter) or not isinstance(value, torch.Tensor):
        return False
    return kind.__torch_function__ is not torch._C._disabled_torch_function_impl


def _let_loaders_run() -> None:
    """Load batches in this process: a tensor without memory cannot come from another one."""
    original: Callable[..., None] = DataLoader.__init__

    def initialise(self: Any, *args: Any, **kwargs: Any) -> None:
        kept: Dict[str, Any] = {name: value for name, value in kwargs.items() if name not in WORKERS}
        original(self, *args[:NUM_WORKERS_AT], **kept)

    DataLoader.__init__ = initialise  # type: ignore[method-assign]


def _let_fakes_be() -> None:
    """PyTorch's own fake tensors, with which it finds the shapes of shards, are no part of the program."""
    enter, leave = FakeTensorMode.__enter__, FakeTensorMode.__exit__

    def begin(self: Any) -> Any:
        STATE.inside += 1
        STATE.passing += 1
        return enter(self)

    def end(self: Any, *details: Any) -> Any:
        STATE.inside -= 1
        STATE.passing -= 1
        return leave(self, *details)

    FakeTensorMode.__enter__ = begin  # type: ignore[method-assign]
    FakeTensorMode.__exit__ = end  # type: ignore[method-assign]
