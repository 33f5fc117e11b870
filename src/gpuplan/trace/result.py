"""A trace as values: the footprint, what is behind its peak, what was assumed. It never runs anything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from gpuplan.footprint.replay import replay
from gpuplan.model import Component, Footprint, Line, Moment, Operators

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuplan.footprint.replay import Replayed

__all__ = ["Behind", "Kernel", "Part", "Peak", "Place", "Stream", "Traced", "read_document"]


CUBLAS_BYTES = (2 * 4096 + 8 * 16) * 1024
"""The workspace that cuBLAS is given for the life of the process, one for the program's thread and one for autograd's:
ATen/cuda/CublasHandlePool.cpp, torch 2.11, seen in November 2026 (a GPU of compute capability 9.0 gets 32 MiB)."""


class Place(NamedTuple):
    """A line of a file."""

    path: str
    line: int
    function: str


class Behind(NamedTuple):
    """Tensors that one operator at one place made, and that are alive at a moment."""

    component: Component
    operator: str
    tensors: int
    alive_bytes: Line
    shape: tuple[int, ...]
    dtype: str
    place: Place | None
    library: Place | None


class Peak(NamedTuple):
    """A moment that can be the peak, and its largest tensors; those of parameters, gradients and optimizer left out."""

    moment: Moment
    behind: tuple[Behind, ...]


class Kernel(NamedTuple):
    """Kernels that are alike: each does this much, and it runs `times` times."""

    kind: str
    name: str
    dtype: str
    flops: Line
    moved_bytes: Line
    kernels: int
    times: int


class Stream(NamedTuple):
    """Allocations and frees in order, for a model of the allocator.

    Allocation n has the size `lines[line_of[n]]` and is for `components[component_of[n]]`. In `events`, 0 is the next
    allocation and k > 0 frees the k-th last one made. `marks` are (event, what begins there); `whole` says that it
    begins with the process, not with the step.
    """

    lines: tuple[Line, ...]
    line_of: tuple[int, ...]
    components: tuple[str, ...]
    component_of: tuple[int, ...]
    events: tuple[int, ...]
    marks: tuple[tuple[int, str], ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class Part:
    """What holds at the batches of one trace: at every batch if there are two, at this one if it is alone."""

    batches: tuple[int, ...]
    footprint: Footprint
    peaks: tuple[Peak, ...]
    kernels: tuple[Kernel, ...]
    stream: Stream
    assumptions: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    """Kernels of other libraries: what they allocate while they run is not in the footprint."""


@dataclass(frozen=True, slots=True)
class Traced:
    """The answer. `parts` has one entry if every quantity is a line in the batch, else one for each traced batch."""

    target: str
    parts: tuple[Part, ...]
    difference: str | None
    versions: Mapping[str, str]
    on_gpu: bool
    duration_s: float
    from_cache: bool

    @property
    def is_linear(self) -> bool:
        """Whether the footprint holds at every batch."""
        return self.difference is None and len(self.parts[0].batches) > 1

    @property
    def footprint(self) -> Footprint:
        """Of every batch, or of the first traced one."""
        return self.parts[0].footprint

    @property
    def peaks(self) -> tuple[Peak, ...]:
        """The moments of the footprint with what is behind them."""
        return self.parts[0].peaks

    @property
    def stream(self) -> Stream:
        """The allocations and frees of the footprint."""
        return self.parts[0].stream

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels of the footprint."""
        return self.parts[0].kernels

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the trace could not know."""
        return self.parts[0].assumptions

    def at(self, batch: int) -> Footprint | None:
        """The footprint that holds at `batch`; None if that batch has to be traced by itself."""
        part = self.part(batch)
        return part.footprint if part else None

    def reserved(
        self, batch: int, *, expandable_segments: bool = False, room_bytes: int | None = None
    ) -> Replayed | None:
        """What the caching allocator holds for these steps at `batch`, on a GPU with `room_bytes` for it (bytes).

        None on a CPU, which has no such allocator, and for a batch that has to be traced by itself.
        """
        part = self.part(batch)
        if part is None or not self.on_gpu:
            return None
        kept = [CUBLAS_BYTES] * 2 if any(kernel.kind == "matmul" for kernel in part.kernels) else []
        sizes = [round(line.at(batch)) for line in part.stream.lines]
        return replay(
            kept + [sizes[index] for index in part.stream.line_of],
            [0] * len(kept) + list(part.stream.events),
            expandable_segments=expandable_segments,
            room_bytes=room_bytes,
        )

    def part(self, batch: int) -> Part | None:
        """All that holds at `batch`; None if that batch has to be traced by itself."""
        if self.is_linear:
            return self.parts[0]
        return next((part for part in self.parts if batch in part.batches), None)

    def beside(self, other: Traced) -> Traced:
        """This one, and at its batches the other."""
        return replace(self, parts=(*self.parts, *other.parts))


def read_document(document: Mapping[str, Any], *, target: str, from_cache: bool, duration_s: float) -> Traced:
    """The child's document as values."""
    versions = document["versions"]
    return Traced(
        target=target,
        parts=tuple(_part(trace, target, document) for trace in document["traces"]),
        difference=document["difference"],
        versions=versions,
        on_gpu=document["gpu"],
        duration_s=duration_s,
        from_cache=from_cache,
    )


