"""What every source of offers has to do, whichever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from offer_sources import TODAY, all_sources

from gpuplan.data import gpus
from gpuplan.model import Compute, Offer, Refused
from gpuplan.offers import offers
from gpuplan.offers.base import OWN_PLACES, Quote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.offers.base import Item

SOURCES = all_sources()
FILTERS = {
    "reliability": Compute.model_validate({"reliability": 0.5}),
    "disk_bytes": Compute.model_validate({"disk": "1 GB"}),
    "download_bytes_per_s": Compute.model_validate({"download": "1 Mbit/s"}),
    "region": Compute.model_validate({"region": ["US"]}),
}
pytestmark = pytest.mark.parametrize("name", SOURCES)


def offered(name: str, compute: Compute | None = None) -> tuple[Offer, ...]:
    return offers(compute or Compute(), SOURCES[name], today=TODAY).offers


def test_it_states_quotes_offers_and_refusals(name: str) -> None:
    items = list(SOURCES[name].items())
    assert items
    assert all(isinstance(item, Quote | Offer | Refused) for item in items)


def test_it_says_the_same_twice(name: str) -> None:
    assert list(SOURCES[name].items()) == list(SOURCES[name].items())


def test_it_gives_offers_of_known_gpus_with_a_price_a_date_and_a_source(name: str) -> None:
    found = offered(name)
    assert found
    for offer in found:
        assert offer.gpu in gpus()
        assert offer.source
        assert offer.place
        assert offer.gpu_price_usd_per_h is None or offer.gpu_price_usd_per_h >= 0
        assert offer.place in OWN_PLACES or offer.gpu_price_usd_per_h
        assert offer.age_days(TODAY) is None or (offer.age_days(TODAY) or 0) >= 0


def test_every_row_is_an_offer_or_has_a_reason(name: str) -> None:
    answer = offers(Compute(), SOURCES[name], today=TODAY)
    assert len(answer.offers) + len(answer.refused) == len(list(SOURCES[name].items()))
    assert all(one.reason for one in answer.refused)


def test_ids_are_unique(name: str) -> None:
    found = [offer.id for offer in offered(name)]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("field", FILTERS)
def test_what_it_does_not_state_passes_no_filter(name: str, field: str) -> None:
    silent = {offer.id for offer in offered(name) if getattr(offer, field) is None}
    answer = offers(FILTERS[field], SOURCES[name], today=TODAY)
    own = {offer.id for offer in answer.offers if offer.place in OWN_PLACES and field not in ("disk_bytes", "region")}
    assert not ({offer.id for offer in answer.offers} - own) & silent
    assert silent - own <= {one.offer for one in answer.refused if one.kind == "unstated"}


def test_the_order_of_its_rows_does_not_matter(name: str) -> None:
    class Turned:
        name = "turned"

        def items(self) -> Iterator[Item]:
            return iter(list(SOURCES[name].items())[::-1])

    assert offers(Compute(), Turned(), today=TODAY).offers == offered(name)
