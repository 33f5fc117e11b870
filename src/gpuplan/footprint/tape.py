"""Automatic differentiation of sizes: it runs a model as PyTorch would, on tensors that are nothing but their bytes.

Storages live as PyTorch's do: as long as a variable of the program or a node of the backward pass refers to them.
It computes no values, and it knows no model.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING, Literal, NamedTuple

from gpuplan.model import Component, Line, Moment

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Node", "Storage", "Tape", "Tensor", "Weight", "Work", "give", "gradient_of", "hand_on", "make_gradients"]

Phase = Literal["forward", "backward", "optimizer"]
Rule = Callable[["Tape", "Node"], None]
"""How a node hands the gradient of its output on to its inputs."""


Event = tuple[str, float, float]
"""A component, and the bytes of it that come (or go, if negative): so many, and so many more for each row."""


class Storage:
    """Bytes that come with this object and go with it."""

    __slots__ = ("component", "events", "fixed", "slope")

    def __init__(self, events: list[Event], component: str, fixed: float, slope: float) -> None:
        self.events, self.component, self.fixed, self.slope = events, component, fixed, slope
        events.append((component, fixed, slope))

    def __del__(self) -> None:
        self.events.append((self.component, -self.fixed, -self.slope))


class Node:
    """One step of the backward pass: how it hands its output's gradient on, and what it saved to do so.

    A gradient of its output has `fixed` elements and `slope` more a row, of `size` bytes, and counts for `component`.
    """

    __slots__ = ("component", "fixed", "gradient", "inputs", "kernels", "rule", "saved", "size", "slope", "work")

    def __init__(self, rule: Rule, inputs: tuple[Node, ...], saved: tuple[Storage | None, ...]) -> None:
        self.rule, self.inputs, self.saved = rule, inputs, saved
        self.gradient: list[Storage] = []
        self.work: Work = NO_WORK
        self.component = "work"
        self.kernels = 0
        self.fixed = self.slope = 0.0
        self.size = 0


class Tensor:
    """Elements of one row (`slope`) or of all rows together (`fixed`), of `size` bytes each, and what made it."""

    __slots__ = ("fixed", "node", "size", "slope", "storage")

    def __init__(self, storage: Storage | None, fixed: float, slope: float, size: int, node: Node | None) -> None:
        self.storage, self.fixed, self.slope, self.size, self.node = storage, fixed, slope, size, node
        if node is not None:
            node.fixed, node.slope, node.size = fixed, slope, size

    def share(self) -> None:
        """From now on its gradient is one for all the layers that read it."""
        if self.node is not None:
            self.node.component = "shared"


class Weight(Tensor):
    """A parameter of the model. One that is trained has a node, which takes its gradient."""

    __slots__ = ()

    def __init__(self, elements: float, size: int, *, trained: bool) -> None:
        super().__init__(None, elements, 0.0, size, Node(hand_on, (), ()) if trained else None)
        if self.node is not None:
            self.node.component = "gradients"


class Work(NamedTuple):
    """Bytes that a backward kernel holds while it runs."""

    fixed: float = 0.0
    slope: float = 0.0


NO_WORK = Work()


class Swept(NamedTuple):
    """Bytes that elementwise kernels read and write, those more for each row, and how many such kernels there are."""

    fixed: float
    slope: float
    kernels: float


class Tape:
    """A step under way: its events so far, and the nodes of its backward pass in the order they were made."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.nodes: list[Node] = []
        self.phases: list[tuple[int, Phase]] = [(0, "forward")]
        self.recording = True
        self.fixed = self.slope = self.kernels = 0.0

    def hold(self, component: str, *, fixed: float = 0.0, slope: float = 0.0) -> Storage:
        """Bytes until the caller lets go of them."""
        return Storage(self.events, component, fixed, slope)

    def make(
        self, inputs: Iterable[Tensor], slope: float, size: int, *,
        saved: tuple[Storage | None, ...] = (), keeps_output: bool = False, rule: Rule | None = None,
        work: Work = NO_WORK, fixed: float = 0.0, component: str = "activations", kernels: int = 1,
    ) -> Tensor:  # fmt: skip
        """The output of an operator with a storage of its own; `rule` is by default a new gradient for each input.

        `kernels` are elementwise ones, forward and again backward; 0 for a product, which counts elsewhere.
        """
        made = Tensor(Storage(self.events, component, fixed * size, slope * size), fixed, slope, size, None)
        if kernels:
            self.sweep((made, *inputs), kernels)
        self.link(made, inputs, saved=(*saved, made.storage) if keeps_output else saved, rule=rule, work=work)
        if made.node is not None:
            made.node.kernels = kernels
            if component == "logits":
                made.node.component = component
        return made

    def sweep(self, tensors: Iterable[Tensor | Node], kernels: int = 1) -> None:
        """Elementwise kernels that read or write each of these once."""
        for tensor in tensors:
            self.fixed += tensor.fixed * tensor.size
            self.slope += tensor.slope * tensor.size
        self.kernels += kernels

    @property
    def swept(self) -> Swept:
        """What elementwise kernels have done so far."""
        return Swept(self.fixed, self.slope, self.kernels)

    def repeat(self, since: Swept, times: int) -> None:
        """All that they have done `since`, so many times more."""
        self.fixed += times * (self.fixed - since.fixed)
        self.slope += times * (self.slope - since.slope)
        self.kernels += times * (self.kernels - since.kernels)

    def view(self, source: Tensor, *, slope: float | None = None, rule: Rule | None = None) -> Tensor:
        """`source` in another shape, or a part of it: the same storage."""
        made = Tensor(source.storage, source.fixed, source.slope if slope is None else slope, source.size, None)
        return self.link(made, (source,), rule=rule or hand_on)

    def link(
        self, made: Tensor, inputs: Iterable[Tensor], *,
        saved: tuple[Storage | None, ...] = (), rule: Rule | None = None, work: Work = NO_WORK,
    ) -> Tensor:  # fmt: skip
        """Note how gradients come from `made` to those of its inputs that want one."""
        wanting = tuple(tensor.node for tensor in inputs if tensor.node is not None)
        if wanting:
            node = made.node = Node(rule or make_gradients, wanting, saved if self.recording else ())
            node.fixed, node.slope, node.size, node.work = made.fixed, made.slope, made.size, work
            if self.recording:
                self.nodes.append(node)
        return made

    def begin(self, phase: Phase) -> None:
        """From the next event on it is `phase`."""
        self.phases.append((len(self.events), phase))

    def backward(self) -> None:
        """Run all nodes, the last made first; the last has got its gradient already."""
        while self.nodes:
            node = self.nodes.pop()
            if node.gradient:
                node.rule(self, node)
                node.gradient.clear()
            node.saved, node.inputs, node.rule = (), (), hand_on

    def moments(self, always: dict[Component, Line], names: dict[str, Component]) -> tuple[Moment, ...]:
        """The instants that are the peak for some micro-batch from 1 on, each with what is `always` there."""
        return tuple(self._moment(index, always, names) for index in sorted(_upper(_totals(self.events))))

    def _moment(self, index: int, always: dict[Component, Line], names: dict[str, Component]) -> Moment:
        fixed: dict[Component, float] = {name: line.intercept for name, line in always.items()}
        slope: dict[Component, float] = {name: line.slope for name, line in always.items()}
        for component, event_fixed, event_slope in self.events[: index + 1]:
            name = names[component]
            fixed[name] = fixed.get(name, 0.0) + event_fixed
            slope[name] = slope.get(name, 0.0) + event_slope
        phase = next(phase for start, phase in reversed(self.phases) if start <= index)
        lines = {name: Line(intercept=max(fixed[name], 0.0), slope=max(slope[name], 0.0)) for name in fixed}
        return Moment(phase=phase, alive_bytes=lines)


