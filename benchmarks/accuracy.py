"""How right the estimates are on measured rows: `accuracy.py memory|time|scaling|sharing FILE.csv...`.

Each prints its tables, writes JSON, and ends with one JSON object on the last line; `accuracy.py WHAT --help` has the
options. Any file in the columns of the public one works.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))

import memory_main
import scaling_main
import sharing_main
import time_main

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SUBJECTS: dict[str, Callable[[Sequence[str]], int]] = {
    "memory": memory_main.main,
    "time": time_main.main,
    "scaling": scaling_main.main,
    "sharing": sharing_main.main,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Score one subject; 2 without one."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] not in SUBJECTS:
        print(f"accuracy.py {'|'.join(SUBJECTS)} FILE.csv...", file=sys.stderr)
        return 2
    return SUBJECTS[words[0]](words[1:])


if __name__ == "__main__":
    sys.exit(main())
