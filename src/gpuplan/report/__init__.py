"""What came out, in words, tables and figures, held against what was expected and predicted. It never runs anything."""

from gpuplan.report.compose import Counts as Counts
from gpuplan.report.compose import Figure as Figure
from gpuplan.report.compose import Report as Report
from gpuplan.report.compose import Section as Section
from gpuplan.report.compose import build as build
from gpuplan.report.expect import Check as Check
from gpuplan.report.expect import check as check
from gpuplan.report.expect import evaluate as evaluate
from gpuplan.report.files import as_json as as_json
from gpuplan.report.files import draw as draw
from gpuplan.report.files import write as write

__all__ = ["Check", "Counts", "Figure", "Report", "Section", "as_json", "build", "check", "draw", "evaluate", "write"]
