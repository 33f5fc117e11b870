"""Which finished runs and foreign logs are facts to plan from, and why the others are not. It never reads a file."""

from __future__ import annotations

import fnmatch
import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from gpuplan.model import Evidence

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gpuplan.model import Gpu, LoggedRun, Measurement, RunRecord, Settings

__all__ = [
    "Told",
    "anonymous",
    "completed",
    "evidence_of",
    "evidence_of_log",
    "implausible",
    "ranks_in_name",
    "refusal",
    "refusal_of_log",
]


COUNTED = re.compile(
    r"(?<!\d)(\d{1,4})(?:[ _-]?x[ _-]?|[ _-])?(?:gpus?|ranks?)(?![a-z\d])(?![ _-]\d{1,3}(?:[^a-z\d]|$))"
)
"""A count of GPUs or ranks in a name: no number follows that would be theirs, but 20 of `4gpu_20ep` may."""
REASONS_SHOWN = 3
NOTHING = "nothing was measured: no step or epoch time and no peak memory"
FACT_ID = re.compile(r"[\w-]{1,64}")
DATE = re.compile(r"\d{4}-\d\d-\d\d")
TRAINING_TIMES = frozenset({"step_s", "step_p10_s", "step_p90_s", "epoch_s"})
MOST_RANKS = 100_000
MOST_SECONDS = 1e8
MOST_RATE = 1e12
MOST_BYTES = 2**50
MOST_COUNT = 10**15


@dataclass(frozen=True, slots=True)
class Told:
    """What the user says of logs that do not say it themselves; what a log says wins, but for the experiment."""

    experiment: str | None = None
    command: str = ""
    gpu: str | None = None
    ranks: Mapping[str, int] = field(default_factory=dict)
    """By a pattern of the log's path, as in `*exp021*`; the first that matches counts."""
    settings: Settings = field(default_factory=dict)
    dataset_rows: int | None = None


def evidence_of(
    record: RunRecord, *, gpu: str, threads: int | None, today: str, kind: Literal["run", "probe"] = "run"
) -> Evidence | None:
    """The fact that a finished run is, or None where `refusal` has a reason against it.

    Its id is a hash of what ran and what was measured: the same run learned twice, or moved, is one fact.
    """
    measurement = record.measurement
    if measurement is None or refusal(record) is not None:
        return None
    fact = Evidence(
        id="",
        kind=kind,
        experiment=record.experiment,
        run=record.run.name,
        settings=record.run.settings,
        command=record.run.command,
        gpu=gpu,
        ranks=record.run.ranks,
        threads=threads,
        versions=record.provenance.versions if record.provenance else {},
        measurement=measurement,
        taken="",
        log=record.folder,
    )
    return fact.model_copy(update={"id": _content_hash(fact, record.run.key), "taken": today})


def refusal(record: RunRecord) -> str | None:
    """Why nothing can be learned from a run; None if something can."""
    measurement = record.measurement
    if record.outcome is None or record.outcome.status != "finished":
        how = record.outcome.status.replace("_", " ") if record.outcome else record.state
        return f"it did not finish: {how}"
    if measurement is None or not _measured_something(measurement):
        return NOTHING
    if measurement.flags:
        return f"its figures are doubtful: {'; '.join(measurement.flags)}"
    return None


def completed(log: LoggedRun, told: Told) -> LoggedRun:
    """The log with what the user says in the places where it says nothing; its notes say what came from where."""
    ranks = log.ranks or _ranks_told(log, told)
    by_name = ranks_in_name(f"{log.path} {log.name}") if ranks is None else None
    notes = (*log.notes, f"{by_name} rank{'s' * (by_name > 1)} by its name") if by_name else log.notes
    known = {"dataset_rows": log.measurement.dataset_rows or told.dataset_rows}
    return log.model_copy(
        update={
            "ranks": ranks or by_name,
            "gpu": log.gpu or told.gpu,
            "command": log.command or told.command,
            "settings": told.settings | log.settings,
            "measurement": log.measurement.model_copy(update=known),
            "notes": notes,
        }
    )


def ranks_in_name(name: str) -> int | None:
    """The GPUs that a name counts: 4 of `exp042_agnews_ddp_4gpu_20ep`, 1 of `single_gpu`; None if it counts none.

    Of a path the last count holds. The rank of a LoRA (`exp3_rank64`) and the number of a GPU (`run2_gpu_0`) are none.
    """
    counted = COUNTED.findall(name.lower())
    if counted:
        return int(counted[-1]) or None
    return 1 if re.search(r"single[ _-]?gpu", name.lower()) else None


def evidence_of_log(log: LoggedRun, *, experiment: str | None, gpu: Gpu | None, today: str) -> Evidence | None:
    """The fact that a completed log is, or None where `refusal_of_log` has a reason against it.

    `gpu` is the accelerator that the log names, if it is known. The fact's id is a hash of what was measured, without
    the path and what the user told: the same log twice, moved, or with more said about it, is one fact.
    """
    if gpu is None or refusal_of_log(log, gpu=gpu) is not None:
        return None
    fact = Evidence(
        id="",
        kind="log",
        experiment=experiment or _as_name(log.name),
        run=log.name,
        settings=log.settings,
        command=log.command,
        gpu=gpu.name,
        ranks=log.ranks or 1,
        versions=log.versions,
        measurement=log.measurement,
        taken="",
        log=f"{log.path}:{log.lines}" if log.lines else log.path,
    )
    return fact.model_copy(update={"id": _log_hash(log), "taken": log.taken or today})


