"""The machine we are on as an offer, at the price of its electricity. It looks at nothing: the machine is handed in."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.model import Offer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.model import Compute, Machine
    from gpuplan.offers.base import Item

__all__ = ["Local", "own_machine"]


class Local(NamedTuple):
    """`power_w` is what the whole machine draws under load; without it and a price of electricity it costs nothing."""

    machine: Machine
    disk_bytes: int | None = None
    power_w: float | None = None
    electricity_usd_per_kwh: float | None = None
    name: str = "this machine"

    def items(self) -> Iterator[Item]:
        """One offer for each kind of device; a share of the power goes with each device."""
        kinds = Counter(device.gpu for device in self.machine.devices)
        for number, (gpu, count) in enumerate(kinds.items()):
            yield Offer(
                id="local" if number == 0 else f"local/{gpu}",
                place="local",
                gpu=gpu,
                gpu_count=count,
                price_usd_per_h=self._usd_per_h() * count / len(self.machine.devices),
                available=1,
                spot=False,
                vcpus=self.machine.cores,
                host_memory_bytes=self.machine.memory_bytes,
                disk_bytes=self.disk_bytes,
                as_of="now",
                source="this machine",
                notes="" if self.power_w and self.electricity_usd_per_kwh else "electricity is not counted",
            )

    def _usd_per_h(self) -> float:
        return (self.power_w or 0.0) / 1000 * (self.electricity_usd_per_kwh or 0.0)


def own_machine(machine: Machine, compute: Compute | None = None, *, disk_bytes: int | None = None) -> Local:
    """The machine with what the spec says of its electricity."""
    if compute is None:
        return Local(machine, disk_bytes)
    return Local(machine, disk_bytes, compute.power_w, compute.electricity_usd_per_kwh)
