"""Bytes that a rank holds through the whole step: weights, adapters, gradients, optimizer states. No activations."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.footprint.census import census_of
from gpuplan.footprint.recipe import OPTIMIZERS, STORAGE_BYTES

if TYPE_CHECKING:
    from gpuplan.data.models import ModelFacts
    from gpuplan.footprint.census import Census
    from gpuplan.footprint.recipe import Recipe

__all__ = ["Residency", "residency_of"]


PREFIX_TOKENS = 10
"""Of an adapter of the first kind (LitGPT's default)."""


class Residency(NamedTuple):
    """Bytes on one rank, and counts of what is trained in the whole model.

    `gathered` is what a sharding rank holds of others' parameters while it computes, and late in the backward pass;
    `head_copy` is a quantised head in 16 bits; `head_gradient` and
    `layer_gradient` are gradients that exist before they can be shared out.
    """

    weights: float
    adapters: float
    gradients: float
    states: float
    step: float
    gathered: float
    gathered_late: float
    head_copy: float
    casts: float
    head_gradient: float
    layer_gradient: float
    trained: int


def residency_of(model: ModelFacts, recipe: Recipe) -> Residency:
    """What a rank holds of `model` trained by `recipe`."""
    census = census_of(model, tied=recipe.tied)
    trained = _trained(model, recipe, census)
    optimizer = OPTIMIZERS[recipe.optimizer]
    trained_bytes = float(recipe.trained_bytes * trained)
    states = optimizer.state_ratio * trained_bytes + optimizer.state_bytes * trained
    largest = 4.0 * max(model.vocabulary * model.d_model, model.d_model * model.feedforward)
    full = recipe.method == "full"
    parameters = recipe.world if recipe.shards_parameters else 1
    spread = recipe.world if recipe.sharding in {"fsdp", "zero1", "zero2", "zero3"} else 1
    held = Residency(
        weights=_stored(census, recipe) / parameters,
        adapters=0.0 if full else trained_bytes / parameters,
        gradients=0.0 if optimizer.in_backward else trained_bytes / (1 if recipe.sharding == "zero1" else spread),
        states=states / spread,
        step=(optimizer.step * trained_bytes + optimizer.largest * min(largest, 4.0 * trained)) / spread,
        gathered=_gathered(census, recipe),
        gathered_late=_gathered_late(census, recipe),
        head_copy=2.0 * model.vocabulary * model.d_model if recipe.quantised_head and recipe.head_copies else 0.0,
        casts=_casts(census, recipe),
        head_gradient=float(_unsharded_bytes(recipe) * model.vocabulary * model.d_model) if full else 0.0,
        layer_gradient=float(_unsharded_bytes(recipe) * model.d_model * model.feedforward) if full else 0.0,
        trained=trained,
    )
    return _offloaded(held, recipe)


def _offloaded(held: Residency, recipe: Recipe) -> Residency:
    """What the host holds is not on the device."""
    if recipe.offload == "none":
        return held
    held = held._replace(states=0.0, step=0.0)
    if recipe.offload == "optimizer":
        return held
    return held._replace(weights=0.0, adapters=0.0, gradients=0.0)


def _trained(model: ModelFacts, recipe: Recipe, census: Census) -> int:
    if recipe.method == "full":
        return census.total
    if recipe.method == "lora":
        each = sum(m.copies * (m.inputs + m.outputs) for m in census.matrices if m.name in recipe.targets)
        return recipe.rank * each * census.layers
    if recipe.method == "inference":
        return 0
    layers = census.layers - recipe.first_trained_layer
    prefix = layers * (PREFIX_TOKENS * model.d_model + model.heads)
    scaled = sum(2 * m.outputs for m in census.matrices) * census.layers + 2 * model.vocabulary
    return prefix + (scaled if recipe.method == "adapter_v2" else 0)


def _stored(census: Census, recipe: Recipe) -> float:
    matrices = census.layers * census.layer_matrices
    head = census.head if recipe.quantised_head else 0
    rest = census.total - matrices - head
    return STORAGE_BYTES[recipe.storage] * (matrices + head) + STORAGE_BYTES[recipe.outside] * rest


def _unsharded_bytes(recipe: Recipe) -> int:
    """Of one gradient before it is reduced: in the precision that the layers compute in."""
    return recipe.compute if recipe.shards_parameters else recipe.trained_bytes


def _gathered(census: Census, recipe: Recipe) -> float:
    """Embedding, head and final norm through the step, and one layer at a time."""
    if not recipe.shards_parameters:
        return 0.0
    outside = min(STORAGE_BYTES[recipe.outside], recipe.compute)
    return outside * census.outside + min(STORAGE_BYTES[recipe.storage], recipe.compute) * census.layer


def _gathered_late(census: Census, recipe: Recipe) -> float:
    """At the end of the backward pass: as before, or every layer and the gathers under way if none was freed."""
    if recipe.reshards or not recipe.shards_parameters:
        return _gathered(census, recipe)
    matrix = min(STORAGE_BYTES[recipe.storage], recipe.compute)
    return matrix * (census.total + recipe.gathers_under_way * census.layer)


def _casts(census: Census, recipe: Recipe) -> float:
    """16-bit copies of 32-bit matrices, which autocast makes and a sharding rank gathers in their place."""
    if not recipe.autocast or recipe.storage != "fp32" or recipe.shards_parameters:
        return 0.0
    return 2.0 * (census.layers * census.layer_matrices + max(census.head, census.embedding if not census.head else 0))
