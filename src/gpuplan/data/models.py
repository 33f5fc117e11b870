"""Dimensions of published models, found by any of their usual names. It never looks at a hub or a network."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from typing import Any, Literal, NamedTuple

__all__ = ["ModelFacts", "families", "find_model", "models", "near_models"]

SUFFIXES = (
    "-instruct", "-chat", "-hf", "-base", "-it", "-gptq", "-awq", "-bnb-4bit", "-unsloth", "-4bit", "-v0.1",
    "-int4", "-int8", "-v1.0", "-v0.2",
)  # fmt: skip
"""What a name may end in without another shape of the model: tuned or quantised forms of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """One published model: the dimensions of its configuration and how its family builds a layer."""

    name: str
    family: str
    kind: Literal["decoder", "encoder", "vision", "seq2seq"]
    layers: int
    d_model: int
    heads: int
    kv_heads: int
    head_dim: int
    feedforward: int
    vocabulary: int
    norm: Literal["rms", "layer"] = "rms"
    norms: int = 2
    gated: bool = True
    activation: Literal["silu", "gelu", "relu"] = "silu"
    bias: Literal["none", "qkv", "all"] = "none"
    tied: bool = False
    parallel: bool = False
    qk_norm: bool = False
    head_bias: bool = False
    dropout: bool = False
    weight_only_norm: bool = False
    positions: int = 0
    experts: int = 0
    experts_per_token: int = 0
    classes: int = 0
    patch: int = 0
    image: int = 0
    extra: tuple[str, ...] = ()
    parameters: int = 0
    source: str = ""
    checked: Literal["seen", "recalled"] = "recalled"


def models() -> dict[str, ModelFacts]:
    """Every row of models.toml by its name."""
    return dict(_table().models)


def families() -> dict[str, dict[str, Any]]:
    """What all models of a family share, by its name: fields of ModelFacts."""
    return dict(_table().families)


def find_model(name: str) -> ModelFacts | None:
    """The model that `name` means: a hub's name with or without its owner, or a paper's."""
    readings = _table().readings
    for candidate in _candidates(name[:200]):
        found = readings.get(_key(candidate))
        if found is not None:
            return _table().models[found]
    return None


def near_models(name: str, *, limit: int = 3) -> tuple[str, ...]:
    """Names that `name` may have been meant to be, for a did-you-mean."""
    readings = _table().readings
    keys = difflib.get_close_matches(_key(name.rsplit("/", 1)[-1]), readings, n=2 * limit, cutoff=0.6)
    return tuple(dict.fromkeys(readings[key] for key in keys))[:limit]


class _Table(NamedTuple):
    models: dict[str, ModelFacts]
    readings: dict[str, str]
    families: dict[str, dict[str, Any]]


@cache
def _table() -> _Table:
    content = tomllib.loads(resources.files(__package__).joinpath("models.toml").read_text(encoding="utf-8"))
    rows: list[dict[str, Any]] = content["model"]
    readings = {_key(name): row["name"] for row in rows for name in (row["name"], *row.get("aliases", ()))}
    return _Table({row["name"]: _facts(row, content) for row in rows}, readings, content["families"])


def _facts(row: dict[str, Any], content: dict[str, Any]) -> ModelFacts:
    source = content["sources"][row["source"]]
    given = content["families"][row["family"]] | row
    given["source"] = f"{source['title']}, {source['date']}"
    given["extra"] = tuple(row.get("extra", ()))
    given.setdefault("kv_heads", row["heads"])
    given.setdefault("head_dim", row["d_model"] // row["heads"])
    known = {field.name for field in fields(ModelFacts)}
    return ModelFacts(**{key: value for key, value in given.items() if key in known})


def _candidates(name: str) -> list[str]:
    """`name`, then without owner and then without endings such as `-Instruct-v0.1`."""
    bare = name.rsplit("/", 1)[-1]
    found = [name, bare]
    while True:
        lower = bare.lower()
        ending = next((suffix for suffix in SUFFIXES if lower.endswith(suffix)), None)
        if ending is None:
            return found
        bare = bare[: -len(ending)]
        found.append(bare)


def _key(name: str) -> str:
    """`meta-llama/Llama-2-7b_hf` and `meta llama llama 2 7B HF` have one key."""
    return "".join(re.findall(r"[a-z0-9.]+", name.lower().replace("1half", "1.5").replace("2half", "2.5")))
