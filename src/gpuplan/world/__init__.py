"""Everything impure that planning looks at, captured once as a value. It decides nothing and changes nothing."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gpuplan import data
from gpuplan.model import World
from gpuplan.observe.machine import find_machine
from gpuplan.offers.local import own_machine
from gpuplan.verify.wanted import inputs_of, wanted
from gpuplan.world.asked import Asked, is_for_gpus
from gpuplan.world.configs import config_facts
from gpuplan.world.files import file_fact
from gpuplan.world.programs import interpreter, program_fact, workdir_of
from gpuplan.world.sources import source_facts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gpuplan.model import Evidence, Experiment, Run
    from gpuplan.spec import Spec
    from gpuplan.store import Store
    from gpuplan.world.footprints import Known
    from gpuplan.world.logs import Logged

__all__ = ["capture", "interpreter", "look_at_machine", "workdir_of"]


def capture(spec: Spec, runs: Sequence[Run], *, state: Path, store: Store | None, asked: Asked | None = None) -> World:
    """The World for planning `runs`; `store` is None where nothing was ever run, `asked` what a command line adds."""
    experiment = spec.experiment
    workdir, python = workdir_of(experiment, spec.base), interpreter(experiment, spec.base)
    needed = wanted(experiment, runs)
    splits: dict[str, tuple[str, ...]] = {}
    for source in inputs_of(experiment, runs):
        splits[source.path] = tuple(dict.fromkeys((*splits.get(source.path, ()), *source.splits)))
    programs = {name: program_fact(name, experiment, python=python, workdir=workdir) for name in needed.programs}
    seen = look_at_machine(experiment, runs, store=store)
    named = _logged(spec, runs, seen.today)
    traced = _footprints(spec, runs, seen, state=state, asked=asked or Asked())
    return seen.model_copy(
        update={
            "files": {path: file_fact(path, workdir, splits.get(path, ())) for path in needed.paths},
            "programs": programs,
            "sources": source_facts(experiment, runs, programs.values(), workdir),
            "mask": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "configs": config_facts(experiment, runs, workdir),
            "evidence": (*seen.evidence, *(named.evidence if named else ())),
            "oddities": (*seen.oddities, *(named.findings if named else ()), *(traced.findings if traced else ())),
            "history": store.history(experiment.name) if store else (),
            "footprints": traced.footprints if traced else {},
            "disk_free_bytes": _disk_free_bytes(state),
            "places": spec.places,
        }
    )


def look_at_machine(experiment: Experiment | None, runs: Sequence[Run], *, store: Store | None) -> World:
    """The machine, its devices with what was measured of them, and the evidence; no files."""
    max_ranks = max((run.ranks for run in runs), default=1)
    threads = experiment.compute.threads if experiment else None
    found = find_machine(os.environ, max_ranks=max_ranks, threads=threads)
    probed = {gpu.name: gpu for gpu in (store.gpus(found.machine.cpu) if store else ())}
    known = data.gpus() | found.gpus | probed
    evidence: tuple[Evidence, ...] = store.evidence() if store else ()
    return World(
        today=datetime.now(UTC).date().isoformat(),
        machine=found.machine,
        gpus=known,
        offers=tuple(own_machine(found.machine, experiment.compute if experiment else None).items()),
        evidence=evidence,
        oddities=found.findings,
    )


def _logged(spec: Spec, runs: Sequence[Run], today: str) -> Logged | None:
    if spec.experiment.footprint is None or spec.experiment.footprint.logs is None:
        return None
    from gpuplan.world.logs import logged  # noqa: PLC0415  only specs that name logs pay for the readers

    return logged(spec.experiment, runs, base=spec.base, today=today)


def _footprints(spec: Spec, runs: Sequence[Run], seen: World, *, state: Path, asked: Asked) -> Known | None:
    if spec.experiment.footprint is None or spec.experiment.footprint.trace is None:
        return None
    from gpuplan.world.footprints import planned_footprints  # noqa: PLC0415  only specs that trace pay for it

    on_gpu = is_for_gpus(spec.experiment, seen.machine, asked)
    return planned_footprints(spec, runs, state=state, on_gpu=on_gpu)


def _disk_free_bytes(state: Path) -> int:
    folder = state.absolute()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return shutil.disk_usage(existing).free
