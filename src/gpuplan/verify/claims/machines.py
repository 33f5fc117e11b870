"""Do the GPU numbers of a document exist on one machine? Each machine counts its own from 0, and sees no other's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.model import Finding
from gpuplan.verify.claims.labels import devices

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuplan.verify.claims.linking import Ledger
    from gpuplan.verify.claims.passages import Passage

__all__ = ["OneMachine", "gpu_numbers", "one_machine"]

NUMBER = re.compile(r"\bcuda:(\d{1,3})\b")
EACH = re.compile(
    r"(?<![\d.,$/-])(?P<count>\d{1,3})\s?x?\s+(?P<what>(?:(?:GPUs?|cards?|[A-Z]+\s?\d+\w*)\s+)*)"
    r"(?:per|on each|in each)\s+(?P<machine>pod|machine|host|instance|server|node)\b",
    re.IGNORECASE,
)
"""`3x L40 per pod`, `(3 per pod)`, `8 GPUs per node`; a node alone may be a process."""

IS_GPU = re.compile(r"\bGPUs?\b", re.IGNORECASE)


class OneMachine(NamedTuple):
    """The GPUs of one machine, as a document says."""

    gpus: int
    words: str
    line: int


def one_machine(passages: Sequence[Passage]) -> OneMachine | None:
    """How many GPUs each machine has, if the document gives one number."""
    found = [machine for part in passages for machine in _machines(part)]
    return found[0] if len({machine.gpus for machine in found}) == 1 else None


def gpu_numbers(ledger: Ledger, passages: Sequence[Passage], name: str) -> Iterator[Finding]:
    """Numbers such as `cuda:3` beyond the GPUs of one machine, or beyond all GPUs that the document has."""
    named = [(int(match[1]), part.line) for part in passages for match in NUMBER.finditer(part.text)]
    machine = one_machine(passages)
    stated = max((claim.high for claim in (*ledger.of("gpus"), *ledger.of("ranks"))), default=0.0)
    limit = machine.gpus if machine else int(stated)
    beyond = sorted({(number, line) for number, line in named if number >= limit})
    if not limit or not beyond:
        return
    lines = sorted({line for _, line in beyond} | ({machine.line} if machine else set()))
    shown = ", ".join(dict.fromkeys(f"cuda:{number}" for number, _ in beyond))
    has = f"machines of {limit} GPUs each ({machine.words})" if machine else f"{limit} GPUs at the most"
    yield Finding(
        severity="error" if machine else "warning",
        check="claim-gpu-number",
        message=f"{shown} on {has} (lines {', '.join(map(str, lines))})",
        place=f"{name}:{beyond[0][1]}",
        because=f"a machine counts its GPUs from 0 to {limit - 1} and sees no other's: the program ends in `invalid "
        "device ordinal`",
        fix="give each machine its own workers, with the numbers that it has",
    )


def _machines(part: Passage) -> Iterator[OneMachine]:
    for match in EACH.finditer(part.text):
        is_said = match["what"].strip() or devices(part.text) or IS_GPU.search(part.text)
        if is_said and (match["machine"].lower() != "node" or match["what"].strip()):
            yield OneMachine(int(match["count"]), match[0].strip(), part.line)
