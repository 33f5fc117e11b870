"""The published JSON Schemas, made from the nouns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from gpuplan.model import Evidence, Experiment, Plan, RunRecord

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["NOUNS", "schema_of"]

NOUNS: dict[str, type[BaseModel]] = {"spec": Experiment, "plan": Plan, "run": RunRecord, "evidence": Evidence}
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_of(name: str) -> dict[str, Any]:
    """The schema of what users write (`spec`) or of what gpuplan writes (`plan`, `run`, `evidence`)."""
    mode: Literal["validation", "serialization"] = "validation" if name == "spec" else "serialization"
    schema = NOUNS[name].model_json_schema(by_alias=True, mode=mode)
    return {"$schema": DIALECT, "title": f"gpuplan {name}", **{k: v for k, v in schema.items() if k != "title"}}
