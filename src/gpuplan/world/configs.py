"""What a model's configuration file holds. It understands none of it, and never asks a hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from gpuplan.footprint import model_text
from gpuplan.model import ConfigFact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuplan.model import Experiment, Run

__all__ = ["config_fact", "config_facts"]

MOST_BYTES = 10 * 2**20
"""Configurations have a few kilobytes; a larger file is something else."""


def config_facts(experiment: Experiment, runs: Sequence[Run], workdir: Path) -> dict[str, ConfigFact]:
    """The configurations that `footprint.model` names for these runs, by what it names."""
    model = experiment.footprint.model if experiment.footprint else None
    if not isinstance(model, str):
        return {}
    return {text: config_fact(text, workdir) for text in dict.fromkeys(model_text(model, run) for run in runs)}


def config_fact(text: str, workdir: Path) -> ConfigFact:
    """The content of `text` as a path from `workdir`: a file, or a folder with a config.json."""
    try:
        path = workdir / Path(text).expanduser()
        if path.is_dir():
            path = path / "config.json"
        if not path.is_file():
            return ConfigFact(path=text, problem=f"there is no file {text} in {workdir}")
        if path.stat().st_size > MOST_BYTES:
            return ConfigFact(path=text, problem=f"{text} is too large for a configuration")
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except (OSError, ValueError, RecursionError, RuntimeError) as error:
        return ConfigFact(path=text, problem=f"{text} is no JSON that can be read: {error}"[:300])
    if not isinstance(content, dict):
        return ConfigFact(path=text, problem=f"{text} holds a {type(content).__name__}, not a configuration")
    return ConfigFact(path=text, content=content)


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")
