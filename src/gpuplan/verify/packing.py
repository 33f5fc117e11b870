"""Are rows counted as they are trained on? With packing, many rows of the data are one row of a step."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.command import render
from gpuplan.expand import SAY_NO
from gpuplan.units import format_number
from gpuplan.verify.case import role_at
from gpuplan.verify.logged import about, log_ranks, program_of
from gpuplan.verify.options import options
from gpuplan.verify.wanted import at_launch, filled, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gpuplan.model import Finding, LoggedRun, Run, Scalar
    from gpuplan.verify.case import Case

__all__ = ["packed_beside_unpacked", "packed_rows", "rows_are_packed"]

PACKED = re.compile(
    r"-*(?:(?:dataset|data|train|trainer|training|args|cfg|config)[._])*(?:use_|sample_|enable_)?pack(?:ed|ing)"
)
FEWER = 0.5
"""Of the rows of an epoch: steps that see fewer cannot have left out a split or a rest alone."""

LIMITS = ("max_steps", "max_steps_per_epoch", "limit_train_batches")
BY_TOKENS = "reckon steps from packed rows, and times in tokens; never as rows / batch"


class _Said(NamedTuple):
    """What says that rows are packed, and where it stands."""

    words: str
    place: str


def packed_rows(log: LoggedRun, batch_rows: int | None) -> Iterator[Finding]:
    """An epoch of a log whose steps see far fewer rows than the data has, with `batch_rows` in one step of a rank."""
    found = log.measurement
    rows_a_step = found.batch_size or (batch_rows or 0) * log_ranks(log) * _accumulation(log)
    if not (found.steps and found.epochs and found.dataset_rows and rows_a_step) or _is_cut_short(log):
        return
    steps = found.steps / found.epochs
    seen = steps * rows_a_step
    if seen >= FEWER * found.dataset_rows:
        return
    said = _packed_setting(log.settings)
    packed = f"`{said}`: " if said else ""
    doubt = "" if said else ", or passes were accumulated, or a part of the data was used"
    yield about(
        log,
        "warning",
        "packed-rows",
        message=f"{steps:,.0f} steps an epoch x {rows_a_step:,} rows = {seen:,.0f}, but the data has "
        f"{found.dataset_rows:,} rows",
        because=f"{packed}about {format_number(found.dataset_rows / seen)} rows are packed into one of a step{doubt}; "
        "samples a second, and steps for other data, are of packed rows",
        fix=f"{BY_TOKENS}; `--dataset-rows {seen:.0f}` if that is the number of packed rows",
    )


def packed_beside_unpacked(logs: Sequence[LoggedRun]) -> Iterator[Finding]:
    """Runs of one program, some with packed rows and some without: their steps and samples are not the same thing."""
    alike: dict[object, dict[bool, LoggedRun]] = {}
    for log in logs:
        value = _packing(log.settings)
        if value is not None:
            bare = {name: each for name, each in log.settings.items() if not PACKED.fullmatch(name.lower())}
            program = program_of(log.model_copy(update={"settings": bare}))
            alike.setdefault((program, log.gpu, log_ranks(log)), {}).setdefault(value, log)
    for both in alike.values():
        if len(both) == 2:
            packed, plain = both[True], both[False]
            yield about(
                packed,
                "warning",
                "packed-compared",
                message=f"its rows are packed, those of {plain.path} are not: {_figures(packed, plain)}",
                because=f"`{_packed_setting(packed.settings)}` here, `{_packed_setting(plain.settings)}` there; a "
                "packed row holds many, and no padding",
                fix="compare tokens a second that train on something, or epochs over the same data",
            )


def rows_are_packed(case: Case) -> Iterator[Finding]:
    """Rows that a program packs while `train_rows` counts those of the data: steps are not rows / batch then."""
    found: dict[tuple[_Said, int, str], list[Run]] = {}
    for run, shape in zip(case.runs, case.shapes, strict=True):
        said = _said(case, run) if shape.train_rows else None
        path = _unpacked_input(case, run, shape.train_rows) if said and shape.train_rows else None
        if said and path and shape.train_rows:
            found.setdefault((said, shape.train_rows, path), []).append(run)
    for (said, rows, path), runs in found.items():
        yield case.finding(
            "warning",
            "packed-rows",
            message=f"{said.words}, but `train_rows` is {rows:,}, as many as {path} has before packing",
            because=f"{said.place} puts many rows into one, so a run has fewer steps than rows / batch, and its time "
            "is estimated too long",
            fix="give `train_rows` the number of packed rows: tokens of the data / sequence",
            at=role_at(case.experiment, "train_rows"),
            runs=runs,
        )


# ---------------------------------------------------------------- what says it


def _said(case: Case, run: Run) -> _Said | None:
    """By an option of the command, else by a configuration that it names."""
    values = at_launch(run)
    given: list[tuple[str, str]] = [
        (one.name, filled(one.value, values) or "") for one in options(words_of(run.command))
    ]
    for name, value in given:
        if PACKED.fullmatch(name.lower().replace("-", "_").lstrip("_")):
            return _Said(f"{name} {value}", "it") if value.lower() not in SAY_NO else None
    for source in case.configs_of(run):
        for name, place in source.places.items():
            if PACKED.fullmatch(name.lower()) and _at(source.content, name) is True:
                return _Said(f"{name}: true", place)
    return None


def _at(content: Mapping[str, object], name: str) -> object:
    value: object = content
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _unpacked_input(case: Case, run: Run, rows: int) -> str | None:
    """The input of the run that has so many rows, or a part of it."""
    for source in case.inputs:
        fact = case.world.files.get(source.path)
        if fact and run in source.runs and rows in (fact.rows, *fact.splits.values()):
            return source.path
    return None


def _packing(settings: Mapping[str, Scalar]) -> bool | None:
    said = [value for name, value in settings.items() if PACKED.fullmatch(name.lower())]
    return render(said[0]).lower() not in SAY_NO if said else None


def _packed_setting(settings: Mapping[str, Scalar]) -> str:
    said = [f"{name}: {render(value)}" for name, value in settings.items() if PACKED.fullmatch(name.lower())]
    return said[0] if said else ""


def _accumulation(log: LoggedRun) -> int:
    values = (value for name, value in log.settings.items() if "accum" in name.lower())
    return next((value for value in values if type(value) is int and value > 0), 1)


def _is_cut_short(log: LoggedRun) -> bool:
    """Whether its settings end it, or an epoch, before the data does."""
    values = (log.settings.get(name) for name in LIMITS)
    return any(type(value) in (int, float) and float(value) > 0 for value in values if value is not None)


def _figures(packed: LoggedRun, plain: LoggedRun) -> str:
    one, other = packed.measurement, plain.measurement
    if one.samples_per_s and other.samples_per_s:
        return f"{format_number(one.samples_per_s)} and {format_number(other.samples_per_s)} samples a second"
    if one.tokens_per_s and other.tokens_per_s:
        return f"{format_number(one.tokens_per_s)} and {format_number(other.tokens_per_s)} tokens a second"
    return "a step of the one is not a step of the other"
