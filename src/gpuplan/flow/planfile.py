"""A plan file back into a Plan, or what is wrong with the file. It never plans and never writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import ValidationError

from gpuplan.errors import UserError
from gpuplan.model import Plan

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic_core import ErrorDetails

__all__ = ["read_plan_file"]

LARGEST_FILE = 1 << 30
"""Bytes; 100,000 runs are a tenth of it."""

ANEW = "make it anew: gpuplan plan SPEC -o plan.json"
KIND = "gpuplan.plan/"


def read_plan_file(path: Path) -> Plan:
    """The plan that `gpuplan plan -o` wrote to `path`. Raises UserError with the path, what it is and what to do."""
    content = _read(path)
    try:
        return Plan.model_validate_json(content)
    except ValidationError as error:
        problem = _problem(content, error.errors(include_url=False)[0])
    raise UserError(f"{path} {problem}", hint=ANEW)


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder, not a plan file", hint="give the file that `plan -o` wrote")
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UserError(f"{path}: {reason}", hint="gpuplan plan SPEC -o plan.json writes one") from None
    if len(content) > LARGEST_FILE:
        raise UserError(f"{path} is larger than any plan", hint=ANEW)
    return content


def _problem(content: bytes, first: ErrorDetails) -> str:
    """What the file is instead, in words that follow its path."""
    if not content.strip():
        return "is empty"
    if first["type"] == "json_invalid":
        return "is cut off: the JSON ends in the middle" if "EOF while" in first["msg"] else "is not JSON"
    document = json.loads(content)
    if not isinstance(document, dict):
        return "holds no plan"
    schema = document.get("schema")
    if schema != Plan.SCHEMA:
        return _other_schema(schema)
    where = ".".join(map(str, first["loc"]))
    return f"was written by another version of gpuplan, or changed by hand: {where}: {first['msg']}"


def _other_schema(schema: object) -> str:
    if isinstance(schema, str) and schema.startswith(KIND):
        return f"was written by another version of gpuplan ({schema[:40]}; this one reads {Plan.SCHEMA})"
    if schema == "gpuplan.error/1":
        return "holds an error of gpuplan, not a plan"
    return f"is a {schema[:40]} document, not a plan" if isinstance(schema, str) else "is JSON, but not a plan"
