"""Writes the packaged constants of step times: `python benchmarks/fit_time.py FILE.csv... [--into FOLDER]`.

Run it when there are more public rows. It ships constants with the evidence for them, never the rows.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))

from time_fit import derates_text, ratios_text, shippable_tables
from time_rows import pairs_of, read_time_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

DATA = Path(__file__).parent.parent / "src" / "gpuplan" / "data"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write derates.toml and ratios.csv; 2 if a file cannot be read or says nothing."""
    parser = argparse.ArgumentParser(description="Fit the packaged constants of step times on measured rows.")
    parser.add_argument("files", type=Path, nargs="+", help="columns of time_single.csv")
    parser.add_argument("--into", type=Path, default=DATA, help="default: the package's data folder")
    options = parser.parse_args(arguments)
    try:
        read = read_time_rows(options.files)
    except OSError as error:
        print(f"{error.filename} cannot be read: {error.strerror}", file=sys.stderr)
        return 2
    if not read.rows:
        print(f"no usable row: {dict(read.left_out)}", file=sys.stderr)
        return 2
    tables = shippable_tables(read.rows, pairs_of(read.rows))
    for name, text in (
        ("derates.toml", derates_text(tables, read.rows)),
        ("ratios.csv", ratios_text(tables, read.rows)),
    ):
        (options.into / name).write_text(text, encoding="utf-8")
        print(f"{options.into / name}: {len(text.splitlines())} lines from {len(read.rows)} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
