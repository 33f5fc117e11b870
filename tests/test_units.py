from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpuplan.units import (
    GIB,
    MIB,
    format_bytes,
    format_count,
    format_duration,
    format_number,
    format_range,
    format_usd,
    parse_bandwidth,
    parse_bytes,
    parse_duration,
    parse_usd,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CALM = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
READERS = (parse_bytes, parse_bandwidth, parse_usd, parse_duration)
NO_AMOUNTS = (
    *("", " ", "50", "-5 s", "-5 GB", "- 5 USD", "nan s", "inf GB", "1..2 s", "1__0 s", "s", "GB", "5 5 GB", "٣ GB"),
    *("1,5 GB", "5 parsecs", "50 EUR", "€50", "5$0", "$", "0x10 B", "1e400 GB", "1e400 s", "1e9999 USD", "5 GB!"),
    *("1h30", "1 h, 2 min", "9-9-9", "1:2:3", "5 s\0", "\ud800 s"),
)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("50 GB", 50 * 10**9),
        ("50GB", 50 * 10**9),
        ("8GiB", 8 * GIB),
        (" 512 MiB ", 512 * MIB),
        ("0.5 TiB", 512 * GIB),
        ("1_000 kb", 10**6),
        ("1e3 B", 1000),
        ("12 bytes", 12),
        ("0 B", 0),
        ("1.5 KiB", 1536),
    ],
)
def test_sizes(text: str, size_bytes: int) -> None:
    assert parse_bytes(text) == size_bytes
    assert isinstance(parse_bytes(text), int)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("100 Mbit/s", 12.5e6), ("1 Gbit/s", 125e6), ("12 MB/s", 12e6), ("1 MiB/s", MIB), ("8 kbit/s", 1e3)],
)
def test_rates(text: str, rate: float) -> None:
    assert parse_bandwidth(text) == rate


@pytest.mark.parametrize("text", ["50 USD", "50usd", "$50", "$ 50", "50$", "$50 USD", " 50.0 Usd "])
def test_dollars(text: str) -> None:
    assert parse_usd(text) == 50.0


@pytest.mark.parametrize(
    ("text", "duration_s"),
    [
        ("90s", 90),
        ("90 s", 90),
        ("1h30m", 5400),
        ("1 h 30 min", 5400),
        ("5 days", 432_000),
        ("2 weeks", 1_209_600),
        ("0.5 h", 1800),
        ("1e3 s", 1000),
        ("1-02:00:00", 93_600),
        ("1-02:00", 93_600),
        ("100:00:01", 360_001),
        ("1e+16 s", 1e16),
        ("1e-05 s", 1e-05),
    ],
)
def test_times(text: str, duration_s: float) -> None:
    assert parse_duration(text) == duration_s


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("text", NO_AMOUNTS)
def test_what_is_no_amount(read: Callable[[str], float], text: str) -> None:
    with pytest.raises(ValueError, match=r"is not an? |is too large"):
        read(text)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "text", ["1" * 100_000, "1" * 100_000 + "!", "1 " * 50_000, "9" * 400 + "-00:00:00", "1s" * 50_000]
)
def test_very_long_texts_are_refused_before_they_are_matched(read: Callable[[str], float], text: str) -> None:
    with pytest.raises(ValueError, match=r"is not an? ") as caught:
        read(text)
    assert len(str(caught.value)) < 200


def test_minutes_or_hours_is_not_guessed() -> None:
    with pytest.raises(ValueError, match="'10:00' may be minutes or hours; write 10 min or 10 h"):
        parse_duration("10:00")


def test_the_message_names_a_right_one() -> None:
    with pytest.raises(ValueError, match="'50 EUR' is not an amount such as 50 USD"):
        parse_usd("50 EUR")


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (33_500_000_000, "31.2 GiB"),
        (GIB - 1, "1 GiB"),
        (1023 * MIB, "1,023 MiB"),
        (2**40, "1 TiB"),
        (-5e9, "-4.66 GiB"),
    ],
)
def test_format_bytes(size_bytes: float, text: str) -> None:
    assert format_bytes(size_bytes) == text


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (0, "0s"),
        (0.25, "0.25s"),
        (48, "48s"),
        (59.96, "1m00s"),
        (185, "3m05s"),
        (3599.7, "1h00m"),
        (3900, "1h05m"),
        (172_799, "47h59m"),
        (172_800 + 3 * 3600, "2d03h"),
        (-5, "-5s"),
        (-90, "-1m30s"),
        (-7200, "-2h00m"),
    ],
)
def test_format_duration(duration_s: float, text: str) -> None:
    assert format_duration(duration_s) == text


@pytest.mark.parametrize(
    ("cost_usd", "text"), [(0.6, "$0.60"), (9.999, "$10.0"), (23.94, "$23.9"), (99.96, "$100"), (1204, "$1,204")]
)
def test_format_usd(cost_usd: float, text: str) -> None:
    assert format_usd(cost_usd) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (12, "12"), (2_830_000, "2.83M"), (999_900, "1M"), (350e6, "350M"), (7e12, "7T")]
)
def test_format_count(count: float, text: str) -> None:
    assert format_count(count) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0125, "0.0125"),
        (48, "48"),
        (1204, "1,204"),
        (9.999, "10"),
        (99.96, "100"),
        (5e-5, "5.00e-05"),
        (-3.14159, "-3.14"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_format_number(value: float, text: str) -> None:
    assert format_number(value) == text


def test_format_range() -> None:
    assert format_range("41s", "48s", "1m00s") == "48s (41s-1m00s)"
    assert format_range("48s", "48s", "48s") == "48s"
    assert format_range("258 MiB", "374 MiB", "702 MiB") == "374 MiB (258-702)"
    assert format_range("900 MiB", "1 GiB", "1.2 GiB") == "1 GiB (900 MiB-1.2 GiB)"


@CALM
@given(st.floats(min_value=0, max_value=1e15, allow_subnormal=False))
def test_a_printed_size_is_within_half_a_percent(size_bytes: float) -> None:
    printed = parse_bytes(format_bytes(size_bytes).replace(",", ""))
    assert printed == pytest.approx(size_bytes, rel=0.0051, abs=0.5)


@CALM
@given(st.floats(min_value=1, max_value=47 * 3600))
def test_a_printed_time_is_within_a_minute(duration_s: float) -> None:
    assert parse_duration(format_duration(duration_s)) == pytest.approx(duration_s, abs=60)
