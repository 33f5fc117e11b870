"""From a named data set to ids and class numbers, split into rows to train and to evaluate on.

It never lets a seed or a number of ranks change which rows are held out: only `split_seed` does.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from gpuplan.workloads.agnews.errors import WorkloadError
from gpuplan.workloads.agnews.sharding import epoch_order, generator
from gpuplan.workloads.agnews.tables import Source, Table, read
from gpuplan.workloads.agnews.tokenizer import tokenize

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuplan.workloads.agnews.config import Config

LABEL_NAMES = ("label", "labels", "class", "class index", "class_index", "category", "target")
TEXT_NAMES = ("title", "headline", "text", "sentence", "content", "description")


class Rows(NamedTuple):
    """Ids (rows, sequence) of int32 and class numbers (rows) of int64, on the CPU."""

    tokens: torch.Tensor
    labels: torch.Tensor


class Splits(NamedTuple):
    """All data of a run."""

    train: Rows
    evaluation: Rows
    checksum: int
    """CRC-32 of the training rows: a checkpoint fits only the data it was trained on."""


class _Texts(NamedTuple):
    name: str
    texts: list[str]
    labels: list[int]


class _Parts(NamedTuple):
    train: _Texts
    evaluation: _Texts


def load(config: Config) -> Splits:
    """Read, split and tokenise the data of a run; shuffle its training labels if it is the control."""
    train, evaluation = _split(read(config.data), config)
    rows = _tokenised(train, config)
    if config.control == "shuffled-labels":
        order = torch.randperm(len(rows.labels), generator=generator(config.seed, "control"))
        rows = rows._replace(labels=rows.labels[order])
    checksum = zlib.crc32(rows.labels.numpy().tobytes(), zlib.crc32(rows.tokens.numpy().tobytes()))
    return Splits(rows, _tokenised(evaluation, config), checksum)


def _split(source: Source, config: Config) -> _Parts:
    train = _texts(source.train, config)
    test = _texts(source.test, config) if source.test else None
    base = _first_class([table for table in (train, test) if table], config.classes)
    train = train._replace(labels=[label - base for label in train.labels])
    if test is None:
        return _split_one(train, config)
    test = test._replace(labels=[label - base for label in test.labels])
    return _Parts(
        _taken(train, config, start=0, count=config.train_rows), _taken(test, config, start=0, count=config.eval_rows)
    )


def _split_one(table: _Texts, config: Config) -> _Parts:
    """Held-out rows first, so that they stay the same when more rows are trained on."""
    rows = len(table.texts)
    held_out = config.eval_rows or max(1, rows // 5)
    wanted = held_out + max(1, config.train_rows)
    if rows < wanted:
        raise WorkloadError(
            f"{table.name} has {rows:,} rows, {wanted:,} are needed: {wanted - held_out:,} to train on and"
            f" {held_out:,} to evaluate on",
            hint="ask for fewer with --train-rows and --eval-rows",
        )
    train = _taken(table, config, start=held_out, count=config.train_rows)
    return _Parts(train, _taken(table, config, start=0, count=held_out))


def _taken(table: _Texts, config: Config, *, start: int, count: int) -> _Texts:
    """`count` rows (0: all) of the shuffled table from `start` on."""
    rows = len(table.texts)
    if rows < start + count:
        raise WorkloadError(f"{table.name} has {rows:,} rows, {count:,} were asked for", hint="ask for fewer")
    order = epoch_order(rows, seed=config.split_seed, epoch=0, owner="split").tolist()
    chosen = order[start : start + count if count else rows]
    return _Texts(table.name, [table.texts[row] for row in chosen], [table.labels[row] for row in chosen])


def _tokenised(table: _Texts, config: Config) -> Rows:
    tokens = tokenize(table.texts, vocabulary=config.vocabulary, sequence=config.sequence)
    return Rows(tokens, torch.tensor(table.labels, dtype=torch.int64))


def _texts(table: Table, config: Config) -> _Texts:
    label = _column(table, config.label_column, usual=LABEL_NAMES, option="--label-column")
    names = config.text_column_names or [name for name in table.columns if name.lower() in TEXT_NAMES]
    columns = [_column(table, name, usual=TEXT_NAMES, option="--text-columns") for name in names or [""]]
    joined = [" ".join(cells) for cells in zip(*(_cells(table, column) for column in columns), strict=True)]
    labels = [
        _label(value, where=f"{table.name}, row {row}") for row, value in enumerate(table.columns[label], start=1)
    ]
    return _Texts(table.name, joined, labels)


def _cells(table: Table, column: str) -> list[str]:
    """A column as texts. A row that ends too early has nothing there, unlike one with an empty text."""
    cells = table.columns[column]
    if None in cells:
        raise WorkloadError(
            f"{table.name}, row {cells.index(None) + 1}: there is no `{column}`",
            hint="is the file complete? a row without text needs an empty text",
        )
    return [str(cell) for cell in cells]


def _column(table: Table, wanted: str, *, usual: Sequence[str], option: str) -> str:
    names = (wanted,) if wanted else usual
    for name in names:
        for column in table.columns:
            if column == name or (not wanted and column.strip().lower() == name):
                return column
    missing = f"column `{wanted}`" if wanted else f"column with a usual name ({', '.join(usual)})"
    raise WorkloadError(f"{table.name} has no {missing}", hint=f"{option} takes one of: {', '.join(table.columns)}")


def _label(value: Any, *, where: str) -> int:
    try:
        number = int(value)
    except (OverflowError, TypeError, ValueError):
        number = None
    if number is None or (isinstance(value, float) and number != value):
        raise WorkloadError(
            f"{where}: the label {value!r} is not a class number",
            hint="number the classes, or name another column with --label-column",
        )
    return number


def _first_class(tables: Iterable[_Texts], classes: int) -> int:
    """0 or 1: where the class numbers start; refuses numbers outside the classes."""
    tables = list(tables)
    base = 0 if any(label == 0 for table in tables for label in table.labels) else 1
    for table in tables:
        for row, label in enumerate(table.labels, start=1):
            if not base <= label < base + classes:
                raise WorkloadError(
                    f"{table.name}, row {row}: class {label} is outside {base} to {base + classes - 1}",
                    hint=f"--classes is {classes}; is that the right column?",
                )
    return base
