"""Puts one or two observations into the document that gpuplan reads. It decides what is a line, and says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Sequence

from .categories import KEPT
from .compare import difference_between
from .envelope import Line, line_through
from .moments import find_moments, most_at_once
from .notes import notes_of
from .stream import stream_of
from .stretch import Stretch, stretch_of
from .totals import by_class, by_kernel, precision_of

if TYPE_CHECKING:
    from .observe import Observation

__all__ = ["document_of"]

SAVED = frozenset(("parameters", "optimizer"))


def document_of(observations: Sequence[Observation], *, workdir: str) -> Dict[str, Any]:
    """Both as one trace of lines, or each by itself where they differ."""
    stretches = [stretch_of(observation) for observation in observations]
    difference = difference_between(observations, stretches)
    groups: List[Sequence[Observation]] = [observations] if difference is None else [[one] for one in observations]
    return {"difference": difference, "traces": [_trace(group, workdir) for group in groups]}


def _trace(observations: Sequence[Observation], workdir: str) -> Dict[str, Any]:
    last = observations[-1]
    batches = [observation.batch for observation in observations]
    stretches = [stretch_of(observation) for observation in observations]
    lines = _lines(batches, [stretch.sizes for stretch in stretches])
    stretch = _with_inputs(stretches[-1], lines, several=len(batches) > 1)
    deeds = [observation.deeds for observation in observations]
    return {
        "batches": batches,
        "parameters": last.parameters,
        "trainable": last.trainable,
        "gradient_bytes": list(most_at_once(stretch, lines, category="gradients")),
        "checkpoint_bytes": _checkpoint_bytes(stretch),
        "precision": precision_of(last.deeds),
        "moments": find_moments(stretch, lines, batch=last.batch),
        "operators": by_class(deeds, batches),
        "kernels": by_kernel(deeds, batches),
        "stream": _stream(observations, stretch, lines),
        "sites": last.sites,
        "steps": last.steps,
        "unknown": last.kernels,
        "world_size": last.world_size,
        "assumptions": notes_of(last, workdir=workdir),
    }


def _lines(batches: Sequence[int], sizes: Sequence[Sequence[int]]) -> List[Line]:
    return [line_through(batches, same) for same in zip(*sizes)]  # noqa: B905  Python 3.9


def _with_inputs(stretch: Stretch, lines: Sequence[Line], *, several: bool) -> Stretch:
    """What was there and is nobody's is an input, unless two batches show that it does not grow."""

    def settle(number: int, category: str) -> str:
        if category != KEPT:
            return category
        return "buffers" if several and lines[number].slope == 0 else "inputs"

    return stretch._replace(categories=[settle(*pair) for pair in enumerate(stretch.categories)])


def _checkpoint_bytes(stretch: Stretch) -> Dict[str, int]:
    """What a program would save of each kind."""
    saved = {"parameters": 0, "optimizer": 0, "buffers": sum(stretch.sizes[number] for number in stretch.persistent)}
    for number in range(stretch.kept):
        if stretch.categories[number] in SAVED:
            saved[stretch.categories[number]] += stretch.sizes[number]
    return saved


def _stream(observations: Sequence[Observation], stretch: Stretch, lines: Sequence[Line]) -> Dict[str, Any]:
    """The whole history where it is the same at both batches, else the step alone."""
    last = observations[-1]
    if all(observation.events == last.events for observation in observations):
        marks = [[0, "build"], [last.start, "step"], *last.phases]
        whole = _lines([one.batch for one in observations], [one.sizes[: len(last.sizes)] for one in observations])
        made = sum(event > 0 for event in last.events)
        return {"whole": True, **stream_of(last.events, whole[:made], last.categories[:made], marks=marks)}
    before = [number + 1 for number in range(stretch.kept)]
    marks = [[0, "kept"], *([event + stretch.kept, phase] for event, phase in stretch.phases)]
    return {"whole": False, **stream_of(before + stretch.events, lines, stretch.categories, marks=marks)}
