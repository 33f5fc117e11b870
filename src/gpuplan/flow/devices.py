"""The devices of this machine, and the packaged facts on accelerators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuplan.data import gpu_readings, gpus, near_gpus
from gpuplan.errors import UserError
from gpuplan.world import look_at_machine

if TYPE_CHECKING:
    from gpuplan.flow.state import State
    from gpuplan.model import Gpu, World

__all__ = ["facts", "machine_now"]


def machine_now(state: State) -> World:
    """This machine, with what was measured of it before."""
    with state.reading() as store:
        return look_at_machine(None, (), store=store)


def facts(name: str | None) -> tuple[Gpu, ...]:
    """The accelerators that `name` may mean, or all. Raises UserError with near names."""
    if name is None:
        return tuple(gpus().values())
    found = gpu_readings(name)
    if not found:
        near = ", ".join(near_gpus(name))
        raise UserError(
            f"no accelerator {name!r} in gpuplan's data", hint=f"near: {near}" if near else "gpuplan gpus --known"
        )
    return found
