"""Which logs are of one run: a bar and what a logger wrote beside it, a Trainer's print and its state, samples of GPUs.

Training logs are of one run where one's folder lies within the other's and their losses are the same, step by step.
Samples of devices, and what a scheduler says of a job, belong to the only training run in their folder. Logs that say
different things of ranks are never joined, and neither are two of a kind: these are two runs.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from gpuplan.observe.logs.curve import are_one
from gpuplan.observe.logs.formats import OF_ONE_GPU, RANK_TOKENS, Refusal, Traced
from gpuplan.observe.logs.hugging_face import NO_SUMMARY
from gpuplan.observe.logs.kinds import NO_LOG, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gpuplan.model import LoggedRun
    from gpuplan.observe.logs.formats import Found

__all__ = ["joined"]

OF_DEVICES = frozenset({"nvidia-smi", "dcgm"})
OF_JOBS = frozenset({"sacct", "seff", "jobstats"})
MOST_LEVELS = 3
"""Folders between two logs of one run, as of `run/train.log` and `run/out/checkpoint-500/trainer_state.json`."""
MOST_IN_A_FOLDER = 300
MOST_NAMED = 12


def joined(found: Iterable[Found]) -> list[Found]:
    """The same runs and refusals, logs of one run as one run, files that are no logs by their folder."""
    runs: list[LoggedRun] = []
    refused: list[Refusal] = []
    for one in found:
        (refused if isinstance(one, Refusal) else runs).append(one)  # type: ignore[arg-type]
    return [*_with_samples(_trainings(runs)), *_by_folder(refused)]


# ---------------------------------------------------------------- training logs


def _trainings(runs: Sequence[LoggedRun]) -> list[LoggedRun]:
    """The runs, those of one program as one, each where the first of its logs stood."""
    partners: dict[int, set[int]] = defaultdict(set)
    for first, second in _near(runs):
        if _is_same(runs[first], runs[second]):
            partners[first].add(second)
            partners[second].add(first)
    for index, others in list(partners.items()):
        partners[index] = {other for other in others if _is_only_one(runs, other, others)}
    merged: list[LoggedRun] = []
    seen: set[int] = set()
    for index, run in enumerate(runs):
        if index in seen:
            continue
        group = [index, *sorted(other for other in partners[index] if index in partners[other] and other not in seen)]
        kinds = [_kind(runs[each]) for each in group]
        group = group if len(set(kinds)) == len(kinds) else [index]
        seen.update(group)
        merged.append(_merged([runs[each] for each in group]) if len(group) > 1 else run)
    return merged


def _is_only_one(runs: Sequence[LoggedRun], index: int, among: Iterable[int]) -> bool:
    """Whether no other of these is of the same kind: of the same run twice, no log can be told to be of one."""
    return sum(_kind(runs[other]) == _kind(runs[index]) for other in among) == 1


def _near(runs: Sequence[LoggedRun]) -> Iterator[tuple[int, int]]:
    """Pairs of which one's folder lies within the other's."""
    by_folder: dict[PurePath, list[int]] = defaultdict(list)
    for index, run in enumerate(runs):
        if isinstance(run, Traced) and run.curve:
            by_folder[PurePath(run.path).parent].append(index)
    for folder, inside in by_folder.items():
        if len(inside) > MOST_IN_A_FOLDER:
            continue
        yield from combinations(inside, 2)
        for above in tuple(folder.parents)[:MOST_LEVELS]:
            outside = by_folder.get(above, ())
            if len(outside) <= MOST_IN_A_FOLDER:
                yield from ((first, second) for first in outside for second in inside)


def _is_same(first: LoggedRun, second: LoggedRun) -> bool:
    if not isinstance(first, Traced) or not isinstance(second, Traced):
        return False
    other_ranks = first.ranks and second.ranks and first.ranks != second.ranks
    if other_ranks or _kind(first) == _kind(second):
        return False
    return are_one(first.curve, second.curve)


def _kind(run: LoggedRun) -> tuple[str, str, bool]:
    """What wrote a log: of one run there is one of each kind."""
    return run.format, PurePath(run.path).suffix, run.measurement.step_s is not None


# ---------------------------------------------------------------- devices and jobs


def _with_samples(runs: Sequence[LoggedRun]) -> list[LoggedRun]:
    """The runs, with the samples of devices and the job of each that is the only training run in its folder."""
    by_folder: dict[PurePath, list[LoggedRun]] = defaultdict(list)
    for run in runs:
        by_folder[PurePath(run.path).parent].append(run)
    merged: dict[int, LoggedRun | None] = {}
    for together in by_folder.values():
        trainings = [run for run in together if run.format not in OF_DEVICES | OF_JOBS]
        if len(trainings) != 1:
            continue
        whole = trainings[0]
        for kind in (OF_DEVICES, OF_JOBS):
            of_kind = [run for run in together if run.format in kind]
            if len(of_kind) == 1 and _fits(whole, of_kind[0]):
                whole = _merged([whole, of_kind[0]])
                merged[id(of_kind[0])] = None
        merged[id(trainings[0])] = whole
    kept = (merged.get(id(run), run) for run in runs)
    return [run for run in kept if run is not None]


def _fits(training: LoggedRun, other: LoggedRun) -> bool:
    return not (training.ranks and other.ranks and training.ranks != other.ranks)


# ---------------------------------------------------------------- one run of several


def _merged(logs: Sequence[LoggedRun]) -> LoggedRun:
    """One run of what several logs say; of two that say the same, the one with the better clock."""
    if len(logs) == 1:
        return logs[0]
    main, *others = sorted(logs, key=_clocked, reverse=True)
    measured: dict[str, Any] = {}
    for log in (main, *others):
        own = {name: value for name, value in log.measurement.model_dump().items() if value not in (None, (), {}, 0)}
        measured = own | measured
    ranks = next((log.ranks for log in (main, *others) if log.ranks), None)
    measured |= {
        "world_size": ranks or main.measurement.world_size,
        "steps": max(log.measurement.steps for log in logs),
        "epochs": max(log.measurement.epochs for log in logs),
        "final": _union(log.measurement.final for log in (main, *others)),
        "best": _union(log.measurement.best for log in (main, *others)),
        "flags": tuple(dict.fromkeys(flag for log in (main, *others) for flag in log.measurement.flags)),
    }
    files = ", ".join(PurePath(log.path).name for log in others)
    of_one = measured["final"].get(RANK_TOKENS)
    if of_one and ranks and not measured.get("tokens_per_s"):
        measured["tokens_per_s"] = of_one * ranks
    known = {NO_SUMMARY, OF_ONE_GPU if ranks else NO_SUMMARY}
    notes = [note for log in (main, *others) for note in log.notes if note not in known]
    notes.append(f"one run with {files}")
    return main.model_copy(
        update={
            "measurement": main.measurement.model_copy(update=measured),
            "ranks": ranks,
            "gpu": next((log.gpu for log in (main, *others) if log.gpu), None),
            "taken": next((log.taken for log in (main, *others) if log.taken), None),
            "command": next((log.command for log in (main, *others) if log.command), ""),
            "settings": _union(log.settings for log in (main, *others)),
            "versions": _union(log.versions for log in (main, *others)),
            "epochs": max((log.epochs for log in (main, *others)), key=len),
            "notes": tuple(dict.fromkeys(notes)),
        }
    )


def _clocked(log: LoggedRun) -> tuple[bool, bool, bool]:
    """How well a log tells the time of its steps: by a clock, as a mean, or not at all."""
    found = log.measurement
    return found.step_p10_s is not None, found.step_s is not None, found.steps > 0


def _union(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """All of them; the first that has a name counts."""
    found: dict[str, Any] = {}
    for part in parts:
        found = part | found
    return found


# ---------------------------------------------------------------- refusals


def _by_folder(refused: Sequence[Refusal]) -> list[Refusal]:
    """The refusals, those of files that are no logs at all as one for each folder, at the end."""
    no_logs: dict[PurePath, list[Refusal]] = defaultdict(list)
    others = []
    for one in refused:
        if one.reason == UNKNOWN or one.reason.endswith(NO_LOG):
            no_logs[PurePath(one.path).parent].append(one)
        else:
            others.append(one)
    return [*others, *(_of_folder(folder, ones) for folder, ones in no_logs.items())]


def _of_folder(folder: PurePath, ones: Sequence[Refusal]) -> Refusal:
    if len(ones) == 1:
        return ones[0]
    names = ", ".join(PurePath(one.path).name for one in ones[:MOST_NAMED])
    more = f" and {len(ones) - MOST_NAMED} more" if len(ones) > MOST_NAMED else ""
    return Refusal(str(folder), f"{len(ones)} files in it are no logs that gpuplan knows: {names}{more}")
