"""Runs the user's step until it changes nothing for good, and notes the last time. It draws no conclusion."""

from __future__ import annotations

import gc
from collections import Counter
from typing import TYPE_CHECKING, Any, Callable, Dict, List, NamedTuple

import torch

from .categories import Spans, Step, categorize
from .failures import RefusedError
from .owners import Owners
from .phases import FORWARD
from .state import STATE
from .target import make_step
from .work import Work

if TYPE_CHECKING:
    from .session import Session

__all__ = ["Observation", "observe"]

MOST_STEPS = 4


class Observation(NamedTuple):
    """One step at one batch. Lists run along the allocations, the events or the deeds of the whole trace."""

    batch: int
    sizes: List[int]
    categories: List[str]
    labels: List[List[Any]]
    events: List[int]
    start: int
    end: int
    phases: List[List[Any]]
    deeds: List[List[Any]]
    steps: int
    leak_bytes: int
    cycle_bytes: int
    host_bytes: int
    parameters: int
    trainable: int
    persistent: List[int]
    guesses: Dict[str, int]
    attention: Dict[str, int]
    notes: List[str]
    kernels: List[str]
    world_size: int
    sites: List[Any]


def observe(
    session: Session, function: Callable[[Dict[str, Any]], Any], settings: Dict[str, Any], batch: int
) -> Observation:
    """Make the step and run it."""
    # What only the garbage collector frees may as well stay: when it comes is chance in the real program too.
    gc.disable()
    session.stage = "make"
    step = make_step(function, settings)
    session.stage = "step"
    runner = _Runner(session)
    for _ in range(MOST_STEPS):
        runner.run(step)
        if runner.is_steady:
            break
    if STATE.gpu and not session.ledger.allocations:
        raise RefusedError("no_gpu", "nothing that it makes goes to the GPU")
    return runner.observation(batch)


class _Runner:
    """The steps so far."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.ledger = session.ledger
        self.owners = Owners(self.ledger)
        self.steps = 0
        self.start = 0
        self.before: Counter[int] = Counter()
        self.after: Counter[int] = Counter()
        self.freed_late = 0

    @property
    def is_steady(self) -> bool:
        """Whether the last step left as much as it found: an optimizer's first step leaves its states."""
        return self.before == self.after

    def run(self, step: Callable[[], Any]) -> None:
        """One step."""
        session = self.session
        self.owners = session.census.owners(self.ledger)
        session.watch(self.owners)
        session.dispatch.work = Work()
        session.dispatch.guesses.clear()
        session.functions.attention.chosen.clear()
        self.before = self._alive()
        session.clock.enter(FORWARD)
        self.start = len(self.ledger.events)
        step()
        self.end = len(self.ledger.events)
        with_cycles = self.ledger.alive_bytes
        gc.collect()
        self.freed_late = with_cycles - self.ledger.alive_bytes
        self.owners.see_gradients()
        self.after = self._alive()
        self.steps += 1

    def observation(self, batch: int) -> Observation:
        """All that the last step showed."""
        session, ledger = self.session, self.ledger
        spans = Spans(session.clock.marks, start=self.start)
        work = session.dispatch.work
        step = Step(self.start, spans, _ends(ledger.events), work.classes)
        return Observation(
            batch=batch,
            sizes=[allocation.size_bytes for allocation in ledger.allocations],
            categories=categorize(ledger.allocations, self.owners, session.sites.table, step=step),
            labels=[[one.operator, list(one.shape), one.dtype, one.site] for one in ledger.allocations],
            events=ledger.events[: self.end],
            start=self.start,
            end=self.end,
            phases=[[event, phase] for event, phase in zip(spans.events, spans.phases)],  # noqa: B905  Python 3.9
            deeds=[[*deed._replace(kind=_kind(deed.kind, spans.at(deed.event)))] for deed in work.deeds],
            steps=self.steps,
            leak_bytes=0 if self.is_steady else sum(self.after.elements()) - sum(self.before.elements()),
            cycle_bytes=self.freed_late,
            host_bytes=ledger.host_bytes,
            parameters=_count(self.owners, trainable=False),
            trainable=_count(self.owners, trainable=True),
            persistent=sorted(self.owners.persistent),
            guesses={str(site): count for site, count in session.dispatch.guesses.items()},
            attention=dict(session.functions.attention.chosen),
            notes=sorted(STATE.notes),
            kernels=sorted(STATE.kernels),
            world_size=_world_size(),
            sites=session.sites.table,
        )

    def _alive(self) -> Counter[int]:
        return Counter(self.ledger.allocations[number].size_bytes for number in self.ledger.alive())


def _world_size() -> int:
    """Of the group that the program made; 1 if it made none."""
    distributed = torch.distributed
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def _kind(kind: str, phase: str) -> str:
    return "optimizer" if phase == "optimizer" else kind


def _ends(events: List[int]) -> Dict[int, int]:
    """When each allocation that is gone went."""
    return {-event - 1: index for index, event in enumerate(events) if event < 0}


def _count(owners: Owners, *, trainable: bool) -> int:
    """Elements of the parameters, each once."""
    distinct = {id(parameter): parameter for parameter in owners.parameters}
    return sum(one.numel() for one in distinct.values() if one.requires_grad or not trainable)
