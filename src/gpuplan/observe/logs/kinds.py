"""What a file is that is no log: told by how it opens, so that a refusal says what to do instead.

It never decides what a log is; that is each reader's own business.
"""

from __future__ import annotations

import re

__all__ = ["NO_LOG", "UNKNOWN", "binary_kind", "reason_for"]

NO_LOG = ", no log"
"""How a refusal ends that says what a file is instead."""
UNKNOWN = "its content is of no format that gpuplan knows"
MAGIC = {
    b"\x89HDF": "an HDF5 file",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"GGUF": "weights in GGUF",
    b"\x93NUMPY": "an array of NumPy",
    b"SQLite format 3": "a database of SQLite",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"%PDF": "a PDF",
    b"\x7fELF": "a program",
}
PICKLE = re.compile(rb"\x80[\x02-\x05]")
SAFETENSORS = re.compile(rb'.{8}\{ *"', re.DOTALL)
MOST_SAFETENSORS_HEADER = 100_000_000
QUERY = "nvidia-smi --query-gpu=timestamp,index,name,utilization.gpu,memory.used --format=csv -l 5 > gpu.csv"
HINTS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"\| NVIDIA-SMI \d"), f"the table of nvidia-smi is one moment, no log; take samples: {QUERY}"),
    (re.compile(rb"^# gpu +(?:\S+ +)*?(?:pwr|sm|fb)\b", re.MULTILINE), f"nvidia-smi dmon is not read; use {QUERY}"),
    (re.compile(rb"^ *JobID +\S[^\n|]*\n[- ]+\n"), "sacct without -P: its columns are cut off; use sacct -P"),
    (
        re.compile("Epoch \\d+/\\d+ [ \u2501\u2578\u257a-]+ \\d+/\\d+ [\\d:]+ \u2022 ".encode()),
        "a bar of rich, of which a file keeps the last state only; TQDMProgressBar or TensorBoardLogger have times",
    ),
    (
        re.compile(rb"\r?\d{1,12}it \[[\d:]{4,12}, "),
        "a progress bar without a total; tell tqdm the number of steps (total=...)",
    ),
    (
        re.compile(rb"%\|[^|\r\n]*\|[^\[\r\n]*\[[\d:]{4,12}<[^\]\r\n]*/s"),
        "its progress bars count no steps of a training (it/s), or are of other work",
    ),
)
"""What stands in a text that is no log, and what to do instead."""


def binary_kind(head: bytes) -> str | None:
    """What a file is that opens so, if it is surely no log; None otherwise."""
    known = next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), None)
    if known is not None:
        return f"{known}{NO_LOG}"
    if SAFETENSORS.match(head) and int.from_bytes(head[:8], "little") < MOST_SAFETENSORS_HEADER:
        return f"weights in safetensors{NO_LOG}"
    return f"an object that Python pickled{NO_LOG}" if PICKLE.match(head) else None


def reason_for(head: bytes) -> str:
    """Why a text of no known format is refused, and what to do instead where that is known."""
    return next((reason for pattern, reason in HINTS if pattern.search(head)), UNKNOWN)
