from __future__ import annotations

import pytest

from gpuplan.model import Bill, BillLine, Option, OptionKind, Quantity, RentedMachine
from gpuplan.report.priced import (
    advice_lines,
    bill_table,
    bound_line,
    catch_lines,
    gpus_table,
    machines_words,
    options_table,
)
from gpuplan.report.render import as_markdown

DAY = "2026-11-01"


def quantity(p50: float) -> Quantity:
    return Quantity(p10=p50 / 2, p50=p50, p90=2 * p50, source="measured", because="here")


def option(kind: OptionKind, *catches: str, chosen: bool = False, gap: float | None = 0.006, gpus: int = 1) -> Option:
    machine = RentedMachine(
        offer="vast/1", place="vast", gpu="RTX 4090", gpu_count=gpus, machines=2, hours=quantity(3),
        price_usd_per_h=0.4, spot=gpus > 1,
    )  # fmt: skip
    bill = Bill(
        lines=(BillLine(what="rent", cost_usd=quantity(2)), BillLine(what="idle", cost_usd=quantity(0.5))),
        total_usd=quantity(2.5),
        hours=quantity(3),
    )
    return Option(
        kind=kind, title=kind, chosen=chosen, machines=(machine,), gpus=2 * gpus, cost_usd=quantity(2.5),
        makespan_s=quantity(5400), bill=bill, utilization=0.8, bound_usd=2.485, gap=gap, catches=catches,
    )  # fmt: skip


def test_the_chosen_option_is_ticked_and_shows_cost_time_machines_and_use() -> None:
    text = as_markdown(options_table([option("cheapest", chosen=True), option("fastest", gpus=4)]))
    cheapest, fastest = text.splitlines()[2:4]
    assert "\N{CHECK MARK}" in cheapest
    assert "\N{CHECK MARK}" not in fastest
    assert all(part in cheapest for part in ("2.50", "1.25-", "1h30m", "2 x RTX 4090 at vast", "80%"))
    assert "2 x (4 RTX 4090) at vast, spot" in fastest


def test_without_a_chosen_one_the_table_says_why() -> None:
    assert "None of them keeps the limits." in as_markdown(options_table([option("cheapest")]))


def test_catches_of_all_are_said_once_and_the_others_by_option() -> None:
    both = [option("cheapest", "old", "tight", chosen=True), option("fastest", "old")]
    assert catch_lines(both) == ["! all of them: old", "! cheapest: tight"]
    assert catch_lines([option("cheapest", "old")]) == ["! the only way: old"]
    assert catch_lines([]) == []


@pytest.mark.parametrize(
    ("one", "as_of", "line"),
    [
        (option("cheapest", chosen=True), DAY, f"machines 0.6 % above the least possible, $2.48; oldest price {DAY}"),
        (option("cheapest", chosen=True), None, "machines 0.6 % above the least possible, $2.48"),
        (option("cheapest", chosen=True, gap=None), DAY, f"oldest price {DAY}"),
        (option("cheapest"), DAY, f"oldest price {DAY}"),
    ],
)
def test_the_bound_is_said_of_the_chosen_one(one: Option, as_of: str | None, line: str) -> None:
    assert bound_line([one], prices_as_of=as_of) == line


def test_the_bill_has_its_lines_and_their_sum() -> None:
    rows = as_markdown(bill_table(option("cheapest"))).splitlines()[2:]
    assert [row.split("|")[1].strip() for row in rows] == ["rent", "idle", "total"]


def test_advice_and_gpus() -> None:
    assert advice_lines(["twice the deadline saves 12%"]) == ["> twice the deadline saves 12%"]
    assert "old; tight" in as_markdown(gpus_table([option("cheapest", "old", "tight")]))


def rented(offer: str, machines: int, stage: str | None = None) -> RentedMachine:
    return RentedMachine(
        offer=offer, place="vast", gpu="RTX 4090", gpu_count=1, machines=machines, hours=quantity(1),
        price_usd_per_h=0.4, stage=stage,
    )  # fmt: skip


def test_machines_of_two_offers_that_read_alike_are_counted_together() -> None:
    assert machines_words([rented("vast/DE", 1), rented("vast/US", 2)]) == "3 x RTX 4090 at vast"


def test_stages_rent_one_after_the_other_so_that_the_most_at_a_time_is_said() -> None:
    machines = [rented("vast/DE", 7, "try"), rented("vast/DE", 6, "tune"), rented("vast/US", 2, "tune")]
    assert machines_words(machines) == "8 x RTX 4090 at vast"
