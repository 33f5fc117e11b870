"""A user's CSV: any of the usual names, units in headers and cells, and every row that is wrong by its line."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from offer_sources import RECORDED, TODAY

from gpuplan.errors import UserError
from gpuplan.model import Compute
from gpuplan.offers import Offered, offers
from gpuplan.offers.table import COLUMNS, MOST_ROWS, Table


def read(path: Path) -> Offered:
    return offers(Compute(), Table(path), today=TODAY)


def table(tmp_path: Path, text: str | bytes) -> Offered:
    path = tmp_path / "own.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path)


def test_the_usual_names_and_units() -> None:
    found = {offer.id: offer for offer in read(RECORDED / "offers.csv").offers}
    first = found["offers.csv:2"]
    assert (first.place, first.gpu, first.gpu_count, first.price_usd_per_h) == ("campus", "RTX 4090", 2, 0.6)
    assert (first.reliability, first.disk_bytes, first.as_of) == (0.99, 500 * 10**9, "2026-11-01")
    assert first.download_bytes_per_s == 940 * 125_000
    assert found["offers.csv:3"].disk_bytes == 2 * 10**12
    assert (found["offers.csv:3/spot"].price_usd_per_h, found["offers.csv:3/spot"].spot) == (0.7, True)
    assert found["offers.csv:3"].spot is False
    assert first.spot is None
    assert found["offers.csv:4"].gpu == "H100 SXM 80GB"


def test_slices_of_one_machine_are_those_of_one_place(tmp_path: Path) -> None:
    found = table(tmp_path, "gpu,price,place,machine_id\nL4,0.8,a,7\nL4,0.9,b,7\nL4,0.7,a,7\n")
    assert [offer.exclusive_with for offer in found.offers] == ["a/7", "a/7", "b/7"]


def test_columns_that_are_not_read_are_named() -> None:
    assert "not read: Colour" in read(RECORDED / "offers.csv").refused[0].reason


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("gpu,price\nL4,0.8\n", 0.8),
        ("gpu;price\nL4;0.8\n", 0.8),
        ("gpu\tprice\r\nL4\t0.8\r\n", 0.8),
        ("\ufeffGPU,Price\nL4,$0.80\n", 0.8),
        ("gpu,gpus,price_per_gpu\nL4,4,0.8\n", 3.2),
        ("gpu,gpus,price per GPU hour [USD]\nL4,4,0.8 USD\n", 3.2),
        ("accelerator,num_gpus,dph_total\nL4,1x,0.8\n", 0.8),
        ("gpu,memory per gpu,price\nL4,24 GB,0.8\n", 0.8),
        ("gpu,vram_mib,price\nL4,23034,0.8\n", 0.8),
        ("gpu,gpu_ram (MB),price\nL4,23034,0.8\n", 0.8),
        ("gpu,price\n\nL4,0.8\n\n", 0.8),
        ('gpu,price,notes\nL4,0.8,"a, ""b"""\n', 0.8),
    ],
)
def test_tables_as_people_write_them(tmp_path: Path, text: str, price: float) -> None:
    assert [offer.price_usd_per_h for offer in table(tmp_path, text).offers] == [pytest.approx(price)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("L4,1,-0.8,,", "price -0.8 USD"),
        ("L4,1,0,,", "leave it out for a machine of your own"),
        ("L4,1,nan,,", "price_usd_per_h 'nan'"),
        ("L4,1,,,", "no price is stated"),
        ("L4,1,cheap,,", "price_usd_per_h: 'cheap' is not a number"),
        ('L4,1,"0,80",,', "a comma separates thousands here"),
        ("L5,1,0.8,,", "unknown GPU 'L5'"),
        ("L4,1,0.8,48 GB,", "L4 has 22.5 GiB, the source says 44.7 GiB"),
        ("L4,0,0.8,,", "gpu_count"),
        ("L4,1.5,0.8,,", "'1.5' is not a whole number"),
        ("L4,inf,0.8,,", "'inf' is not a whole number"),
        ("L4,1,0.8,,150%", "reliability 1.5 cannot be"),
        ("L4,1,0.8", "3 cells, but 5 columns"),
        (",1,0.8,,", "unknown GPU ''"),
        ("=cmd|'/c calc'!A1,1,0.8,,", "unknown GPU"),
    ],
)
def test_a_wrong_row_is_called_by_its_line(tmp_path: Path, row: str, reason: str) -> None:
    found = table(tmp_path, f"gpu,gpus,price,vram,reliability\nL4,1,0.8,24,0.99\n{row}\nL4,1,0.9,,\n")
    assert [offer.id for offer in found.offers] == ["own.csv:2", "own.csv:4"]
    assert [one.offer for one in found.refused] == ["own.csv:3"]
    assert reason in found.refused[0].reason


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "no column for gpu"),
        (b"a,b\n1,2\n", "no column for gpu"),
        (b"gpu,price (EUR/h)\nL4,1\n", "no column for price"),
        (b"gpu,price [USD/month]\nL4,1\n", "no column for price"),
        (b"gpu,price,hourly_price\nL4,1,1\n", "price and hourly_price mean the same"),
        (b"<!DOCTYPE html><table>\n", "not a table but '<!DOCTYPE html><tabl'"),
        (b'{"offers": []}', "not a table"),
        (b"\xff\xfe\x00g", "not text in UTF-8"),
    ],
)
def test_what_is_no_table_of_offers_is_refused_with_the_way_out(tmp_path: Path, text: bytes, message: str) -> None:
    with pytest.raises(UserError) as caught:
        table(tmp_path, text)
    assert message in caught.value.message
    assert caught.value.hint


def test_no_file_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            read(path)


def test_a_broken_quotation_costs_only_what_follows(tmp_path: Path) -> None:
    found = table(tmp_path, 'gpu,price,notes\nL4,0.8,a\nL4,0.9,"never closed\n' + "L4,1,x\n" * 3)
    assert [offer.id for offer in found.offers] == ["own.csv:2"]
    assert "the rest is left out" in found.refused[-1].reason


def test_a_million_rows_end_and_are_counted(tmp_path: Path) -> None:
    before = time.process_time()
    found = table(tmp_path, "gpu,price\n" + "L4,0.8\n" * 1_000_000)
    assert len(found.offers) == MOST_ROWS
    assert f"{1_000_000 - MOST_ROWS:,} more rows left out" in found.refused[0].reason
    assert time.process_time() - before < 30


def test_every_name_of_a_column_means_one_field() -> None:
    names = [name for aliases in COLUMNS.values() for name in aliases]
    assert len(set(names)) == len(names)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(tmp_path: Path, text: str) -> None:
    try:
        found = table(tmp_path, f"gpu,price,vram,disk,inet_down,spot,date\n{text}".encode("utf-8", "replace"))
    except UserError:
        return
    assert all(one.reason for one in found.refused)


def test_every_column_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "offers.md").read_text("utf-8")
    for field, names in COLUMNS.items():
        [line] = [line for line in page.splitlines() if line.startswith(f"| {field} |")]
        assert all(f"`{name}`" in line for name in names)
