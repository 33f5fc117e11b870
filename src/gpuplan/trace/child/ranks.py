"""Lets a program of several ranks run as its first rank alone, without the others and without a network.

PyTorch's own fake process group stands in for the real one: each collective returns at once and moves nothing.
"""

# ruff: noqa: SLF001  what PyTorch does with a tensor is decided below its public functions
from __future__ import annotations

import importlib
import os
import sys
from typing import Any, Callable, Dict, List

import torch

from .state import STATE

__all__ = ["pretend_ranks"]


def pretend_ranks() -> None:
    """This process is the first of those that `torchrun` started."""
    if STATE.ranks > 1:
        numbers = dict.fromkeys(("RANK", "LOCAL_RANK", "GROUP_RANK"), "0")
        sizes = dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(STATE.ranks))
        os.environ.update({**numbers, **sizes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"})
    if torch.distributed.is_available():
        importlib.import_module("torch.distributed.device_mesh")
        _replace(_Group())


class _Group:
    """Stands for the functions of `torch.distributed` that would wait for other processes."""

    def __init__(self) -> None:
        self.real_init: Callable[..., Any] = torch.distributed.init_process_group
        self.real_new_group: Callable[..., Any] = torch.distributed.new_group

    def init_process_group(self, *args: Any, **kwargs: Any) -> None:
        """The fake group, of as many ranks as the program says, else as are asked for."""
        from torch.testing._internal.distributed.fake_pg import FakeStore  # noqa: PLC0415  it registers the backend

        asked = kwargs.get("world_size", args[3] if len(args) > 3 else -1)
        world_size = asked if isinstance(asked, int) and asked > 0 else STATE.ranks
        self.real_init("fake", rank=0, world_size=world_size, store=FakeStore())

    def new_group(self, ranks: Any = None, *_args: Any, **_kwargs: Any) -> Any:
        """A part of it."""
        return self.real_new_group(ranks, backend="fake")

    def all_gather_object(self, object_list: List[Any], obj: Any, *_args: Any, **_kwargs: Any) -> None:
        """Every rank has what this one has."""
        object_list[:] = [obj] * len(object_list)

    def gather_object(self, obj: Any, object_gather_list: Any = None, *_args: Any, **_kwargs: Any) -> None:
        """As `all_gather_object`."""
        if object_gather_list:
            object_gather_list[:] = [obj] * len(object_gather_list)


def _replace(group: _Group) -> None:
    distributed: Any = torch.distributed
    replaced: Dict[str, Any] = {
        "init_process_group": group.init_process_group,
        "new_group": group.new_group,
        "all_gather_object": group.all_gather_object,
        "gather_object": group.gather_object,
        "broadcast_object_list": _nothing,
        "is_nccl_available": lambda: True,
    }
    for name, value in replaced.items():
        real = getattr(distributed.distributed_c10d, name)
        # Others of its modules took the names over when they were imported.
        for module in [module for path, module in sys.modules.items() if path.startswith("torch.distributed")]:
            if getattr(module, name, None) is real:
                setattr(module, name, value)
    # It compares the shapes of all ranks, as numbers on the device.
    distributed._verify_params_across_processes = _nothing
    torch.Tensor.record_stream = _nothing  # type: ignore[method-assign]
    _let_gradients_be_averaged()


def _let_gradients_be_averaged() -> None:
    """DistributedDataParallel reads what the average came to, which the fake group does not say: its buckets do."""
    parallel: Any = torch.nn.parallel.DistributedDataParallel
    parallel._check_comm_hook = _nothing
    real_init, real_register = parallel.__init__, parallel.register_comm_hook

    def initialise(self: Any, *args: Any, **kwargs: Any) -> None:
        real_init(self, *args, **kwargs)
        real_register(self, None, _as_it_is)

    parallel.__init__ = initialise
    parallel.register_comm_hook = lambda *_args, **_kwargs: STATE.notes.add("communication hook")


def _as_it_is(_state: Any, bucket: Any) -> Any:
    done: Any = torch.futures.Future()
    done.set_result(bucket.buffer())
    return done


def _nothing(*_args: Any, **_kwargs: Any) -> None:
    """What concerns the other ranks only."""
