"""What the tracer is asked, read from a JSON file. It checks nothing: gpuplan wrote the file."""

from __future__ import annotations

import json
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

__all__ = ["Request", "read_request"]


class Request(NamedTuple):
    """One trace: which function, with which settings, at which batches."""

    module: str
    function: str
    settings: Dict[str, Any]
    varied: Optional[str]
    batches: List[int]
    workdir: str
    gpu: bool
    ranks: int
    capability: Tuple[int, int]
    memory_limit_bytes: int
    result: str
    crash: str

    def settings_at(self, batch: int) -> Dict[str, Any]:
        """The settings with the batch in its place."""
        return self.settings if self.varied is None else {**self.settings, self.varied: batch}


def read_request(path: str) -> Request:
    """The request in `path`."""
    with open(path, encoding="utf-8") as file:
        fields = json.load(file)
    major, minor = fields.pop("capability")
    return Request(capability=(major, minor), **fields)
