"""Built-in workloads by their manifests: the spec's own keys win over the manifest's. It never imports a workload."""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import TYPE_CHECKING, Any

from gpuplan.command import fields
from gpuplan.errors import SpecError
from gpuplan.expand import GANG_AXES
from gpuplan.model import Checkpoint, Experiment, FootprintSource, Input, Roles
from gpuplan.spec.check import nearest

if TYPE_CHECKING:
    from gpuplan.spec.document import Document

__all__ = ["known_workloads", "manifest", "with_workload"]


def known_workloads() -> list[str]:
    """The names of the built-in trainers."""
    folder = resources.files("gpuplan.workloads")
    return sorted(entry.name for entry in folder.iterdir() if entry.joinpath("workload.toml").is_file())


def manifest(name: str) -> dict[str, Any]:
    """The manifest of one of `known_workloads`."""
    return tomllib.loads(resources.files("gpuplan.workloads").joinpath(name, "workload.toml").read_text("utf-8"))


def with_workload(experiment: Experiment, document: Document) -> Experiment:
    """The experiment with its workload's command, defaults, roles and footprint filled in. Raises SpecError."""
    if experiment.workload is None:
        return experiment
    known = known_workloads()
    if experiment.workload not in known:
        near = nearest(experiment.workload, known)
        meant = f", did you mean {near}?" if near else ""
        hint = f"built in: {', '.join(known)}"
        message = f"workload: {experiment.workload} is not a workload{meant}"
        raise SpecError([document.problem(message, ("workload",), hint)])
    found = manifest(experiment.workload)
    _check_settings(experiment, found["settings"], document)
    update: dict[str, Any] = {"command": found["command"], "settings": found["settings"] | experiment.settings}
    for key, noun in (("roles", Roles), ("footprint", FootprintSource), ("checkpoint", Checkpoint)):
        if key in found:
            own = getattr(experiment, key)
            given = own.model_dump(mode="json", exclude_unset=True) if own else {}
            update[key] = noun.model_validate(given if key == "footprint" and given else found[key] | given)
    if not experiment.inputs and "inputs" in found:
        update["inputs"] = [Input.model_validate(item) for item in found["inputs"]]
    return experiment.model_copy(update=update)


def _check_settings(experiment: Experiment, known: dict[str, Any], document: Document) -> None:
    allowed = {*known, *GANG_AXES, *(name for item in experiment.inputs for name in fields(item.path))}
    sections: list[tuple[tuple[str | int, ...], dict[str, Any]]] = [
        (("settings",), experiment.settings),
        (("vary",), dict(experiment.vary)),
        (("zip",), dict(experiment.zip)),
        *((("points", i), point) for i, point in enumerate(experiment.points)),
        *((("controls", i, "settings"), control.settings) for i, control in enumerate(experiment.controls)),
        *((("stages", i, "settings"), stage.settings) for i, stage in enumerate(experiment.stages)),
    ]
    problems = []
    for section, settings in sections:
        for name in settings:
            if name not in allowed:
                near = nearest(name, allowed)
                hint = f"did you mean {near}?" if near else f"it knows: {', '.join(sorted(known))}"
                shown = ".".join(map(str, (*section, name)))
                message = f"{shown}: not a setting of workload {experiment.workload}"
                problems.append(document.problem(message, (*section, name), hint))
    if problems:
        raise SpecError(problems)
