"""A stand-in for a model whose dimensions nobody gave: a known one of its family or size, with layers to match.

It is a guess that has to be said wherever it is used.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from gpuplan.data.models import models
from gpuplan.footprint.census import census_of

if TYPE_CHECKING:
    from gpuplan.data.models import ModelFacts

__all__ = ["lookalike"]


def lookalike(parameters: float, *, near: str = "") -> ModelFacts:
    """A decoder of about `parameters` parameters, of the family that the name `near` suggests."""
    if not 1e5 <= parameters <= 1e13:
        raise ValueError(f"{parameters:,.0f} parameters are not a transformer's")
    decoders = [model for model in models().values() if model.kind == "decoder" and not model.experts]
    close = min(decoders, key=lambda model: _distance(model, parameters, near))
    census = census_of(close)
    layers = max(1, round((parameters - census.outside) / census.layer))
    return replace(close, name=near or close.name, layers=layers, parameters=round(parameters))


def _distance(model: ModelFacts, parameters: float, near: str) -> float:
    """Doublings between the sizes, less for a similar name."""
    likeness = difflib.SequenceMatcher(None, model.name.lower(), near.lower()).ratio() if near else 0.0
    return abs(math.log2(census_of(model).total / parameters)) - 0.5 * likeness
