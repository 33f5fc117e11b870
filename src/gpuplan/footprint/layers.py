"""Layers that are all alike on a tape of sizes: the first and the last are run, those between are counted from them.

Also what a checkpointed layer does: it runs twice, and keeps only its input until then. It knows no operator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuplan.footprint.tape import Node, Swept, Tape, Tensor, give

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuplan.footprint.blocks import Kit

__all__ = ["checkpointed", "run_layers"]


def run_layers(kit: Kit, layer: Callable[[Tensor], Tensor], hidden: Tensor, count: int) -> Tensor:
    """`hidden` after `count` layers."""
    hidden = layer(hidden)
    if count == 1:
        return hidden
    tape, between = kit.tape, count - 2
    before_last: list[tuple[int, Swept]] = []
    if between:
        hidden = tape.view(hidden, rule=_Between(between, before_last).backward)
    start, swept = len(tape.events), tape.swept
    hidden = layer(hidden)
    if between:
        tape.repeat(swept, between)
        _insert(tape, start, between, without="casts" if kit.checkpointing else "")
        if kit.checkpointing:
            kit.keep_casts(between * sum(fixed for name, fixed, _ in tape.events[start:] if name == "casts"))
        hidden = tape.view(hidden, rule=_Mark(before_last).backward)
    return hidden


def checkpointed(kit: Kit, layer: Callable[[Tensor], Tensor], hidden: Tensor) -> Tensor:
    """The layer's output; what it saves is not kept but made again in the backward pass (torch.utils.checkpoint)."""
    tape = kit.tape
    tape.recording = False
    made = layer(hidden)
    tape.recording = True
    if made.node is not None:
        made.node.rule = _Recompute(kit, layer, hidden).backward
        tape.nodes.append(made.node)
    return made


class _Recompute:
    """A layer's input, from which the backward pass starts its forward pass again."""

    __slots__ = ("hidden", "kit", "layer")

    def __init__(self, kit: Kit, layer: Callable[[Tensor], Tensor], hidden: Tensor) -> None:
        self.kit, self.layer, self.hidden = kit, layer, hidden

    def backward(self, tape: Tape, node: Node) -> None:
        """Forward, then backward of this layer alone."""
        outside, tape.nodes = tape.nodes, []
        casts, self.kit.casts = self.kit.casts, {}
        made = self.layer(self.hidden)
        self.kit.casts = casts
        assert made.node is not None
        give(tape, made.node, node.gradient.pop())
        del made
        tape.backward()
        tape.nodes = outside


class _Mark:
    """Where the last layer's backward pass begins."""

    __slots__ = ("at",)

    def __init__(self, at: list[tuple[int, Swept]]) -> None:
        self.at = at

    def backward(self, tape: Tape, node: Node) -> None:
        self.at.append((len(tape.events), tape.swept))
        give(tape, node.inputs[0], node.gradient[0])


class _Between:
    """The backward pass of the layers between: each does what the last one did, but for what all of them share."""

    __slots__ = ("at", "times")

    def __init__(self, times: int, at: list[tuple[int, Swept]]) -> None:
        self.times, self.at = times, at

    def backward(self, tape: Tape, node: Node) -> None:
        start, swept = self.at[0]
        tape.repeat(swept, self.times)
        _insert(tape, start, self.times, at=len(tape.events))
        give(tape, node.inputs[0], node.gradient[0])


def _insert(tape: Tape, start: int, times: int, *, at: int | None = None, without: str = "") -> None:
    """What has changed since event `start`, so many times over, as one event a component; what goes, goes first."""
    fixed: dict[str, float] = {}
    slope: dict[str, float] = {}
    for component, event_fixed, event_slope in tape.events[start:]:
        fixed[component] = fixed.get(component, 0.0) + event_fixed
        slope[component] = slope.get(component, 0.0) + event_slope
    made = [
        (name, times * fixed[name], times * slope[name])
        for name in fixed
        if name not in {"shared", without} and (fixed[name] or slope[name])
    ]
    place = start if at is None else at
    tape.events[place:place] = sorted(made, key=lambda event: (event[1], event[2]))
