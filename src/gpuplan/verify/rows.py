"""Check that the inputs hold the rows that the runs train and evaluate on. It never counts them itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.verify.case import groups, role_at
from gpuplan.verify.wanted import MODEL_ROOTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.expand import Shape
    from gpuplan.model import FileFact, Finding, Run
    from gpuplan.verify.case import Case

__all__ = ["rows_exist"]

TRAINING_SPLITS = ("train", "training")


class Held(NamedTuple):
    """Rows of the training split, or of inputs that training and evaluation share."""

    rows: int
    is_split: bool


class Short(NamedTuple):
    """Rows asked for training and for evaluation, and the rows there are."""

    train: int
    evaluation: int
    held: int


def rows_exist(case: Case) -> Iterator[Finding]:
    """More rows asked for than the inputs hold."""
    held_by = _held_rows(case)

    def short(run: Run, shape: Shape) -> Short | None:
        held = held_by.get(run.name)
        if held is None:
            return None
        train, evaluation = shape.train_rows or 0, 0 if held.is_split else shape.eval_rows or 0
        return Short(train, evaluation, held.rows) if train + evaluation > held.rows else None

    for (train, evaluation, held), runs in groups(case, short).items():
        asked = f"{train:,} training rows" + (f" + {evaluation:,} for evaluation" if evaluation else "")
        yield case.finding(
            "error",
            "rows",
            message=f"{asked} are more than the {held:,} there are",
            because="counted in the inputs"
            + ("; the same rows would be trained and evaluated on" if evaluation else ""),
            fix=f"at most {max(0, held - evaluation):,} training rows",
            at=role_at(case.experiment, "train_rows", "eval_rows"),
            runs=runs,
        )


def _held_rows(case: Case) -> dict[str, Held]:
    """Rows by run; nothing for a run of which an input cannot be counted."""
    parts: dict[str, list[Held | None]] = {}
    for source in case.inputs:
        if not source.path.startswith(MODEL_ROOTS):
            held = _rows_of(case.world.files.get(source.path))
            for run in source.runs:
                parts.setdefault(run.name, []).append(held)
    summed = {name: _sum([part for part in of_run if part], of=len(of_run)) for name, of_run in parts.items()}
    return {name: held for name, held in summed.items() if held is not None}


def _rows_of(fact: FileFact | None) -> Held | None:
    if fact is None or not fact.exists:
        return None
    split = next((fact.splits[name] for name in TRAINING_SPLITS if fact.splits.get(name) is not None), None)
    if split is not None:
        return Held(split, is_split=True)
    return None if fact.rows is None or fact.splits else Held(fact.rows, is_split=False)


def _sum(parts: list[Held], *, of: int) -> Held | None:
    """All together, if each of the `of` inputs is counted in the same way."""
    kinds = {part.is_split for part in parts}
    return Held(sum(part.rows for part in parts), kinds.pop()) if len(parts) == of and len(kinds) == 1 else None
