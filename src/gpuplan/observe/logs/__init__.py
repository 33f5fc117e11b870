"""Reads the logs of other programs as runs: what each measured, how far that can be trusted, what was refused and why.

It never writes, never runs what it reads, and never loads a file whole.
"""

from __future__ import annotations

from gpuplan.observe.logs.formats import Refusal
from gpuplan.observe.logs.joined import joined
from gpuplan.observe.logs.walk import read_logs

__all__ = ["Refusal", "joined", "read_logs"]
