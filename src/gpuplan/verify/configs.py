"""Does the program take the keys of its configuration? From its own dataclasses, else from what is known of loaders.

OmegaConf merges a file into a dataclass and refuses any key that is no field of it; so the run ends before it starts.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data.loaders import loaders_of
from gpuplan.verify.case import listed, near
from gpuplan.verify.code import tree_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gpuplan.data.loaders import Keys, Loader
    from gpuplan.model import Finding, SourceFact
    from gpuplan.verify.case import Case

__all__ = ["Refused", "key_paths", "known_refusals", "refused", "unknown_config_keys"]

Path = tuple[str, ...]
MERGES = "OmegaConf.structured"
FEWEST_COMMON = 3
SHARE_COMMON = 0.5
"""Of the top-level keys of a file: with fewer in common, it is not the file that a dataclass is for."""
SHOWN = 12


class Schema(NamedTuple):
    """The keys that a dataclass takes, and where it stands."""

    name: str
    keys: Keys
    place: str


class Refused(NamedTuple):
    """A key that a loader refuses: why, and what to do."""

    path: Path
    because: str
    fix: str


def unknown_config_keys(case: Case) -> Iterator[Finding]:
    """A key of a configuration that the program's loader refuses: the run ends before it starts."""
    schemas = list(_schemas(list(case.sources("script"))))
    for source in case.sources("config"):
        paths = key_paths(source.content)
        own = next((schema for schema in schemas if _is_for(schema, source)), None)
        found = list(_own_refusals(own, paths)) if own else known_refusals(source.path, paths)
        for one in found:
            yield case.finding(
                "error" if own else "warning",
                "config-key",
                message=f"{source.path} has {'.'.join(one.path)}, which its loader refuses",
                because=one.because,
                fix=one.fix,
                at=source.places.get(".".join(one.path), source.path),
            )


def key_paths(content: dict[str, object]) -> list[Path]:
    """Every key of a configuration with those above it; lists are values."""
    found: list[Path] = []
    for name, value in content.items():
        found.append((name,))
        if isinstance(value, dict):
            found += [(name, *below) for below in key_paths(value)]
    return found


def refused(paths: Iterable[Path], keys: Keys) -> tuple[Path, ...]:
    """The keys that are not among `keys`, without those below a refused one."""
    found: dict[Path, None] = {}
    for path in paths:
        level: Keys | None = keys
        for depth, name in enumerate(path, start=1):
            if level is None:
                break
            if name not in level:
                found[path[:depth]] = None
                break
            level = level[name]
    return tuple(found)


def known_refusals(file: str, paths: Sequence[Path]) -> list[Refused]:
    """What the known loader of a file of this name refuses, of several the one that refuses the least."""
    loaders = loaders_of(file)
    if not loaders or not paths:
        return []
    best = min(loaders, key=lambda loader: len(refused(paths, loader.keys)))
    return [_known(path, best, loaders, paths) for path in refused(paths, best.keys)]


def _known(path: Path, best: Loader, loaders: Sequence[Loader], paths: Sequence[Path]) -> Refused:
    others = [_elsewhere(path, loader, paths) for loader in loaders if not refused([path[:1]], loader.keys)]
    takers = [text for text in others if text] if len(path) == 1 else []
    because = f"{best.name} ({best.source.partition(',')[0]}) {_takes(path, best.keys)}"
    return Refused(path, "; ".join([because, *takers]), _fix(path, best.keys))


def _elsewhere(path: Path, loader: Loader, paths: Sequence[Path]) -> str:
    below = [one for one in refused(paths, loader.keys) if one[: len(path)] == path]
    return f"{loader.name} takes {path[0]}" + (f", but not {'.'.join(below[0])}" if below else "")


def _own_refusals(schema: Schema, paths: Sequence[Path]) -> Iterator[Refused]:
    for path in refused(paths, schema.keys):
        because = f"{schema.place} merges it into the dataclass {schema.name}, which {_takes(path, schema.keys)}"
        yield Refused(path, because, _fix(path, schema.keys))


def _takes(path: Path, keys: Keys) -> str:
    names = list(_level(path, keys))
    where = f" below {'.'.join(path[:-1])}" if len(path) > 1 else ""
    return f"takes {listed(names, shown=SHOWN)}{where} and nothing else"


def _fix(path: Path, keys: Keys) -> str:
    meant = near(path[-1], _level(path, keys))
    return f"did you mean {meant}?" if meant else "take it out; a file of your own is the place for what is only noted"


def _level(path: Path, keys: Keys) -> Keys:
    level = keys
    for name in path[:-1]:
        level = level[name] or {}
    return level


# ---------------------------------------------------------------- dataclasses


def _schemas(scripts: Sequence[SourceFact]) -> Iterator[Schema]:
    """The dataclasses that OmegaConf merges into, where their file has them."""
    for script in scripts:
        if MERGES in script.text:
            tree = tree_of(script.text)
            yield from _merged(tree, script.path) if tree else ()


def _merged(tree: ast.Module, path: str) -> Iterator[Schema]:
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef) and _is_dataclass(node)}
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith(MERGES) and call.args:
            name = ast.unparse(call.args[0]).removesuffix("()")
            if name in classes:
                yield Schema(name, _fields(classes[name], classes), f"{path}:{call.lineno}")


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)


def _fields(node: ast.ClassDef, classes: dict[str, ast.ClassDef], depth: int = 0) -> Keys:
    """Its own fields and those of the dataclasses that it is made of."""
    found: Keys = {}
    for base in (ast.unparse(base) for base in node.bases):
        if base in classes and depth < len(classes):
            found |= _fields(classes[base], classes, depth + 1)
    for field in node.body:
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            named = [classes[word] for word in _names(field.annotation) if word in classes]
            is_one = len(named) == 1 and depth < len(classes)
            found[field.target.id] = _fields(named[0], classes, depth + 1) if is_one else None
    return found


def _names(annotation: ast.expr) -> list[str]:
    """The names in `X`, `Optional[X]` and `X | None`; none in a dictionary or a list, whose keys are its own."""
    text = ast.unparse(annotation).strip("\"'")
    if text.startswith("Optional[") or "[" not in text:
        return text.removeprefix("Optional[").removesuffix("]").replace("|", " ").split()
    return []


def _is_for(schema: Schema, source: SourceFact) -> bool:
    common = source.content.keys() & schema.keys.keys()
    return len(common) >= FEWEST_COMMON and len(common) >= SHARE_COMMON * len(source.content)
