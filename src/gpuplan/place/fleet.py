"""Machines being filled: loads, room and bills. Nothing here decides what goes where.

A machine is a vector of loads: wide gangs run first on aligned blocks, then narrower ones, so that no GPU waits.
Machines are values, so that a search can go back to any fleet that it has seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuplan.place.tables import Bundle, Lot, Tables

__all__ = ["Fleet", "Machine", "Spot", "widest_longest"]


class Spot(NamedTuple):
    """A place for a bundle on one machine: when it would end there, setup not counted, and its first GPU."""

    end_s: int
    gpu: int


class Machine:
    """One rented machine, the bundles on it and where each stands; never changed once made."""

    __slots__ = ("bundles", "cost_usd", "loads", "lot", "room_s", "span_s", "spots")

    def __init__(
        self,
        lot: Lot,
        room_s: float,
        *,
        loads: list[int],
        bundles: tuple[Bundle, ...] = (),
        spots: tuple[Spot, ...] = (),
    ) -> None:
        self.lot = lot
        self.room_s = room_s
        self.loads = loads
        self.bundles = bundles
        self.spots = spots
        self.span_s = max(loads)
        self.cost_usd = lot.cost_usd(self.span_s) if bundles else 0.0

    def spot(self, bundle: Bundle) -> Spot | None:
        """Where a bundle would end first on this machine, if there is room."""
        gpus, loads = bundle.gpus, self.loads
        if gpus == 1:
            load = min(loads)
            end_s = load + bundle.seconds
            return Spot(end_s, loads.index(load)) if end_s <= self.room_s else None
        if gpus > len(loads):
            return None
        load, gpu = min((max(loads[first : first + gpus]), first) for first in range(0, len(loads) - gpus + 1, gpus))
        end_s = load + bundle.seconds
        return Spot(end_s, gpu) if end_s <= self.room_s else None

    def plus(self, bundle: Bundle, spot: Spot) -> Machine:
        """With one more bundle, where `spot` said."""
        loads = self.loads.copy()
        for gpu in range(spot.gpu, spot.gpu + bundle.gpus):
            loads[gpu] = spot.end_s
        return Machine(self.lot, self.room_s, loads=loads, bundles=(*self.bundles, bundle), spots=(*self.spots, spot))

    def refilled(self, bundles: Iterable[Bundle]) -> Machine | None:
        """The same machine with these bundles instead, widest and longest first; None if they do not fit."""
        machine = Machine(self.lot, self.room_s, loads=[0] * self.lot.gpus)
        for bundle in sorted(bundles, key=widest_longest):
            spot = machine.spot(bundle)
            if spot is None:
                return None
            machine = machine.plus(bundle, spot)
        return machine

    def reordered(self) -> Machine:
        """Itself, or with its bundles widest and longest first, where that ends sooner."""
        if self.lot.gpus == 1:
            return self
        other = self.refilled(self.bundles)
        return other if other is not None and other.span_s < self.span_s else self


class Fleet:
    """All machines of a plan in the making, and what is left of each offer."""

    __slots__ = ("groups", "left", "machines", "rooms_s", "tables")

    def __init__(self, tables: Tables, deadline_s: float) -> None:
        self.tables = tables
        self.rooms_s = {lot.number: lot.room_s(deadline_s) for lot in tables.lots}
        self.left = {lot.number: lot.available for lot in tables.lots}
        self.groups: set[str] = set()
        self.machines: list[Machine] = []

    @property
    def cost_usd(self) -> float:
        """All bills; what runs cost beside machines is not among them."""
        return sum(machine.cost_usd for machine in self.machines)

    @property
    def end_s(self) -> int:
        """When the last run ends, on the plan's clock."""
        return max((one.lot.head_s + one.span_s for one in self.machines if one.bundles), default=0)

    def can_rent(self, lot: Lot) -> bool:
        """Whether one more machine of this offer can be had."""
        return self.left[lot.number] > 0 and (lot.group is None or lot.group not in self.groups)

    def empty(self, lot: Lot) -> Machine:
        """A machine of an offer, not rented yet."""
        return Machine(lot, self.rooms_s[lot.number], loads=[0] * lot.gpus)

    def rent(self, machine: Machine) -> None:
        """Take one more machine in."""
        self.left[machine.lot.number] -= 1
        if machine.lot.group is not None:
            self.groups.add(machine.lot.group)
        self.machines.append(machine)

    def without(self, gone: set[int]) -> Fleet:
        """A copy that lacks the machines at these positions."""
        fleet = Fleet.__new__(Fleet)
        fleet.tables, fleet.rooms_s = self.tables, self.rooms_s
        fleet.left, fleet.groups = dict(self.left), set(self.groups)
        fleet.machines = [machine for at, machine in enumerate(self.machines) if at not in gone]
        for at in gone:
            lot = self.machines[at].lot
            fleet.left[lot.number] += 1
            fleet.groups.discard(lot.group or "")
        return fleet


def widest_longest(bundle: Bundle) -> tuple[int, int, int]:
    """The order in which bundles fill a machine without gaps; ties by class, the same way each time."""
    return (-bundle.gpus, -bundle.seconds, bundle.job)
