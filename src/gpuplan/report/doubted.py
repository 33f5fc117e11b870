"""An experiment's own runs, doubted as foreign logs are: idle GPUs, training on the CPU, steps that do not fall.

Pure. What the ranks themselves counted of their rows is `scaling`'s, and not said twice; a note doubts no figure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuplan.data import gpus
from gpuplan.model import LoggedRun
from gpuplan.report.groups import finished
from gpuplan.verify.measured import Context, doubts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuplan.model import Finding, RunRecord
    from gpuplan.report.curves import Curve, Curves

__all__ = ["doubted"]

SAID_ELSEWHERE = frozenset({"unsharded"})


def doubted(records: Sequence[RunRecord], curves: Curves) -> tuple[Finding, ...]:
    """What is odd in the measurements of the finished training runs; the place of each is the run's name."""
    trained = [record for record in finished(records) if record.run.train and record.measurement]
    logs = [_as_log(record, curves.get(record.run.name, {})) for record in trained]
    found = doubts(logs, Context(gpus=gpus()))
    return tuple(finding for finding in found if finding.severity != "note" and finding.check not in SAID_ELSEWHERE)


def _as_log(record: RunRecord, curves: Mapping[str, Curve]) -> LoggedRun:
    assert record.measurement is not None
    by_epoch = {name: curve for name, curve in curves.items() if curve.axis == "epoch"}
    told_apart_by = (record.run.stage, record.run.control)
    return LoggedRun(
        name=" ".join(word for word in told_apart_by if word),
        format="gpuplan",
        path=record.run.name,
        settings=record.run.settings,
        command=record.run.command,
        gpu=record.estimate.gpu if record.estimate else None,
        ranks=record.run.ranks,
        epochs={name: tuple(value for _, value in curve.points[:1000]) for name, curve in by_epoch.items()},
        measurement=record.measurement,
    )
