"""Claims of a document held against each other. It looks at no file, no machine and no price list."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.verify.claims import arithmetic, batches, installs, machines, memory, scaling, settings, times
from gpuplan.verify.claims.claim import VOCABULARY as VOCABULARY
from gpuplan.verify.claims.claim import Claim as Claim
from gpuplan.verify.claims.linking import TOLERANCE as TOLERANCE
from gpuplan.verify.claims.linking import Ledger
from gpuplan.verify.claims.prose import Read as Read
from gpuplan.verify.claims.prose import claims_in as claims_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gpuplan.model import Finding

__all__ = [
    "RELATIONS",
    "TOLERANCE",
    "VOCABULARY",
    "Audit",
    "Claim",
    "Read",
    "audit_claims",
    "audit_document",
    "claims_in",
]

RELATIONS: tuple[Callable[[Ledger], Iterator[Finding]], ...] = (
    times.products,
    times.statements,
    memory.training,
    memory.states,
    memory.copies,
    memory.logits,
    memory.model_sizes,
    memory.card_sizes,
    memory.zero_batch,
    memory.checkpoints,
    scaling.speedups,
    scaling.sharing,
    scaling.packed,
    scaling.rescaled,
    scaling.crowded_gpus,
)
SEVERITIES = ("error", "warning", "note")


class Audit(NamedTuple):
    """The claims as they were understood, what contradicts what, and how many figures were left out."""

    claims: tuple[Claim, ...]
    findings: tuple[Finding, ...]
    left_out: int = 0


def audit_document(text: str, *, name: str, stated: Iterable[Claim] = ()) -> Audit:
    """The prose document `name`, with claims `stated` beside it: its sums, then every relation."""
    read = claims_in(text, name=name)
    sums = [*arithmetic.equations(read.passages, name=name), *arithmetic.ratios(read.passages, name=name)]
    held = audit_claims((*read.claims, *stated), text=text)
    ledger, machine = Ledger(held.claims, text), machines.one_machine(read.passages)
    beside = [
        *batches.unequal_batches(ledger, read.passages),
        *machines.gpu_numbers(ledger, read.passages, name),
        *settings.refused_keys(text, name),
        *settings.crowded_searches(text, name, machine),
        *installs.library_versions(text, read.passages, name),
    ]
    return Audit(held.claims, _sorted([*sums, *beside, *held.findings]), read.left_out)


def audit_claims(claims: Iterable[Claim], *, text: str = "training") -> Audit:
    """Claims held against each other; `text` is where they are from, for what it is about."""
    ledger = Ledger(tuple(claims), text)
    return Audit(ledger.claims, _sorted([finding for relation in RELATIONS for finding in relation(ledger)]))


def _sorted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first; the same message once."""
    once = {(finding.check, finding.message): finding for finding in findings}
    return tuple(sorted(once.values(), key=lambda finding: SEVERITIES.index(finding.severity)))
