"""What a program that writes no records for gpuplan says of its run: the logs of its trainer in the run's own folder.

It reads no more than is there at once, takes nothing from a log that is doubted, and nothing from logs that disagree.
"""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from gpuplan.model import LoggedRun
from gpuplan.observe.logs import read_logs
from gpuplan.observe.logs.joined import OF_DEVICES, OF_JOBS
from gpuplan.observe.logs.kinds import binary_kind
from gpuplan.observe.logs.stream import ARCHIVES, MOST_RATIO
from gpuplan.observe.summary import DIVERGED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.model import Measurement

__all__ = ["measured_elsewhere"]

LOG_NAME = "log.txt"
MOST_FILES = 2000
HEAD_BYTES = 512
PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
SAME_TIME = 1.1
"""Times that two logs of one run may say: by the bar, and by the mean with what stands between the steps."""
MOST_OF_RUN = 1.5
"""The median step times their number may be above the time that they took."""
FIGURES = ("step_s", "epoch_s", "peak_allocated_bytes", "peak_reserved_bytes", "peak_device_bytes")


def measured_elsewhere(run_dir: Path, *, most_bytes: int, duration_s: float | None) -> Measurement | None:
    """What the one training in the folder measured, of at most so many bytes of logs; None where that is not sure.

    `duration_s` of the run, where it is known: a log that tells of more came into the folder with something else.
    """
    place = _place(run_dir, most_bytes)
    found = read_logs(place) if place else ()
    trainings = (one for one in found if isinstance(one, LoggedRun) and one.format not in OF_DEVICES | OF_JOBS)
    sound = [one.measurement for one in trainings if _is_sound(one.measurement)]
    runs = [one for one in sound if duration_s is None or _took_s(one) <= MOST_OF_RUN * duration_s]
    timed = [run for run in runs if run.step_s or run.epoch_s]
    if not timed:
        return runs[0] if len(runs) == 1 else None
    best = max(timed, key=_certainty)
    return best if all(_agree(best, other) for other in timed) else None


def _is_sound(found: Measurement) -> bool:
    """Whether it has a figure to learn, and no doubt; that a training diverged is none."""
    doubted = any(not flag.startswith(DIVERGED) for flag in found.flags)
    return not doubted and any(getattr(found, name) for name in FIGURES)


def _took_s(found: Measurement) -> float:
    """Seconds of the steps or epochs that the log tells of, at least one."""
    return max(max(1, found.steps) * (found.step_s or 0.0), max(1, found.epochs) * (found.epoch_s or 0.0))


def _certainty(found: Measurement) -> tuple[bool, bool, int]:
    return found.step_p10_s is not None, found.step_s is not None, found.steps


def _agree(first: Measurement, second: Measurement) -> bool:
    """Whether two logs say the same of a time that both have."""
    pairs = ((first.step_s, second.step_s), (first.epoch_s, second.epoch_s))
    return all(max(one, other) <= SAME_TIME * min(one, other) for one, other in pairs if one and other)


def _place(run_dir: Path, most_bytes: int) -> Path | None:
    """The folder; its log alone where there is more to read in it than so many bytes; None where that is more."""
    files = list(islice(_files(run_dir), MOST_FILES + 1))
    if len(files) <= MOST_FILES and sum(map(_bytes_to_read, files)) <= most_bytes:
        return run_dir
    log = run_dir / LOG_NAME
    return log if 0 < _bytes_to_read(log) <= most_bytes else None


def _files(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names)


def _bytes_to_read(path: Path) -> int:
    """How much of a file its reader would read: nothing of weights, and what a packed one may hold."""
    try:
        if not path.is_file():
            return 0
        with path.open("rb") as file:
            head, size = file.read(HEAD_BYTES), file.seek(0, 2)
    except OSError:
        return 0
    if binary_kind(head) is not None or head.startswith(tuple(ARCHIVES)):
        return 0
    return size * MOST_RATIO if head.startswith(PACKED) else size
