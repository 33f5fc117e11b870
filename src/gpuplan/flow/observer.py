"""The conductor's eyes: samples of a run's processes, and the judgement of its end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from gpuplan.launch.ports import Judgement
from gpuplan.observe.metrics import measure
from gpuplan.observe.outcome import classify, log_tail
from gpuplan.observe.processes import sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuplan.model import Device, Measurement, Plan, RunRecord, Sample

__all__ = ["LOG_NAME", "RunObserver", "measured"]

LOG_NAME = "log.txt"


class RunObserver:
    """Observes the runs of one plan."""

    def __init__(self, plan: Plan) -> None:
        self.machine = plan.machine
        self.limits = plan.experiment.limits

    def sample(self, record: RunRecord, pid: int) -> Sample | None:
        """What the processes from `pid` down, and the run's GPUs, show now."""
        return sample(pid, self._devices(record), now=time.time())

    def judge(self, record: RunRecord, samples: Sequence[Sample]) -> Judgement:
        """How the run ended, and what it measured."""
        measurement = measured(record, samples)
        outcome = classify(
            record.ending,
            log_tail(Path(record.folder) / LOG_NAME),
            measurement,
            machine_memory_bytes=self.machine.memory_bytes,
            time_limit_s=self.limits.run,
        )
        return Judgement(outcome, measurement)

    def _devices(self, record: RunRecord) -> tuple[Device, ...]:
        return tuple(device for device in self.machine.devices if device.index in record.devices)


def measured(record: RunRecord, samples: Sequence[Sample]) -> Measurement:
    """What the run's own records and the samples say."""
    ending = record.ending
    return measure(
        Path(record.folder),
        ranks=record.run.ranks,
        launched_at=record.started_at,
        ended_at=record.ended_at,
        peak_process_bytes=ending.peak_process_bytes if ending else None,
        samples=samples,
    )