def _part(trace: Mapping[str, Any], target: str, document: Mapping[str, Any]) -> Part:
    versions: Mapping[str, str] = document["versions"]
    peaks = tuple(_peak(moment, trace["sites"]) for moment in trace["moments"])
    batches = tuple(trace["batches"])
    footprint = Footprint(
        source="traced",
        because=_because(target, batches, versions),
        parameters=trace["parameters"],
        gradient_bytes=round(_line(trace["gradient_bytes"]).at(batches[-1])),
        checkpoint_bytes=sum(trace["checkpoint_bytes"].values()),
        operators=tuple(_operators(fields) for fields in trace["operators"]),
        moments=tuple(peak.moment for peak in peaks),
        precision=trace["precision"],
        trainable=trace["trainable"],
        world_size=trace["world_size"],
        versions=dict(versions),
        reserved_bytes={int(batch): held for batch, held in document.get("reserved_bytes", {}).items()},
    )
    kernels = tuple(_kernel(row) for row in trace["kernels"])
    notes, unknown = tuple(trace["assumptions"]), tuple(trace["unknown"])
    return Part(batches, footprint, peaks, kernels, _stream(trace["stream"]), notes, unknown)


def _because(target: str, batches: tuple[int, ...], versions: Mapping[str, str]) -> str:
    known = ", ".join(f"{name} {version}" for name, version in versions.items() if name != "python")
    where = " and ".join(str(batch) for batch in batches)
    return f"{target} was traced at batch {where} with {known}"


def _peak(moment: Mapping[str, Any], sites: Sequence[Any]) -> Peak:
    alive = {name: _line(line) for name, line in moment["alive"].items()}
    behind = tuple(_behind(group, sites) for group in moment["behind"])
    return Peak(Moment.model_validate({"phase": moment["phase"], "alive_bytes": alive}), behind)


def _behind(group: Mapping[str, Any], sites: Sequence[Any]) -> Behind:
    user, library, _ = sites[group["site"]]
    return Behind(
        component=group["component"],
        operator=group["operator"],
        tensors=group["count"],
        alive_bytes=_line(group["bytes"]),
        shape=tuple(group["shape"]),
        dtype=group["dtype"],
        place=Place(*user) if user else None,
        library=Place(*library) if library else None,
    )


def _operators(fields: Mapping[str, Any]) -> Operators:
    lines = {name: _line(fields[name]) for name in ("flops", "moved_bytes")}
    return Operators(kind=fields["kind"], kernels=fields["kernels"], **lines)


def _kernel(row: Sequence[Any]) -> Kernel:
    kind, name, dtype, flops, moved, kernels, count = row
    return Kernel(kind, name, dtype, _line(flops), _line(moved), kernels, count)


def _stream(fields: Mapping[str, Any]) -> Stream:
    return Stream(
        lines=tuple(_line(line) for line in fields["lines"]),
        line_of=tuple(fields["line_of"]),
        components=tuple(fields["components"]),
        component_of=tuple(fields["component_of"]),
        events=tuple(fields["events"]),
        marks=tuple((event, name) for event, name in fields["marks"]),
        whole=fields["whole"],
    )


def _line(pair: Sequence[float]) -> Line:
    return Line(intercept=pair[0], slope=pair[1])
