"""Columns of a CSV file, a Parquet file or a hub data set, read through `datasets`.

It never writes beside the data, and with local files it never touches the network: their cache is a temporary
folder of this process, so that any number of ranks and runs may read one file at once.
"""

from __future__ import annotations

import csv
import tempfile
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gpuplan.workloads.agnews.errors import WorkloadError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from datasets import Dataset

SUFFIXES = (".csv", ".parquet")
HUB_ALIASES = {"ag_news": "fancyzhx/ag_news"}
"""Short names from before the hub had owners."""

HEADERLESS = {2: ["label", "text"], 3: ["label", "title", "description"]}
"""Columns of a CSV without a header, by their number; three is how AG News is handed out."""


class Table(NamedTuple):
    """One split as it lies in its file."""

    name: str
    columns: dict[str, list[Any]]


class Source(NamedTuple):
    """What a `--data` names: one table, or one to train and one to evaluate on."""

    train: Table
    test: Table | None


def read(data: str) -> Source:
    """Read what `data` names: a file, a folder, or else a data set of the hub."""
    path = Path(data).expanduser() if data.startswith("~/") else Path(data)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        raise WorkloadError(f"{data} cannot be read: {error.strerror}", hint="give --data another path") from error
    if is_folder:
        return Source(_read_file(_part_of(path, "train")), _read_file(_part_of(path, "test")))
    if is_file:
        return Source(_read_file(path), None)
    if path.suffix in SUFFIXES or path.is_absolute() or data.startswith((".", "~")) or data.count("/") > 1:
        raise WorkloadError(f"no such file or folder: {data}", hint="give --data a path that is there, or a hub name")
    return _read_hub(data)


def _part_of(folder: Path, part: str) -> Path:
    for suffix in SUFFIXES:
        path = folder / f"{part}{suffix}"
        if path.is_file():
            return path
    raise WorkloadError(f"{folder} has no {part}.csv and no {part}.parquet", hint="give --data a file, or add the part")


def _read_file(path: Path) -> Table:
    if path.suffix not in SUFFIXES:
        raise WorkloadError(f"{path} is neither .csv nor .parquet", hint="convert it, or give it the right suffix")
    if path.stat().st_size == 0:
        raise WorkloadError(f"{path} is empty", hint="fetch it again")
    from datasets import Dataset  # noqa: PLC0415 - takes a second, and a mistyped path must not wait
    from datasets.exceptions import DatasetGenerationError  # noqa: PLC0415

    _quieten()
    with tempfile.TemporaryDirectory(prefix="agnews-") as folder:
        # A plain name: `datasets` would read brackets and stars of the real one as a pattern.
        link = Path(folder) / f"rows{path.suffix}"
        link.symlink_to(path.resolve())
        try:
            if path.suffix == ".csv":
                rows = Dataset.from_csv(str(link), cache_dir=folder, **_csv_options(path))
            else:
                rows = Dataset.from_parquet(str(link), cache_dir=folder)
        except (DatasetGenerationError, OSError, ValueError) as error:
            raise _unreadable(path, error.__cause__ or error) from error
        return _table(str(path), rows)


def _csv_options(path: Path) -> dict[str, Any]:
    """Names and types of the columns; all are text, so that no row can change the type of those before it."""
    from datasets import Features, Value  # noqa: PLC0415

    records = _first_records(path)
    if len(records) < 2:
        raise WorkloadError(f"{path} has fewer than two lines with text", hint="fetch it again")
    first, second = records
    has_header = not any(cell.strip().isdigit() for cell in first)
    names = first if has_header else HEADERLESS.get(len(first), [])
    if not names:
        raise WorkloadError(
            f"{path} has no header and {len(first)} columns: without a header there are two (label, text) or three"
            " (label, title, description)",
            hint="add a header line",
        )
    if len(set(names)) < len(names):
        raise WorkloadError(f"{path}: the header names a column twice: {', '.join(names)}", hint="rename one")
    if len(second) > len(names):
        raise WorkloadError(f"{path}: the header names {len(names)} columns, the first row has {len(second)}")
    return {
        "column_names": names,
        "header": 0 if has_header else None,
        "features": Features({name: Value("string") for name in names}),
        "keep_default_na": False,
        "encoding": "utf-8-sig",
    }


def _first_records(path: Path) -> list[list[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            records = (record for record in csv.reader(file) if record)
            return list(islice(records, 2))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, error) from error


def _quieten() -> None:
    """What goes wrong is raised; `datasets` would also log it, and draw a bar for each file."""
    from datasets import disable_progress_bars, logging  # noqa: PLC0415

    disable_progress_bars()
    logging.set_verbosity(logging.CRITICAL)


def _unreadable(path: Path, cause: BaseException) -> WorkloadError:
    reason = " ".join(str(cause).split()) or type(cause).__name__
    return WorkloadError(f"{path} cannot be read: {reason}", hint="is it complete, and of the kind its suffix says?")


def _read_hub(name: str) -> Source:
    from datasets import load_dataset  # noqa: PLC0415
    from datasets.exceptions import DatasetsError  # noqa: PLC0415

    _quieten()
    try:
        parts: Mapping[str, Dataset] = load_dataset(HUB_ALIASES.get(name, name))
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise WorkloadError(
            f"{name} cannot be loaded from the hub: {reason}",
            hint="without network give --data a local CSV or Parquet file",
        ) from error
    test = next((part for part in ("test", "validation") if part in parts), None)
    if "train" not in parts:
        raise WorkloadError(f"{name} has no part `train` but {', '.join(parts)}")
    return Source(_table(f"{name} (train)", parts["train"]), _table(f"{name} ({test})", parts[test]) if test else None)


def _table(name: str, rows: Dataset) -> Table:
    columns: Sequence[str] = rows.column_names
    table = Table(name, {column: list(rows[column][:]) for column in columns})
    if not rows.num_rows:
        raise WorkloadError(f"{name} has no rows", hint="fetch it again")
    return table
