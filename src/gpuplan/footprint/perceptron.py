"""A multi-layer perceptron's training step from its depth and number of parameters. It knows no transformer."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from gpuplan.model import Line, Moment

__all__ = ["Perceptron", "perceptron_of"]

TENSORS_OF_A_LAYER = 3
"""Kept in fp32 of one layer's output: the product, after the norm, after the activation; and a dropout's mask."""
STATES = 2
DEPTH = re.compile(r"depth:(\d{1,4})")
ENDS = re.compile(r"input:(\d{1,7}).*?output:(\d{1,7})")


class Perceptron(NamedTuple):
    """Layers of equal width, trained by Adam in fp32."""

    parameters: float
    layers: int
    width: float

    def moments(self) -> tuple[Moment, ...]:
        """The step's instants that may be its peak."""
        weights = 4.0 * self.parameters
        kept = Line(slope=self.layers * self.width * (4 * TENSORS_OF_A_LAYER + 1))
        fixed = {"parameters": Line(intercept=weights), "optimizer": Line(intercept=STATES * weights)}
        return (
            Moment(
                phase="backward", alive_bytes=fixed | {"activations": kept, "gradients": Line(intercept=weights / 2)}
            ),
            Moment(
                phase="optimizer",
                alive_bytes=fixed | {"gradients": Line(intercept=weights), "temporaries": Line(intercept=weights)},
            ),
        )


def perceptron_of(text: str, millions: float) -> Perceptron:
    """From a text such as `input:155_output:20_depth:7`, and its parameters in millions."""
    depth, ends = DEPTH.search(text), ENDS.search(text)
    if depth is None or ends is None:
        raise ValueError("neither its depth nor its inputs and outputs are given")
    layers = int(depth.group(1)) + 1
    inputs, outputs = float(ends.group(1)), float(ends.group(2))
    inner = max(layers - 2, 0)
    # inner x w^2 + (inputs + outputs) x w = parameters, for one width of all inner layers
    width = millions * 1e6 / (inputs + outputs)
    if inner:
        edge = inputs + outputs
        width = (math.sqrt(edge**2 + 4 * inner * millions * 1e6) - edge) / (2 * inner)
    return Perceptron(millions * 1e6, layers, width)
