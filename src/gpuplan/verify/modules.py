"""Do the lists of requirements bring what the scripts import? It knows what some libraries bring, and asks nobody."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from gpuplan.data.libraries import libraries
from gpuplan.verify.case import listed
from gpuplan.verify.code import tree_of
from gpuplan.verify.requirements import is_open_list, requirements_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuplan.model import Finding, SourceFact
    from gpuplan.verify.case import Case

__all__ = ["missing_libraries"]

IMAGES = {"pytorch/": ("torch", "torchvision", "torchaudio", "numpy"), "huggingface/transformers": ("transformers",)}
"""Libraries that are in a Docker image of such a name."""

TRAINER = re.compile(r"\bTrain(?:er|ingArguments)\b")


def missing_libraries(case: Case) -> Iterator[Finding]:
    """A module that a script imports and that no list of requirements brings, for a machine that is set up from it."""
    if set(case.experiment.compute.on) == {"local"}:
        return
    lists = list(case.sources("requirements"))
    brought = _brought(lists)
    if brought is None:
        return
    own = {part for source in case.sources("script") for part in _module_names(source.path)}
    for script in case.sources("script"):
        for module, line in _imports(script.text).items():
            if module in libraries().brings or module in libraries().modules.values():
                yield from _missing(case, module, f"{script.path}:{line}:1", brought | own, lists)


def _brought(lists: Sequence[SourceFact]) -> set[str] | None:
    """All modules that the lists install; None where it cannot be known: no list, or one with unknown libraries."""
    if not lists or any(is_open_list(source.text) and not source.path.endswith("Dockerfile") for source in lists):
        return None
    asked = [one.name for source in lists for one in requirements_in(source.text, source.path)]
    images = [
        name for source in lists for image, names in IMAGES.items() if f"FROM {image}" in source.text for name in names
    ]
    known = libraries().brings
    names = [*asked, *images]
    if not asked or any(name not in known for name in names):
        return None
    found: set[str] = set()
    while names:
        name = names.pop()
        module = libraries().modules.get(name, name.replace("-", "_"))
        if module not in found:
            found.add(module)
            names += known.get(name, known.get(name.replace("_", "-"), ()))
    return found


def _imports(text: str) -> dict[str, int]:
    """The modules that a script imports whatever happens, with their lines."""
    tree = tree_of(text)
    found: dict[str, int] = {}
    for node in tree.body if tree else ():
        names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
        for name in names:
            found.setdefault(name.partition(".")[0], node.lineno)
    return found


def _module_names(path: str) -> list[str]:
    return path.removesuffix(".py").split("/")


def _missing(case: Case, module: str, place: str, brought: set[str], lists: Sequence[SourceFact]) -> Iterator[Finding]:
    needs = [module, *(["accelerate"] if module == "transformers" and _trains(case, place) else [])]
    for name in (each for each in needs if each not in brought):
        script = place.rpartition(":")[0]
        why = f"{script} imports it" if name == module else f"the Trainer that {script} imports from {module} needs it"
        yield case.finding(
            "warning",
            "library-missing",
            message=f"{listed(source.path for source in lists)} does not bring {name}",
            because=f"{why}, and no other library there brings it: a new machine would not have it",
            fix=f"add {_library_of(name)} to it",
            at=place,
        )


def _trains(case: Case, place: str) -> bool:
    """Whether the script at a place uses the Trainer, which asks for accelerate by itself."""
    path = place.rsplit(":", 2)[0]
    return any(TRAINER.search(source.text) for source in case.world.sources if source.path == path)


def _library_of(module: str) -> str:
    return next((library for library, name in libraries().modules.items() if name == module), module)