def refusal_of_log(log: LoggedRun, *, gpu: Gpu | None) -> str | None:
    """Why nothing can be learned from a completed log; None if something can."""
    if not _measured_something(log.measurement):
        said = "; ".join((*log.measurement.flags, *log.notes)[:REASONS_SHOWN])
        return f"{NOTHING}{f' ({said})' if said else ''}"
    if gpu is None:
        if log.gpu:
            return f"it ran on {log.gpu!r}, which gpuplan does not know: say what that is with --gpu"
        return "it does not say on which GPU it ran: say so with --gpu"
    return None


def implausible(fact: Evidence) -> str | None:
    """Why a fact from elsewhere can be none: it says nothing, or has a figure that no run has; None otherwise."""
    if not FACT_ID.fullmatch(fact.id):
        return f"id: {fact.id[:30]!r} is no hash"
    if not DATE.fullmatch(fact.taken):
        return f"taken: {fact.taken[:30]!r} is no date as in 2026-11-20"
    return next(_impossible(fact), None if _measured_something(fact.measurement) else NOTHING)


def _impossible(fact: Evidence) -> Iterator[str]:
    counted = {"ranks": fact.ranks, "measurement.world_size": fact.measurement.world_size, "threads": fact.threads}
    for name, value in counted.items():
        if value is not None and not 1 <= value <= MOST_RANKS:
            yield f"{name}: {value} is no count of ranks or threads"
    found = fact.measurement
    for name, value in found.model_dump(exclude={"world_size", "final", "best"}, exclude_none=True).items():
        figures = value if isinstance(value, tuple) else (value,)
        for figure in figures:
            if isinstance(figure, int | float) and not _is_possible(name, figure):
                yield f"measurement.{name}: {figure:g} is nothing that a run can have"
    spread = [each for each in (found.step_p10_s, found.step_s, found.step_p90_s) if each is not None]
    if spread != sorted(spread):
        yield "measurement: step_p10_s, step_s and step_p90_s do not grow"


def _is_possible(name: str, figure: float) -> bool:
    """Whether a field of a measurement may hold this, by the unit in its name."""
    if name.endswith("_busy"):
        return 0 <= figure <= 1
    if name.endswith("_per_s"):
        return 0 < figure <= MOST_RATE
    if name in TRAINING_TIMES:
        return 0 < figure <= MOST_SECONDS
    most = MOST_SECONDS if name.endswith("_s") else MOST_BYTES if name.endswith("_bytes") else MOST_COUNT
    return 0 <= figure <= most


def anonymous(fact: Evidence) -> Evidence:
    """The fact without paths, commands and names: programs and experiments stay apart by a hash of their names."""
    return fact.model_copy(
        update={
            "experiment": _short_hash(fact.experiment),
            "run": _short_hash(fact.run),
            "command": _short_hash(fact.command) if fact.command else "",
            "settings": {name: value for name, value in fact.settings.items() if not isinstance(value, str)},
            "measurement": fact.measurement.model_copy(update={"flags": tuple(map(_nameless, fact.measurement.flags))}),
            "log": "",
        }
    )


def _nameless(flag: str) -> str:
    """A flag without the file that it is about, and without what it quotes from there."""
    about, _, what = flag.partition(": ")
    return re.sub(r"'[^']*'", "'...'", flag if about == "diverged" else what or about)


def _ranks_told(log: LoggedRun, told: Told) -> int | None:
    return next((ranks for pattern, ranks in told.ranks.items() if fnmatch.fnmatch(log.path, pattern)), None)


def _as_name(text: str) -> str:
    """A name that a spec could have too, so that its runs find the fact."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip("._-")[:100] or "log"


def _short_hash(text: str) -> str:
    return f"x{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _content_hash(fact: Evidence, key: str) -> str:
    content = fact.model_dump_json(exclude={"id", "taken", "log"}, exclude_none=True)
    return hashlib.sha256(f"{key}\n{content}".encode()).hexdigest()[:16]


def _log_hash(log: LoggedRun) -> str:
    measured = log.measurement.model_dump_json(exclude={"dataset_rows", "flags"}, exclude_none=True)
    return hashlib.sha256(f"{log.format}\n{measured}\n{sorted(log.epochs.items())}".encode()).hexdigest()[:16]


def _measured_something(measurement: Measurement) -> bool:
    figures = (
        measurement.step_s,
        measurement.epoch_s,
        measurement.peak_host_bytes,
        measurement.peak_allocated_bytes,
        measurement.peak_reserved_bytes,
        measurement.peak_device_bytes,
        measurement.peak_tree_bytes,
    )
    return any(figures)