def hand_on(tape: Tape, node: Node) -> None:
    """The gradient of a sum, or of a view, is its inputs' gradient."""
    gradient = node.gradient[0]
    for source in node.inputs:
        give(tape, source, gradient)


def make_gradients(tape: Tape, node: Node) -> None:
    """Each input gets a gradient of its own shape; all are there before what was saved goes."""
    work = tape.hold("work", fixed=node.work.fixed, slope=node.work.slope) if node.work is not NO_WORK else None
    made = [gradient_of(tape, source) for source in node.inputs]
    del work
    if node.kernels:
        _sweep_back(tape, node)
    node.gradient.clear()
    node.saved = ()
    for source in node.inputs:
        give(tape, source, made.pop(0))


def _sweep_back(tape: Tape, node: Node) -> None:
    """A backward kernel reads the gradient and what was saved, and writes the gradients of the inputs."""
    tape.sweep((node, *node.inputs), node.kernels)
    for storage in node.saved:
        if storage is not None:
            tape.fixed += storage.fixed
            tape.slope += storage.slope


def gradient_of(tape: Tape, node: Node) -> Storage:
    """A new gradient of what `node` made."""
    return Storage(tape.events, node.component, node.fixed * node.size, node.slope * node.size)


def give(tape: Tape, node: Node, gradient: Storage) -> None:
    """Add `gradient` to what `node` has got; a second one is added in place, a weight's into a third."""
    if not node.gradient:
        node.gradient.append(gradient)
        return
    tape.sweep((node, node, node))
    if node.component == "gradients":
        node.gradient[0] = gradient_of(tape, node)


Total = tuple[float, float, int]
"""Bytes alive, so many more a row, and after which event."""


def _totals(events: list[Event]) -> list[Total]:
    """Where something goes next: between two of these instants there is never more."""
    fixed = slope = 0.0
    totals: list[Total] = []
    rising = True
    for index, (_, event_fixed, event_slope) in enumerate(events):
        falls = event_fixed < 0 or event_slope < 0
        if falls and rising:
            totals.append((fixed, slope, index - 1))
        rising = not falls
        fixed += event_fixed
        slope += event_slope
    return [*totals, (fixed, slope, len(events) - 1)]


def _upper(totals: list[Total]) -> list[int]:
    """After which events there is the most for some batch from 1 on."""
    hull: list[Total] = []
    for one in sorted(totals, key=itemgetter(1, 0)):
        while hull and hull[-1][0] + hull[-1][1] <= one[0] + one[1]:
            hull.pop()
        while len(hull) > 1 and _meet(hull[-2], one) <= _meet(hull[-2], hull[-1]):
            hull.pop()
        if not hull or one[1] > hull[-1][1]:
            hull.append(one)
    return [index for _, _, index in hull]


def _meet(flat: Total, steep: Total) -> float:
    """The batch at which the steeper line overtakes."""
    return (flat[0] - steep[0]) / (steep[1] - flat[1])
