"""A sweep given on the command line, and `--set` over a spec: both become the same document as a file."""

from __future__ import annotations

import re
import shlex
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from gpuplan.errors import SpecError, UserError
from gpuplan.spec.document import Document
from gpuplan.spec.read import read_text

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["assignment", "inline_document", "with_overrides"]

SOURCE = "command line"
INDEX = re.compile(r"[0-9]{1,6}")
PLAIN_WORD = re.compile(r"[A-Za-z0-9_@%+=:,./{}-]+")
SCRIPT = re.compile(r"[\w./-]+\.(py|sh)")


def inline_document(
    words: Sequence[str], *, vary: Sequence[str] = (), seeds: str | None = None, ranks: int | None = None
) -> Document:
    """The document of `gpuplan plan --vary lr=5e-4,1e-3 --seeds 1,2 -- python train.py --lr {lr}`."""
    if not words:
        raise UserError("no command", hint="put it after two dashes, as in `-- python train.py --lr {lr}`")
    value: dict[str, Any] = {"name": _name(words), "command": " ".join(map(_quoted, words))}
    for item in vary:
        name, values = assignment(item, "--vary", example="learning_rate=5e-4,1e-3")
        if name in value.setdefault("vary", {}):
            raise UserError(f"--vary {item}: {name} is given twice", hint=f"--vary {name}=VALUE,VALUE")
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
        key, value = assignment(item, "--set", example="limits.run='2 h'")
        if isinstance(value, list) and "," in item and "[" not in item:
            raise UserError(f"--set {item}: a list needs brackets", hint=f"--set '{key}=[{item.split('=', 1)[1]}]'")
        target = document.value
        *parents, last = key.split(".")
        for part in parents:
            slot = _slot(target, part, item)
            if target[slot] is None:
                target[slot] = {}
            target = target[slot]
        target[_slot(target, last, item)] = value
    return document


def _slot(target: Any, part: str, item: str) -> str | int:
    """The key, or the index of an item, that `part` names in `target`; a missing key is made."""
    if isinstance(target, dict):
        target.setdefault(part, None)
        return part
    if isinstance(target, list) and INDEX.fullmatch(part) and int(part) < len(target):
        return int(part)
    raise UserError(f"--set {item}: there is no {part} to set", hint="gpuplan show --schema spec")


def assignment(item: str, flag: str, *, example: str = "batch_size=32") -> tuple[str, Any]:
    """The name and the value, by YAML's rules, of `name=value`. Raises UserError, which names `flag` and an example."""
    name, equals, text = item.partition("=")
    if not equals or not name or not text:
        raise UserError(f"{flag} {item}: give it as name=value", hint=f"{flag} {example}")
    return name, _value(text, f"{flag} {name}")


def _value(text: str, what: str) -> Any:
    """One value, or a list where commas stand outside brackets and quotes, by YAML's rules."""
    source = f"v: [{text}]" if "," in text and text[0] not in "[{" else f"v: {text}"
    try:
        (value,) = read_text(source.encode("utf-8", "surrogatepass"), SOURCE).value.values()
    except (SpecError, ValueError):
        raise UserError(f"{what}: {text[:60]!r} is neither a value nor a list of values") from None
    is_one_text = source != f"v: {text}" and len(value) == 1
    return value[0] if is_one_text else value


def _quoted(word: str) -> str:
    """As shlex.quote, but the braces of a field stay bare, as people write them in a file."""
    return word if PLAIN_WORD.fullmatch(word) else shlex.quote(word)


def _name(words: Sequence[str]) -> str:
    script = next((word for word in words if SCRIPT.fullmatch(word)), words[0])
    return re.sub(r"[^A-Za-z0-9._-]+", "-", PurePath(script).stem)[:60].strip("-._") or "sweep"
