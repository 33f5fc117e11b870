"""An audit as a table of claims, as a headline and as JSON. It judges nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuplan.report.table import Column, Table
from gpuplan.verify.claims import TOLERANCE, VOCABULARY

if TYPE_CHECKING:
    from gpuplan.verify.claims import Audit, Claim

__all__ = ["audit_json", "claims_table", "headline"]

COLUMNS = (
    Column("place", "Where", importance=9),
    Column("quantity", "Claim", importance=10),
    Column("text", "As written", importance=10),
    Column("about", "Of", importance=6),
)
UNIT_NAMES = {"": "", "s": "_s", "B": "_bytes", "USD": "_usd", "USD/s": "_usd_per_s", "1/s": "_per_s"}


def headline(audit: Audit, *, document: str) -> str:
    """`plan.md: 30 claims understood, 9 figures left out, 1 error, 5 warnings, 1 note`."""
    counts = dict.fromkeys(("error", "warning", "note"), 0)
    for finding in audit.findings:
        counts[finding.severity] += 1
    found = [f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items() if count]
    return (
        f"{document}: {len(audit.claims)} claims understood, {audit.left_out} other figures left out; "
        f"{', '.join(found) or f'no contradiction beyond {TOLERANCE - 1:.0%}'}"
    )


def claims_table(audit: Audit) -> Table:
    """Every claim as it was understood, in the order of the document."""
    rows = tuple((claim.place, claim.quantity, claim.text, _about(claim)) for claim in audit.claims)
    return Table("claims", "Claims as understood", COLUMNS, rows)


def audit_json(audit: Audit, *, document: str | None, spec: str | None) -> dict[str, Any]:
    """One document, `gpuplan.audit/1`; each figure carries its unit in the name."""
    return {
        "schema": "gpuplan.audit/1",
        "document": document,
        "spec": spec,
        "tolerance": round(TOLERANCE - 1, 3),
        "left_out": audit.left_out,
        "claims": [_claim(claim) for claim in audit.claims],
        "findings": [finding.model_dump(mode="json") for finding in audit.findings],
    }


def _about(claim: Claim) -> str:
    about = claim.about
    gpus = f"{about.gpus} GPU{'s' * (about.gpus != 1)}" if about.gpus is not None else None
    return ", ".join(part for part in (about.device, about.model, gpus, about.variant) if part)


def _claim(claim: Claim) -> dict[str, Any]:
    suffix = UNIT_NAMES[VOCABULARY[claim.quantity].unit]
    return {
        "quantity": claim.quantity,
        f"low{suffix}": claim.low,
        f"high{suffix}": claim.high,
        "text": claim.text,
        "place": claim.place,
        **claim.about._asdict(),
    }
