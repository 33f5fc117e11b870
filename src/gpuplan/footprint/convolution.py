"""A network for images in training, from its parameters and the outputs of one image. It knows no layer of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.model import Line, Moment

if TYPE_CHECKING:
    from gpuplan.data.images import ImageFacts

__all__ = ["ImageWorkload"]

TRAINED_SHARE = 0.6
"""Of a detector's backbone: the stem and the first stage are frozen and hold the largest outputs."""
HEADS_BYTES_PER_PIXEL = 300.0
"""Pyramid, proposals and heads of a detector for each pixel of its image, of Detectron2's model zoo (about 0.3 GB at
800 x 1333)."""


class ImageWorkload(NamedTuple):
    """A network, the pixels of one image (0: its usual size), and bytes of an activation and of states a parameter."""

    facts: ImageFacts
    pixels: float = 0.0
    activation_bytes: int = 4
    states: float = 1.0

    def moments(self) -> tuple[Moment, ...]:
        """The end of the forward pass and the optimizer's step."""
        weights = 4.0 * self.facts.parameters
        usual = float(self.facts.image**2)
        scale = (self.pixels or usual) / usual
        kept = self.facts.outputs * scale * self.facts.kept * self.activation_bytes
        if self.facts.detector:
            kept = TRAINED_SHARE * kept + HEADS_BYTES_PER_PIXEL * self.pixels
        fixed = {"parameters": Line(intercept=weights), "optimizer": Line(intercept=self.states * weights)}
        inputs = Line(slope=12.0 * (self.pixels or usual))
        return (
            Moment(phase="backward", alive_bytes=fixed | {"activations": Line(slope=kept), "inputs": inputs}),
            Moment(phase="optimizer", alive_bytes=fixed | {"gradients": Line(intercept=weights), "inputs": inputs}),
        )
