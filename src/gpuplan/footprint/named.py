"""A published model's dimensions as a closed form needs them, from its facts in data/ or its configuration file.

It assumes a full training by today's transformers, and says so in the footprint; it reads no file.
"""

from __future__ import annotations

import difflib
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from gpuplan.data.models import find_model, near_models
from gpuplan.data.workloads import workloads
from gpuplan.footprint.census import census_of
from gpuplan.footprint.closed_form import sized, unknown_precision
from gpuplan.footprint.dimensions import Dimensions, Kind, Unknown, precision_of
from gpuplan.footprint.huggingface import facts_of_config
from gpuplan.footprint.parameters import count_parameters

if TYPE_CHECKING:
    from gpuplan.data.models import ModelFacts
    from gpuplan.footprint.operators import Runtime
    from gpuplan.model import ConfigFact, Footprint

__all__ = ["dimensions_of_facts", "facts_of_text", "footprint_of_facts", "unknown_name"]

KINDS: dict[str, Kind] = {
    "decoder": "decoder", "encoder": "encoder", "vision": "vision", "seq2seq": "encoder_decoder",
}  # fmt: skip


def facts_of_text(text: str, config: ConfigFact | None) -> ModelFacts | Unknown | None:
    """The model of a configuration that was read, else the transformer that `text` is the name of, if it is one."""
    if config is not None and config.content is not None:
        return facts_of_config(config.content, name=text)
    return find_model(text)


def unknown_name(text: str, config: ConfigFact | None) -> Unknown:
    """That `text` is neither a configuration that could be read nor a name, and which names are near it."""
    near = _near_names(text)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    problem = config.problem if config is not None and config.problem else f"{text} was not read"
    return Unknown(
        f"{problem}, and no model of that name is known",
        f"{meant}give the path of a config.json, or the dimensions in `footprint.model` (kind, layers, d_model, ...)",
    )


@lru_cache(maxsize=64)
def _near_names(text: str) -> tuple[str, ...]:
    """Transformers, else other networks, that may have been meant; looking takes 1 ms, and each run of a sweep asks."""
    names = {name.lower(): name for name in workloads()}
    matches = difflib.get_close_matches(text.lower()[:200], names, n=3)
    return near_models(text) or tuple(names[near] for near in matches)


def footprint_of_facts(
    facts: ModelFacts,
    *,
    sequence: int | None,
    image: int | None = None,
    precision: str | None = None,
    runtime: Runtime = "gpu",
    optimizer: Literal["sgd", "adam", "adamw", "adamw_fused"] = "adamw",
    checkpointing: bool = False,
) -> Footprint | Unknown:
    """A training step of the whole model on rows of `sequence` tokens, or on images of the edge `image` in pixels."""
    known = precision_of(precision)
    if known is None:
        return unknown_precision(precision)
    if sequence is None and facts.kind != "vision":
        return Unknown(f"{facts.name} says nothing of the length of a row", "set `roles.sequence`")
    if facts.positions and sequence is not None and sequence > facts.positions:
        return Unknown(
            f"{facts.name} has {facts.positions} positions, and a row {sequence} tokens",
            "lower the setting of `roles.sequence`",
        )
    if image is not None and facts.patch:
        if image < facts.patch:
            return Unknown(
                f"{facts.name} cuts images into patches of {facts.patch} pixels, and an image has {image}",
                "correct the setting of `roles.image`",
            )
        facts = replace(facts, image=image)
    dimensions = dimensions_of_facts(facts, sequence=sequence or 1)
    made = sized(
        dimensions._replace(optimizer=optimizer, checkpointing=checkpointing), precision=known, runtime=runtime
    )
    return made.model_copy(update={"because": f"{facts.name} ({facts.source or 'its config.json'}): {made.because}"})


def dimensions_of_facts(facts: ModelFacts, *, sequence: int) -> Dimensions:
    """The same model in the words of the closed form."""
    made = Dimensions(
        kind=KINDS[facts.kind],
        layers=facts.layers,
        d_model=facts.d_model,
        heads=facts.heads,
        kv_heads=facts.kv_heads,
        feedforward=facts.feedforward,
        vocabulary=facts.vocabulary,
        sequence=sequence,
        classes=facts.classes or None,
        gated=facts.gated,
        tied=facts.tied,
        learned_positions=bool(facts.positions or facts.patch),
        optimizer="adamw",
        checkpointing=False,
        dropout=facts.dropout,
        head_dim=facts.head_dim,
        norm=facts.norm,
        activation=facts.activation,
        bias=facts.bias,
        attention="flash",
        experts=facts.experts,
        experts_per_token=facts.experts_per_token,
        patch=facts.patch,
        image=facts.image,
        modules="transformers",
        qk_norm=facts.qk_norm,
        norms=facts.norms,
        parallel=facts.parallel,
    )
    # What a family has besides: an embedding of segments, a pooler, norms of queries and keys.
    return made._replace(extra_parameters=census_of(facts).total - count_parameters(made).total)
