"""Differentiation of sizes: what lives when, by hand; and layers that are counted against layers that are run."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from footprint_models import gpt2, llama_1b

from gpuplan.footprint.blocks import Kit
from gpuplan.footprint.dimensions import dimensions_of
from gpuplan.footprint.layers import checkpointed, run_layers
from gpuplan.footprint.moments import COMPONENTS
from gpuplan.footprint.programs import Program
from gpuplan.footprint.tape import Tape, Tensor, Weight

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuplan.model import Architecture, Moment


def alive(tape: Tape) -> tuple[float, float]:
    return sum(event[1] for event in tape.events), sum(event[2] for event in tape.events)


def test_a_storage_lives_as_long_as_something_holds_it() -> None:
    tape = Tape()
    storage = tape.hold("activations", fixed=8.0, slope=4.0)
    assert alive(tape) == (8.0, 4.0)
    del storage
    assert alive(tape) == (0.0, 0.0)


def test_what_a_product_saves_lives_until_its_backward_pass() -> None:
    tape = Tape()
    weight = Weight(6.0, 4, trained=True)
    x = tape.make((), 3.0, 4)
    y = tape.make((x, weight), 2.0, 4, saved=(x.storage,))
    del x
    assert alive(tape) == (0.0, 4 * (3.0 + 2.0))
    assert y.node is not None
    y.node.gradient.append(tape.hold("work", slope=8.0))
    del y
    tape.backward()
    assert alive(tape) == (4 * 6.0, 0.0)  # the weight's gradient alone


def test_a_frozen_input_has_no_gradient_and_nothing_to_wait_for() -> None:
    tape = Tape()
    frozen = Weight(6.0, 4, trained=False)
    made = tape.make((frozen,), 2.0, 4, saved=(tape.hold("activations", slope=100.0),))
    assert made.node is None
    assert alive(tape) == (0.0, 8.0)


def test_a_weight_used_twice_has_its_gradients_added_into_a_third() -> None:
    tape = Tape()
    weight = Weight(10.0, 1, trained=True)
    first, second = (tape.make((weight,), 1.0, 1) for _ in range(2))
    for tensor in (first, second):
        assert tensor.node is not None
        tensor.node.gradient.append(tape.hold("work", slope=1.0))
    del first, second, tensor
    tape.backward()
    assert alive(tape) == (10.0, 0.0)
    totals = [sum(event[1] for event in tape.events[: index + 1]) for index in range(len(tape.events))]
    assert max(totals) == 30.0


def test_the_envelope_is_the_largest_of_all_instants() -> None:
    tape = Tape()
    flat = tape.hold("activations", fixed=1000.0)
    del flat
    steep = tape.hold("logits", slope=10.0)
    middle = tape.hold("work", fixed=50.0)
    del steep, middle
    moments = tape.moments({}, COMPONENTS)
    for batch in (1, 10, 95, 96, 1000):
        assert max(moment.total_bytes(batch) for moment in moments) == max(1000.0, 50.0 + 10.0 * batch)


@pytest.mark.parametrize("architecture", [gpt2(layers=6), llama_1b(layers=6), gpt2(layers=6, checkpointing=True)])
@pytest.mark.parametrize("autocast", [False, True])
def test_layers_between_are_counted_as_if_they_were_run(architecture: Architecture, *, autocast: bool) -> None:
    counted, run = (peaks(architecture, autocast=autocast, by_hand=by_hand) for by_hand in (False, True))
    for batch in (1, 4, 64, 1024):
        largest = [max(moment.total_bytes(batch) for moment in moments) for moments in (counted, run)]
        assert largest[0] == pytest.approx(largest[1], rel=1e-3)


def peaks(architecture: Architecture, *, autocast: bool, by_hand: bool) -> tuple[Moment, ...]:
    """Of forward and backward pass, with the layers one after the other if `by_hand`."""
    shape = dimensions_of(architecture, {}, sequence=None)
    tape = Tape()
    kit = Kit(tape, weight=4, autocast=autocast, dropout=False, runtime="gpu", trained=True,
              checkpointing=shape.checkpointing)  # fmt: skip
    program = Program(kit, shape)
    if by_hand:
        program = _ByHand(kit, shape)
    logits = program.logits()
    loss = kit.cross_entropy(logits)
    kit.end_autocast()
    tape.begin("backward")
    assert loss.node is not None
    loss.node.gradient.append(tape.hold("work"))
    del loss
    tape.backward()
    return tape.moments({}, COMPONENTS)


class _ByHand(Program):
    def _stack(self, hidden: Tensor, block: Callable[[Tensor], Tensor]) -> Tensor:
        layer = partial(checkpointed, self.kit, block) if self.shape.checkpointing else block
        for _ in range(self.shape.layers):
            hidden = layer(hidden)
        return hidden


def test_one_layer_and_two_have_none_between() -> None:
    tape = Tape()
    kit = Kit(tape, weight=4, autocast=False, dropout=False, runtime="gpu", trained=True, checkpointing=False)
    calls = []

    def layer(hidden: Tensor) -> Tensor:
        calls.append(hidden)
        return kit.scale(hidden)

    for count, run in ((1, 1), (2, 2), (3, 2), (100, 2)):
        calls.clear()
        run_layers(kit, layer, tape.make((), 1.0, 4), count)
        assert len(calls) == run
