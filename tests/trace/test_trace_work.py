"""FLOPs and bytes of steps that are counted by hand: what a tracer gets wrong that believes operators' schemas."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gpuplan.trace import trace

if TYPE_CHECKING:
    from gpuplan.model import Operators

PROGRAMS = Path(__file__).parent / "programs"
ROWS, FLOAT = 3, 4
WEIGHTS = 16 * 24 + 24 * 8


def operators(function: str, **settings: int | str | bool) -> dict[str, Operators]:
    """What one step does, by class."""
    traced = trace(
        f"counted:{function}", {**settings, "rows": ROWS}, workdir=PROGRAMS, micro_batch="rows", batches=(ROWS,)
    )
    return {one.kind: one for one in traced.footprint.operators}


@pytest.mark.parametrize(
    ("groups", "of_images", "kind"),
    [(1, True, "convolution"), (4, True, "convolution"), (4, False, "convolution"), (32, True, "depthwise")],
)
def test_each_gradient_of_a_convolution_has_the_forward_passs_flops(groups: int, of_images: bool, kind: str) -> None:
    found = operators("make_convolution", groups=groups, of_images=of_images)
    forward = 2 * ROWS * 10 * 10 * 64 * (32 // groups) * 9
    assert set(found) == {kind}
    assert found[kind].flops.at(ROWS) == (3 if of_images else 2) * forward


def test_a_matrix_on_several_vectors_moves_what_it_moves_on_as_many_rows() -> None:
    """Flattening before the product and the way back are views, `_unsafe_view` too."""
    flat, deep = (operators("make_matrix", optimizer="sgd", vectors=vectors) for vectors in (False, True))
    assert deep["matmul"] == flat["matmul"]
    assert deep["matmul"].moved_bytes.at(ROWS) == FLOAT * (
        (3 * 24 * 8 + 3 * 15 * (24 + 8)) + (2 * 16 * 24 + 2 * 15 * (16 + 24))
    )
    assert "elementwise" not in deep


def test_multi_tensor_operators_in_place_move_what_they_write() -> None:
    """SGD with momentum: the momentum times a number, plus the gradients, and the weights plus it."""
    found = operators("make_matrix", optimizer="sgd", vectors=False)["optimizer"]
    assert found.moved_bytes.at(ROWS) == FLOAT * (2 + 3 + 3) * WEIGHTS


def test_a_fused_optimizer_moves_what_it_writes() -> None:
    """Weights, gradients and both moments, read and written; the counts of steps beside them are a number each."""
    found = operators("make_matrix", optimizer="adam", vectors=False)["optimizer"]
    assert found.moved_bytes.at(ROWS) == pytest.approx(FLOAT * 2 * 4 * WEIGHTS, abs=2 * 3 * 2 * FLOAT)
