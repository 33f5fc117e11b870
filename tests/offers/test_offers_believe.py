"""Offers that cannot be true are named and left out; the others still come."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from offer_sources import TODAY, Listed, quote

from gpuplan.model import STALE_DAYS, Compute, Offer
from gpuplan.offers import MOST_ROWS, Offered, offers
from gpuplan.offers.base import UnavailableError
from gpuplan.offers.believe import BOUNDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.offers.base import Item


def answer(*items: Any, compute: Compute | None = None) -> Offered:
    return offers(compute or Compute(), Listed(items), today=TODAY)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"price_usd_per_h": -1.0}, "price -1 USD"),
        ({"price_usd_per_h": 0.0}, "leave it out for a machine of your own"),
        ({"price_usd_per_h": math.nan}, "price_usd_per_h 'nan'"),
        ({"price_usd_per_h": math.inf}, "price_usd_per_h 'inf'"),
        ({"price_usd_per_h": None}, "no price is stated"),
        ({"price_usd_per_h": "a lot"}, "price_usd_per_h 'a lot'"),
        ({"price_usd_per_h": 350.0}, "350 USD per GPU-hour cannot be"),
        ({"gpu_count": 0}, "gpu_count '0'"),
        ({"gpu_count": -4}, "gpu_count '-4'"),
        ({"gpu_count": 1.5}, "gpu_count '1.5'"),
        ({"gpu_count": 1000, "price_usd_per_h": 400.0}, "gpu_count 1000 cannot be"),
        ({"gpu_count": None}, "gpu_count is not stated"),
        ({"available": -1}, "available -1 cannot be"),
        ({"reliability": 97.0}, "reliability 97 cannot be: 0 to 1"),
        ({"host_memory_bytes": 64}, "host_memory_bytes 64 cannot be"),
        ({"disk_bytes": 50}, "disk_bytes 50 cannot be"),
        ({"as_of": "2027-01-01"}, "yet to come"),
        ({"as_of": "2026-02-30"}, "not a day of the calendar"),
        ({"as_of": "yesterday"}, "is not a date"),
        ({"as_of": None}, "as_of is not stated"),
        ({"place": "vast", "gpu_count": 8, "price_usd_per_h": 0.35}, "of one GPU in place of 8, or a stand-in?"),
        ({"place": "vast", "price_usd_per_h": 35.0}, "cents, or of another number of GPUs?"),
    ],
)
def test_what_cannot_be_is_named_and_the_rest_comes(facts: dict[str, Any], reason: str) -> None:
    found = answer(quote(**{"id": "bad", **facts}), quote(id="good"))
    assert [offer.id for offer in found.offers] == ["good"]
    assert [one.offer for one in found.refused] == ["bad"]
    assert reason in found.refused[0].reason
    assert found.refused[0].kind == "bad"


def test_an_own_price_far_from_the_market_is_the_users_business() -> None:
    assert answer(quote(gpu_count=8, price_usd_per_h=0.35)).offers


def test_a_unit_of_another_size_is_named_for_every_field() -> None:
    for name, (_, most) in BOUNDS.items():
        beyond: dict[str, Any] = {name: int(most) * 10 + 10}
        found = answer(quote(**beyond))
        assert name in found.refused[0].reason


def test_one_id_twice_counts_once() -> None:
    found = answer(quote(price_usd_per_h=0.5), quote(price_usd_per_h=0.4))
    assert [offer.price_usd_per_h for offer in found.offers] == [0.5]
    assert found.refused[0].reason == "its id is there twice"


def test_a_source_that_breaks_off_keeps_what_came_before() -> None:
    class Breaking:
        name = "breaking"

        def items(self) -> Iterator[Item]:
            yield quote()
            raise UnavailableError("it hung up", hint="try later")

    found = offers(Compute(), Breaking(), Listed([quote(id="b")]), today=TODAY)
    assert [offer.id for offer in found.offers] == ["a/1", "b"]
    assert found.refused[0].reason == "it hung up (try later)"


def test_a_million_rows_end() -> None:
    class Endless:
        name = "endless"

        def items(self) -> Iterator[Item]:
            one = quote(price_usd_per_h=-1.0)
            return (one for _ in range(1_000_000))

    found = offers(Compute(), Endless(), Listed([quote()]), today=TODAY)
    assert len(found.offers) == 1
    cut = next(one for one in found.refused if one.kind == "source")
    assert f"{1_000_000 - MOST_ROWS:,} more rows left out" in cut.reason


def test_place_facts_fill_in_only_what_is_not_stated() -> None:
    aws: dict[str, Any] = {"place": "aws", "price_usd_per_h": 1.0}
    plain, stated, spot = answer(
        quote("L4", 24, id="a", **aws),
        quote("L4", 24, id="b", billing_s=3600, **aws),
        quote("L4", 24, id="c", spot=True, **aws),
    ).offers
    assert (plain.billing_s, plain.minimum_s, plain.notice_s) == (1, 60, None)
    assert stated.billing_s == 3600
    assert spot.notice_s == 120
    assert spot.interruptions_per_h == pytest.approx(0.2449)


@pytest.mark.parametrize(("as_of", "age", "stale"), [
    ("2026-11-20", 0, False), ("2026-10-21", 30, False), ("2026-10-20", 31, True), ("2026-11", 19, False),
    ("", None, True), ("now", 0, False),
])  # fmt: skip
def test_every_price_has_an_age(as_of: str, age: int | None, *, stale: bool) -> None:
    offer = answer(quote(as_of=as_of)).offers[0]
    assert offer.age_days(TODAY) == age
    assert offer.is_stale(TODAY) is stale
    assert STALE_DAYS == 30


LOOSE = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(sorted(Offer.model_fields)), LOOSE), st.text(max_size=30), st.floats())
def test_nothing_that_a_source_says_breaks_it(facts: dict[str, Any], gpu: str, memory_gib: float) -> None:
    facts.pop("gpu", None)
    found = answer(quote(gpu, memory_gib, **facts), quote(id="good"))
    assert any(offer.id == "good" for offer in found.offers) or facts.get("id") == "good"
    for offer in found.offers:
        assert offer.gpu_price_usd_per_h is None or 0 <= offer.gpu_price_usd_per_h <= 100
        assert 1 <= offer.gpu_count <= 72 or offer.place == "local"
