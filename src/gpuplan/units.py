"""Bytes, seconds, dollars and counts: parsed from what people write, printed as people read them. Never rounds inside.

>>> parse_bytes("50 GB"), parse_bytes("2GiB")
(50000000000, 2147483648)
>>> format_bytes(33_500_000_000), format_duration(3900), format_usd(23.94)
('31.2 GiB', '1h05m', '$23.9')
"""

from __future__ import annotations

import math
import re

__all__ = [
    "GIB",
    "MIB",
    "format_bytes",
    "format_count",
    "format_duration",
    "format_number",
    "format_range",
    "format_usd",
    "parse_bandwidth",
    "parse_bytes",
    "parse_duration",
    "parse_usd",
]

ROUNDS_UP = 0.9995
"""Of a unit: three digits print it as 1 of that unit, not as 1,000 of the one below."""

KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40

BYTE_UNITS = {
    "b": 1, "byte": 1, "bytes": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": KIB, "mib": MIB, "gib": GIB, "tib": TIB,
}  # fmt: skip
DURATION_UNITS = {
    "s": 1, "sec": 1, "second": 1, "seconds": 1,
    "m": 60, "min": 60, "minute": 60, "minutes": 60,
    "h": 3600, "hour": 3600, "hours": 3600,
    "d": 86400, "day": 86400, "days": 86400,
    "w": 604800, "week": 604800, "weeks": 604800,
}  # fmt: skip
BIT_RATE_UNITS = {"kbit/s": 125, "mbit/s": 125_000, "gbit/s": 125_000_000}
BYTE_RATE_UNITS = {f"{unit}/s": factor for unit, factor in BYTE_UNITS.items()}

MAX_LENGTH = 60
"""Of a text that may be an amount; the patterns take quadratic time on very long ones."""

AMOUNT = re.compile(r"\s*([0-9]+(?:[._0-9]*[0-9])?(?:[eE][+-]?[0-9]{1,3})?)\s*([A-Za-z/$]*)\s*")
SLURM_TIME = re.compile(r"(?:([0-9]+)-)?([0-9]{1,3}):([0-9]{2})(?::([0-9]{2}))?")
DURATION_PART = re.compile(r"[0-9.]+(?:[eE][+-]?[0-9]+)?\s*[A-Za-z]+")


def parse_bytes(text: str) -> int:
    """Bytes of "50 GB", "8GiB" or "512 MiB". GB is 10^9 and GiB 2^30. Raises ValueError that names the units."""
    return round(_parse_amount(text, BYTE_UNITS, "a size such as 50 GB or 8 GiB"))


def parse_bandwidth(text: str) -> float:
    """Bytes a second of "100 Mbit/s" or "12 MB/s". Raises ValueError."""
    return _parse_amount(text, BIT_RATE_UNITS | BYTE_RATE_UNITS, "a rate such as 100 Mbit/s or 12 MB/s")


def parse_usd(text: str) -> float:
    """Dollars of "50 USD", "$50" or "50usd". Raises ValueError; other currencies are refused."""
    bare = text.strip().removeprefix("$")
    units = {"usd": 1, "$": 1} if bare == text.strip() else {"usd": 1, "": 1}
    return _parse_amount(bare, units, "an amount such as 50 USD")


def parse_duration(text: str) -> float:
    """Seconds of "5 days", "1h30m", "90s" or Slurm's "1-02:00:00". Raises ValueError that names the units."""
    expected = "a time such as 90 s, 1h30m, 5 days or 1-02:00:00"
    _check_length(text, expected)
    slurm = SLURM_TIME.fullmatch(text.strip())
    if slurm and slurm[1] is None and slurm[4] is None:
        raise ValueError(f"{text!r} may be minutes or hours; write {slurm[2]} min or {slurm[2]} h")
    if slurm:
        days, hours, minutes, seconds = (int(part or 0) for part in slurm.groups())
        return float(days * 86400 + hours * 3600 + minutes * 60 + seconds)
    parts = DURATION_PART.findall(text)
    if "".join("".join(parts).split()) != "".join(text.split()):
        parts = []
    return sum(_parse_amount(part, DURATION_UNITS, expected) for part in parts or [text])


def _parse_amount(text: str, units: dict[str, int], expected: str) -> float:
    _check_length(text, expected)
    match = AMOUNT.fullmatch(text)
    factor = units.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"{text!r} is not {expected}")
    try:
        amount = float(match[1]) * factor
    except ValueError:
        raise ValueError(f"{text!r} is not {expected}") from None
    if not math.isfinite(amount):
        raise ValueError(f"{text!r} is too large")
    return amount


def _check_length(text: str, expected: str) -> None:
    if len(text) > MAX_LENGTH:
        raise ValueError(f"{text[:20]!r}... is not {expected}")


def format_bytes(size_bytes: float) -> str:
    """Three digits in B, KiB, MiB, GiB or TiB."""
    for unit, factor in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if abs(size_bytes) >= factor * ROUNDS_UP:
            return f"{format_number(size_bytes / factor)} {unit}"
    return f"{size_bytes:.0f} B"


def format_duration(duration_s: float) -> str:
    """`0.25s`, `48s`, `3m05s`, `1h05m`, `2d03h`."""
    if duration_s <= -60:
        return f"-{format_duration(-duration_s)}"
    if abs(duration_s) < 59.95:
        return f"{format_number(duration_s)}s"
    minutes, seconds = divmod(round(duration_s), 60)
    if minutes < 60:
        return f"{minutes}m{seconds:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h{minutes:02d}m"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours:02d}h"


def format_usd(cost_usd: float) -> str:
    """Dollars with three digits, at most to the cent: `$0.60`, `$23.9`, `$1,204`."""
    if abs(cost_usd) >= 99.95:
        return f"${cost_usd:,.0f}"
    return f"${cost_usd:.2f}" if abs(cost_usd) < 9.995 else f"${cost_usd:.1f}"


def format_count(count: float) -> str:
    """Three digits with k, M or G: `2.83M`."""
    for suffix, factor in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if abs(count) >= factor * ROUNDS_UP:
            return f"{format_number(count / factor)}{suffix}"
    return format_number(count)


def format_number(value: float) -> str:
    """Three significant digits without an exponent for the usual sizes: `0.0125`, `48`, `1,204`."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) < 1e-4:
        return f"{value:.2e}"
    digits = 2 - math.floor(math.log10(abs(value)))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_range(low: str, middle: str, high: str) -> str:
    """`48s (41s-1m00s)`, `374 MiB (258-702)`; the middle alone where the ends print alike."""
    if low == middle == high:
        return middle
    unit = middle.rpartition(" ")[2]
    if " " in middle and low.endswith(f" {unit}") and high.endswith(f" {unit}"):
        low, high = low.removesuffix(f" {unit}"), high.removesuffix(f" {unit}")
    return f"{middle} ({low}-{high})"
