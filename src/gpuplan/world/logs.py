"""The logs that a spec names as what is known of its runs. It learns nothing for good: `gpuplan learn` does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data import find_gpu
from gpuplan.expand import shape_of
from gpuplan.learn import Told, completed, evidence_of_log, refusal_of_log
from gpuplan.model import Finding, LoggedRun
from gpuplan.observe.logs import joined, read_logs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuplan.model import Evidence, Experiment, Gpu, Run

__all__ = ["Logged", "logged", "told_of"]

MOST_FILES = 1000
"""Of one glob; a plan has to come at once, and `gpuplan learn` reads any number."""


class Logged(NamedTuple):
    """What the logs of a spec say, and what they do not."""

    evidence: tuple[Evidence, ...] = ()
    findings: tuple[Finding, ...] = ()


def logged(experiment: Experiment, runs: Sequence[Run], *, base: Path, today: str) -> Logged:
    """The evidence in the files that `footprint.logs` names, relative to `base`; nothing without it."""
    pattern = experiment.footprint.logs if experiment.footprint else None
    if pattern is None:
        return Logged()
    files = sorted(_files(base, pattern))
    found: list[Evidence] = []
    findings = [] if files else [_finding(pattern, f"no file matches {pattern}")]
    if len(files) > MOST_FILES:
        findings.append(_finding(pattern, f"{len(files):,} files match {pattern}: the first {MOST_FILES:,} were read"))
    for one in joined(one for path in files[:MOST_FILES] for one in read_logs(path)):
        reason = one.reason if not isinstance(one, LoggedRun) else None
        if isinstance(one, LoggedRun):
            log = completed(one, told_of(one, experiment, runs, told=Told(gpu=_only_gpu(experiment))))
            gpu = _gpu(log)
            fact = evidence_of_log(log, experiment=experiment.name, gpu=gpu, today=today)
            reason = refusal_of_log(log, gpu=gpu)
            found += [fact] if fact else []
        findings += [_finding(one.path, f"{one.path} teaches nothing: {reason}")] if reason else []
    return Logged(tuple({fact.id: fact for fact in found}.values()), tuple(findings))


def told_of(log: LoggedRun, experiment: Experiment, runs: Sequence[Run], *, told: Told) -> Told:
    """What a spec tells of one of its logs, beside `told`; more where it lies in a folder named like a run."""
    run = next((run for run in runs if run.name in Path(log.path).parts), None)
    rows = shape_of(run or runs[0], experiment).train_rows
    return replace(
        told,
        command=run.command if run else experiment.command or "",
        settings=(run.settings if run else experiment.settings) | told.settings,
        ranks={**told.ranks, **({"*": run.ranks} if run else {})},
        dataset_rows=told.dataset_rows or rows,
    )


def _files(base: Path, pattern: str) -> Iterator[Path]:
    """Matches of a relative or absolute pattern; `..` and `**` as in a shell."""
    anchored = Path(pattern)
    root = Path(anchored.anchor) if anchored.is_absolute() else base
    relative = str(anchored.relative_to(anchored.anchor)) if anchored.is_absolute() else pattern
    return (path for path in root.glob(relative) if path.is_file())


def _only_gpu(experiment: Experiment) -> str | None:
    """The GPU that the spec names, if it names one."""
    return experiment.compute.gpus[0] if len(experiment.compute.gpus) == 1 else None


def _gpu(log: LoggedRun) -> Gpu | None:
    return find_gpu(log.gpu) if log.gpu else None


def _finding(place: str, message: str) -> Finding:
    return Finding(
        severity="warning",
        check="logs",
        message=message,
        place=place,
        because="`footprint.logs` names what is known of the runs",
        fix="gpuplan learn PATH --gpu NAME says what a log does not, and keeps it",
    )
