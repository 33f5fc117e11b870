"""A report's files: Markdown, HTML, CSV and figures, each written whole or not at all. Names never leave the folder."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuplan.errors import GpuplanError, MissingError
from gpuplan.report.figures import INSTALL, render_svg
from gpuplan.report.page import as_page, as_text
from gpuplan.report.render import as_csv
from gpuplan.report.table import records

if TYPE_CHECKING:
    from gpuplan.report.compose import Report

__all__ = ["SCHEMA", "as_json", "draw", "write"]

SCHEMA = "gpuplan.report/1"
CSV_FILES = {"runs.csv": "runs", "predictions.csv": "predictions"}
NOT_DRAWN = f"The figures are not drawn: {INSTALL}, then gpuplan report again. Their data lie in figures/*.vl.json."


def write(report: Report, folder: Path | str) -> tuple[Path, ...]:
    """Write all files of the report and return their paths. Without vl-convert there are no drawings; it says so."""
    root = Path(folder)
    svgs = draw(report)
    hint = "" if svgs or not _figures(report) else NOT_DRAWN
    texts = {
        "report.md": as_text(report, {key: f"figures/{key}.svg" for key in svgs}, hint=hint),
        "report.html": as_page(report, svgs, hint=hint),
        **{name: as_csv(report.data[key]) for name, key in CSV_FILES.items()},
        **{f"figures/{key}.svg": svg for key, svg in svgs.items()},
        **{f"figures/{key}.vl.json": json.dumps(spec, indent=1) + "\n" for key, spec in _figures(report).items()},
    }
    try:
        return tuple(_write_whole(root / name, text) for name, text in texts.items())
    except OSError as error:
        raise GpuplanError(
            f"the report cannot be written to {root}: {error.strerror or error}", hint="choose another folder"
        ) from None


def draw(report: Report) -> dict[str, str]:
    """Every figure as SVG, by key; none without vl-convert."""
    try:
        return {key: render_svg(spec) for key, spec in _figures(report).items()}
    except MissingError:
        return {}


def as_json(report: Report) -> dict[str, Any]:
    """The report for programs: raw figures under keys with units, null for what is unknown."""
    return {
        "schema": SCHEMA,
        "experiment": report.experiment,
        "as_of": report.as_of,
        "counts": {
            "runs": report.counts.runs,
            "finished": report.counts.finished,
            "failed": report.counts.failed,
            "unended": report.counts.unended,
        },
        "summary": list(report.summary),
        "expectations": [
            {
                "text": check.text,
                "status": check.status,
                "value": check.value,
                "unit": check.unit or None,
                "configuration": check.where or None,
                "because": check.because,
            }
            for check in report.checks
        ],
        **{name: records(table) for name, table in report.data.items()},
    }


def _figures(report: Report) -> dict[str, dict[str, Any]]:
    return {figure.key: figure.spec for section in report.sections for figure in section.figures}


def _write_whole(path: Path, text: str) -> Path:
    """Into a file beside it first, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
    return path
