"""Two plan files, read and compared. It plans nothing and looks at no machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuplan.flow.planfile import read_plan_file
from gpuplan.report.differences import compare

if TYPE_CHECKING:
    from pathlib import Path

    from gpuplan.report.differences import Differences

__all__ = ["diff_files"]


def diff_files(before: Path, after: Path) -> Differences:
    """What is different in the plan `after`. Raises UserError for a file that holds no plan."""
    return compare(read_plan_file(before), read_plan_file(after))
