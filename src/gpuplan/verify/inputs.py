"""Checks of what the runs read: inputs and models that are there, with rows and splits. It never opens one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuplan.model import FileFact
from gpuplan.units import MIB, format_bytes
from gpuplan.verify.case import listed, near, setting_at
from gpuplan.verify.wanted import MODEL_ROOTS, path_settings, setting_paths

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.model import Experiment, Finding
    from gpuplan.verify.case import Case
    from gpuplan.verify.wanted import FilledInput

__all__ = ["empty_inputs", "missing_inputs", "missing_paths", "missing_splits", "parts_are_read", "shown_inputs"]

READ_BYTES = {
    **dict.fromkeys((".json", ".jsonl", ".ndjson", ".csv", ".tsv"), 64 * MIB),
    **dict.fromkeys((".zip", ".npz", ".tar", ".tar.gz", ".tgz"), 64 * MIB),
    **dict.fromkeys((".tar.bz2", ".tbz2", ".tar.xz", ".txz"), 8 * MIB),
}
"""By the end of a file's name, up to which size the names of its parts are read: a plan has to be there at once."""


def missing_inputs(case: Case) -> Iterator[Finding]:
    """An input that is not there: a warning if the spec says how to make it, else an error."""
    for source in case.inputs:
        fact = _fact(case, source.path)
        if fact.exists:
            continue
        at = f"inputs.{source.position}.path"
        if source.create:
            yield case.finding(
                "warning",
                "input-missing",
                message=f"{source.path} does not exist yet",
                because=f"the spec says how to make it: {source.create}",
                fix=f"`gpuplan apply` runs `{source.create}` first",
                at=at,
            )
        else:
            yield case.finding(
                "error",
                "input-missing",
                message=f"{source.path} does not exist",
                because=_reading(source) + _beside(fact),
                fix=_fix_missing(fact, at=f"inputs.{source.position}"),
                at=at,
            )


def empty_inputs(case: Case) -> Iterator[Finding]:
    """A file without a byte or a row, a folder without a file."""
    for source in case.inputs:
        fact = _fact(case, source.path)
        if not fact.exists or (fact.size_bytes and fact.rows != 0):
            continue
        again = f"make it again: {source.create}" if source.create else "get the file again, or correct the path"
        yield case.finding(
            "error",
            "input-empty",
            message=f"{source.path} is empty",
            because=f"a {'folder' if fact.is_folder else 'file'}: {_contents(fact)}",
            fix=again,
            at=f"inputs.{source.position}.path",
        )


def missing_splits(case: Case) -> Iterator[Finding]:
    """A split that the spec names and the data lacks."""
    for source in case.inputs:
        fact = _fact(case, source.path)
        if not fact.exists or not source.splits:
            continue
        if not fact.is_folder and not parts_are_read(fact.path, fact.size_bytes):
            yield _unread_splits(case, source, fact)
            continue
        for split in source.splits:
            if fact.splits.get(split, 0) == 0:
                yield _split_finding(case, source, fact, split=split)


def parts_are_read(name: str, size_bytes: int) -> bool:
    """Whether the parts of a file of this name and size are looked for in it."""
    limits = [limit for end, limit in READ_BYTES.items() if name.lower().endswith(end)]
    return bool(limits) and size_bytes <= min(limits)


def shown_inputs(case: Case) -> Iterator[Finding]:
    """What each input holds, so that a wrong file is seen before a run."""
    for source in case.inputs:
        fact = _fact(case, source.path)
        if fact.exists:
            yield case.finding(
                "note",
                "input",
                message=f"{source.path}: {_contents(fact)}",
                because=_reading(source),
                fix="nothing, if this is what the runs should read",
                at=f"inputs.{source.position}.path",
            )


def missing_paths(case: Case) -> Iterator[Finding]:
    """A setting that names a model or a file which is not there, unless an input makes it."""
    made = {source.path for source in case.inputs}
    for path, runs in setting_paths(case.runs).items():
        fact = case.world.files.get(path)
        if fact is None or fact.exists or path in made:
            continue
        name = next(name for name in path_settings(runs[0].command) if runs[0].settings.get(name) == path)
        is_model = path.startswith(MODEL_ROOTS)
        yield case.finding(
            "error" if is_model else "warning",
            "model-missing" if is_model else "path-missing",
            message=f"{name} is {path}, which does not exist",
            because=f"the command reads {{{name}}}" + _beside(fact),
            fix=_fix_missing(fact, at=setting_at(case.experiment, name)),
            at=_value_at(case.experiment, name, path),
            runs=runs,
        )


def _fact(case: Case, path: str) -> FileFact:
    return case.world.files.get(path) or FileFact(path=path, exists=False)


def _reading(source: FilledInput) -> str:
    if len(source.runs) == 1:
        return f"{source.runs[0].name} reads it"
    return f"{len(source.runs):,} runs read it ({listed(run.name for run in source.runs)})"


def _beside(fact: FileFact) -> str:
    return f"; beside it: {', '.join(fact.near)}" if fact.near else ""


def _fix_missing(fact: FileFact, *, at: str) -> str:
    if "$" in fact.path:
        return "write the whole path: no shell expands $NAME here"
    folder = fact.path.rpartition("/")[0]
    meant = (
        f"did you mean {folder}{'/' * bool(folder)}{fact.near[0]}? Otherwise correct {at}"
        if fact.near
        else f"correct {at}"
    )
    return f"{meant}, or say how to make it: `inputs: [{{path: {fact.path}, create: COMMAND}}]`"


def _split_finding(case: Case, source: FilledInput, fact: FileFact, *, split: str) -> Finding:
    known = [name for name, rows in fact.splits.items() if rows != 0]
    meant = near(split, known)
    has = f"found: {', '.join(known)}" if known else "nothing of that name is in it"
    message = (
        f"{source.path} has no split {split}"
        if split not in fact.splits
        else f"the split {split} of {source.path} has no rows"
    )
    return case.finding(
        "error" if fact.splits else "warning",
        "split-missing",
        message=message,
        because=f"{has}; {_contents(fact)}",
        fix=f"did you mean {meant}?" if meant else "make the split, or correct `splits`",
        at=f"inputs.{source.position}.splits",
    )


def _unread_splits(case: Case, source: FilledInput, fact: FileFact) -> Finding:
    splits = f"split{'s' * (len(source.splits) > 1)} {listed(source.splits)}"
    return case.finding(
        "note",
        "split-unknown",
        message=f"whether {source.path} has the {splits} is not known",
        because=f"parts are read of folders, and of JSON, CSV and archives that are not large; {_contents(fact)}",
        fix="nothing, if you know them to be in it",
        at=f"inputs.{source.position}.splits",
    )


def _contents(fact: FileFact) -> str:
    parts = [
        *([_rows(fact.rows)] if fact.rows is not None else []),
        *(name if rows is None else f"{name} {_rows(rows)}" for name, rows in fact.splits.items()),
        format_bytes(fact.size_bytes),
    ]
    return ", ".join(parts)


def _rows(count: int) -> str:
    return f"{count:,} row{'s' * (count != 1)}"


def _value_at(experiment: Experiment, name: str, path: str) -> str:
    """The element of the list where a varied path stands."""
    for section, varied in (("vary", experiment.vary), ("zip", experiment.zip)):
        if path in varied.get(name, []):
            return f"{section}.{name}.{varied[name].index(path)}"
    return setting_at(experiment, name)
