"""Check of the disk: all checkpoints and outputs of the runs still to do have to find room. It never asks the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.units import format_bytes, format_range
from gpuplan.verify.case import who

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.model import Finding, Quantity
    from gpuplan.verify.case import Case

__all__ = ["checkpoints_fit"]


class Room(NamedTuple):
    """Bytes that may be filled, and whose they are."""

    free_bytes: int
    where: str
    at: str


def checkpoints_fit(case: Case) -> Iterator[Finding]:
    """What the runs still to do leave on disk against what is free: over at p50 an error, at p90 a warning.

    Where the spec says nothing of checkpoints, that they are saved at all is assumed: then p10 has to be over.
    """
    needs = {run.name: case.estimates[run.name][0].disk_bytes for run in case.todo if run.name in case.estimates}
    total_p50, total_p90 = sum(need.p50 for need in needs.values()), sum(need.p90 for need in needs.values())
    is_said = bool(case.experiment.checkpoint.model_fields_set)
    decisive = total_p50 if is_said else sum(need.p10 for need in needs.values())
    for room in _rooms(case):
        if total_p90 > room.free_bytes:
            is_over = decisive > room.free_bytes
            runs = [run for run in case.todo if run.name in needs]
            largest = max(needs.values(), key=lambda need: need.p50)
            yield case.finding(
                "error" if is_over else "warning",
                "disk",
                message=f"{_sum(needs)} of {format_bytes(room.free_bytes)} {room.where}",
                because=f"{who(runs, total=len(case.runs))}; {largest.because}",
                fix=_fix(case, room),
                at=room.at,
            )


def _rooms(case: Case) -> Iterator[Room]:
    compute = case.experiment.compute
    if "local" in compute.on:
        yield Room(case.world.disk_free_bytes, "free on this machine", "checkpoint")
    if compute.disk is not None:
        yield Room(compute.disk, "in `compute.disk`", "compute.disk")


def _sum(needs: dict[str, Quantity]) -> str:
    """`10 runs x 18.3 GiB = 183 GiB`, with the interval where there is one."""
    sizes = {format_bytes(need.p50) for need in needs.values()}
    each = next(iter(sizes)) if len(sizes) == 1 else f"{_least(needs)} to {_most(needs)}"
    ends = [format_bytes(sum(getattr(need, end) for need in needs.values())) for end in ("p10", "p50", "p90")]
    return f"{len(needs):,} run{'s' * (len(needs) != 1)} x {each} = {format_range(*ends)}"


def _least(needs: dict[str, Quantity]) -> str:
    return format_bytes(min(need.p50 for need in needs.values()))


def _most(needs: dict[str, Quantity]) -> str:
    return format_bytes(max(need.p50 for need in needs.values()))


def _fix(case: Case, room: Room) -> str:
    keep = case.experiment.checkpoint.keep
    fewer = "`checkpoint: {keep: 1}`" if keep is None or keep > 1 else "save less"
    larger = "a larger `compute.disk`" if room.at == "compute.disk" else "free some disk"
    return f"{fewer}, and the like in the program (`--save_total_limit 1`); or {larger}"
