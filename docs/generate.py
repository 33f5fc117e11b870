"""Writes docs/reference/ from the code: the command line, the spec, the checks, the schemas.

python docs/generate.py            writes the pages
python docs/generate.py --check    says which are stale, and ends with 1 if any is
"""

from __future__ import annotations

import importlib
import json
import sys
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import BaseModel

from gpuplan import verify
from gpuplan.cli.main import VERBS, cli
from gpuplan.flow.schemas import NOUNS, schema_of
from gpuplan.model import Experiment
from gpuplan.report.grammar import FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

REFERENCE = Path(__file__).parent / "reference"
MADE = "<!-- Made by docs/generate.py from the code. Do not edit. -->\n\n"


def pages() -> dict[Path, str]:
    """Every generated file with its text."""
    made = {
        REFERENCE / "cli.md": MADE + "\n".join(cli_page()),
        REFERENCE / "spec.md": MADE + "\n".join(spec_page()),
        REFERENCE / "checks.md": MADE + "\n".join(checks_page()),
        REFERENCE / "expectations.md": MADE + "\n".join(expectations_page()),
    }
    for name in NOUNS:
        made[REFERENCE / "schemas" / f"{name}.schema.json"] = json.dumps(schema_of(name), indent=2) + "\n"
    return made


def cli_page() -> Iterator[str]:
    """Each verb's help as it is printed."""
    yield "# Command line\n"
    yield f"```text\n{click.Context(cli, info_name='gpuplan', terminal_width=100).get_help()}\n```\n"
    for verb in VERBS:
        command: click.Command = importlib.import_module(f"gpuplan.cli.{verb}").command
        context = click.Context(command, info_name=f"gpuplan {verb}", terminal_width=100)
        yield f"## gpuplan {verb}\n\n```text\n{command.get_help(context)}\n```\n"


def spec_page() -> Iterator[str]:
    """Each key of a spec, section by section."""
    yield "# The spec\n"
    yield (Experiment.__doc__ or "") + "\n"
    yield "A spec is YAML 1.2 (`5e-4` is a number), TOML or JSON. For editors: `schemas/spec.schema.json`.\n"
    yield from _section("", Experiment, seen=set())


def _section(path: str, model: type[BaseModel], *, seen: set[str]) -> Iterator[str]:
    properties: dict[str, Any] = model.model_json_schema(by_alias=True)["properties"]
    yield f"## {path or 'Top level'}\n"
    if path:
        yield f"{model.__doc__}\n"
    yield "| key | takes | default | meaning |\n|---|---|---|---|"
    for name, field in model.model_fields.items():
        schema = properties[field.alias or name]
        default = "required" if field.is_required() else _default(schema.get("default"))
        yield f"| `{name}` | {_takes(schema)} | {default} | {field.description or ''} |"
    yield ""
    for name, field in model.model_fields.items():
        for nested in _models(field.annotation):
            if nested.__name__ not in seen:
                seen.add(nested.__name__)
                yield from _section(f"{path}.{name}".lstrip("."), nested, seen=seen)


def _default(value: Any) -> str:
    return "" if value is None or isinstance(value, dict) else f"`{json.dumps(value)}`"


def _takes(schema: dict[str, Any]) -> str:
    options = schema.get("anyOf", schema.get("oneOf", [schema]))
    return " or ".join(_kind(option) for option in options if option.get("type") != "null").replace("|", "\\|")


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return "a mapping, below"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema.get("type", "a value")
    if isinstance(kind, list):
        return "number, text or true/false"
    inner = schema.get("items") or schema.get("additionalProperties")
    if isinstance(inner, dict) and inner:
        return f"{'list' if kind == 'array' else 'mapping'} of {_kind(inner)}"
    return {"string": "text", "integer": "whole number", "object": "mapping", "array": "list"}.get(kind, str(kind))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _models(part)


def checks_page() -> Iterator[str]:
    """Each check of `gpuplan check`."""
    yield "# What `gpuplan check` looks at\n"
    yield "| check | what it looks for |\n|---|---|"
    for check in verify.CHECKS:
        first = (check.__doc__ or "").strip().splitlines()[0]
        yield f"| `{check.__name__.replace('_', '-')}` | {first} |"
    yield ""


def expectations_page() -> Iterator[str]:
    """Each function of `expect:` lines."""
    yield "# `expect:` lines\n"
    yield "A comparison of figures, as in `speedup(ranks=2) >= 1.5` or `0.2 <= final(accuracy, control=chance) <= 0.3`."
    yield "Arguments pick runs by their settings, `ranks`, `copies` or `control`; seeds are averaged; the comparison"
    yield "has to hold for every configuration that is left, and the worst one is shown.\n"
    yield "| function | meaning |\n|---|---|"
    for name, function in FUNCTIONS.items():
        yield f"| `{name}` | {function.meaning} |"
    yield ""


def main(arguments: list[str]) -> int:
    """Write the pages, or say which are stale."""
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in arguments:
        for path in stale:
            print(f"stale: {path}")
        return int(bool(stale))
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
