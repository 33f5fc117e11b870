"""A sweep given on the command line, and `--set` over a spec: both become the same document as a file."""

from __future__ import annotations

import re
import shlex
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from gpuplan.errors import SpecError, UserError
from gpuplan.spec.read import Document, read_text

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["inline_document", "with_overrides"]

SOURCE = "command line"
SCRIPT = re.compile(r"[\w./-]+\.(py|sh)")


def inline_document(
    words: Sequence[str], *, vary: Sequence[str] = (), seeds: str | None = None, ranks: int | None = None
) -> Document:
    """The document of `gpuplan plan --vary lr=5e-4,1e-3 --seeds 1,2 -- python train.py --lr {lr}`."""
    value: dict[str, Any] = {"name": _name(words), "command": shlex.join(words)}
    if vary:
        value["vary"] = {}
        for item in vary:
            name, values = _assignment(item, "--vary")
            value["vary"][name] = values if isinstance(values, list) else [values]
    if seeds:
        parsed = _value(seeds, "--seeds")
        value["seeds"] = parsed if isinstance(parsed, list) else [parsed]
    if ranks is not None:
        value["ranks"] = ranks
    return Document(SOURCE, [], value, {})


def with_overrides(document: Document, overrides: Sequence[str]) -> Document:
    """The document with `--set a.b=value` applied; a number in the path is an index."""
    for item in overrides:
        key, value = _assignment(item, "--set")
        if isinstance(value, list) and "," in item and "[" not in item:
            raise UserError(f"--set {item}: a list needs brackets", hint=f"--set '{key}=[{item.split('=', 1)[1]}]'")
        target = document.value
        *parents, last = (int(part) if part.isdigit() else part for part in key.split("."))
        for part in parents:
            target = _child(target, part, item)
        if isinstance(target, list) != isinstance(last, int):
            raise UserError(f"--set {item}: {key} does not fit the spec", hint="gpuplan show --schema spec")
        target[last] = value
    return document


def _child(target: Any, part: str | int, item: str) -> Any:
    if isinstance(target, dict) and isinstance(part, str):
        return target.setdefault(part, {})
    if isinstance(target, list) and isinstance(part, int) and part < len(target):
        return target[part]
    raise UserError(f"--set {item}: there is no {part} to set", hint="gpuplan show --schema spec")


def _assignment(item: str, flag: str) -> tuple[str, Any]:
    name, equals, text = item.partition("=")
    if not equals or not name or not text:
        raise UserError(f"{flag} {item}: give it as name=value", hint=f"{flag} learning_rate=5e-4,1e-3")
    return name, _value(text, f"{flag} {name}")


def _value(text: str, what: str) -> Any:
    """One value, or a list where commas stand outside brackets and quotes, by YAML's rules."""
    source = f"v: [{text}]" if "," in text and text[0] not in "[{\"'" else f"v: {text}"
    try:
        return read_text(source.encode(), SOURCE).value["v"]
    except SpecError:
        raise UserError(f"{what}: {text!r} is neither a value nor a list of values") from None


def _name(words: Sequence[str]) -> str:
    script = next((word for word in words if SCRIPT.fullmatch(word)), words[0])
    return re.sub(r"[^A-Za-z0-9._-]+", "-", PurePath(script).stem).strip("-._") or "sweep"
