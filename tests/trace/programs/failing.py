"""Functions that cannot be traced, each for a reason of its own."""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_A_FUNCTION = 3


def escapes(settings: dict[str, Any]) -> Callable[[], None]:
    """Leaves a process in a session of its own behind, and hangs."""

    def step() -> None:
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(1000)
            os._exit(0)
        os.wait()
        while True:
            time.sleep(0.01)  # HERE escapes

    return step


def recurses(settings: dict[str, Any]) -> Callable[[], None]:
    return recurses(settings)  # HERE recurses


def allocates(settings: dict[str, Any]) -> Callable[[], None]:
    def step() -> None:
        bytearray(100 * 2**30)  # HERE allocates

    return step


def prints(settings: dict[str, Any]) -> Callable[[], None]:
    def step() -> None:
        for _ in range(1000):
            sys.stdout.write("x" * 1_000_000)
        raise ValueError("after 1 GB")  # HERE prints

    return step


def aborts(settings: dict[str, Any]) -> Callable[[], None]:
    def step() -> None:
        os.abort()  # HERE aborts

    return step


def crashes(settings: dict[str, Any]) -> Callable[[], None]:
    def step() -> None:
        ctypes.string_at(0)  # HERE crashes

    return step


def leaves(settings: dict[str, Any]) -> Callable[[], None]:
    os._exit(0)


def exits(settings: dict[str, Any]) -> Callable[[], None]:
    sys.exit(3)  # HERE exits


def gives_nothing(settings: dict[str, Any]) -> None:
    """No step."""


def raises(settings: dict[str, Any]) -> Callable[[], object]:
    model = nn.Linear(3, 4).cuda()
    return lambda: model(torch.randn(2, 5, device="cuda"))  # HERE raises


def depends_on_values(settings: dict[str, Any]) -> Callable[[], object]:
    def step() -> object:
        counts = torch.randint(1, 4, (3,), device="cuda")
        return torch.repeat_interleave(counts, counts)  # HERE depends_on_values

    return step


def stays_on_the_host(settings: dict[str, Any]) -> Callable[[], None]:
    model = nn.Linear(3, 4)
    return lambda: model(torch.randn(2, 3)).sum().backward()


def lacks_a_module(settings: dict[str, Any]) -> None:
    importlib.import_module("no_such_module_anywhere")  # HERE lacks_a_module


def lacks_a_setting(settings: dict[str, Any]) -> None:
    settings["no_such_setting"]  # HERE lacks_a_setting
