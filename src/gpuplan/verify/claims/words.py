"""Figures and findings in words. It decides nothing but how far off is an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gpuplan.model import Finding
from gpuplan.units import format_bytes, format_number, format_usd

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuplan.verify.claims.claim import Claim

__all__ = ["WRONG", "contradiction", "places", "size", "span", "spoken", "time"]

WRONG = 2.0
"""Further off than this factor is an error, less a warning."""


def contradiction(
    check: str, *, message: str, because: str, fix: str, claims: tuple[Claim, ...], off: float
) -> Finding:
    """A finding at the first claim, which names the places of all where they are several."""
    severity: Literal["error", "warning"] = "error" if off > WRONG else "warning"
    return Finding(
        severity=severity,
        check=check,
        message=f"{message}{places(claims)}",
        place=claims[0].place,
        because=because,
        fix=fix,
    )


def places(claims: tuple[Claim, ...]) -> str:
    """` (lines 20, 135)` of one document, else every place in full; nothing where there is but one."""
    files = {claim.place.rpartition(":")[0] for claim in claims}
    lines = sorted({claim.line for claim in claims})
    if len(files) == 1 and lines[0] > 0:
        return f" (lines {', '.join(map(str, lines))})" if len(lines) > 1 else ""
    stated = dict.fromkeys(claim.place for claim in claims)
    return f" ({', '.join(stated)})" if len(stated) > 1 else ""


def span(low: float, high: float, show: Callable[[float], str]) -> str:
    """`1.11 to 1.67 h` of two ends, or the one figure."""
    first, last = show(low), show(high)
    return first if first == last else f"{first} to {last}"


def time(seconds: float) -> str:
    """In the unit that documents use: `0.25 s`, `16 min`, `16.9 h`, `4 days` from four days on."""
    for unit, factor, least in (("days", 86400.0, 4 * 86400.0), ("h", 3600.0, 3600.0), ("min", 60.0, 120.0)):
        if seconds >= least:
            return f"{format_number(seconds / factor)} {unit}"
    return f"{format_number(seconds)} s"


def size(size_bytes: float) -> str:
    """In GB and MB, as documents state them."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size_bytes >= 0.9995 * factor:
            return f"{format_number(size_bytes / factor)} {unit}"
    return format_bytes(size_bytes)


def spoken(value: float, unit: str) -> str:
    """A value of the vocabulary's unit."""
    forms: dict[str, Callable[[float], str]] = {
        "s": time,
        "B": size,
        "USD": format_usd,
        "USD/s": lambda price: f"${format_number(price * 3600)}/h",
    }
    return forms.get(unit, format_number)(value)
