"""The shipped snapshot, the facts on places and Colab's units: each with source and date, and true to its tables."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from offer_sources import CARDS, TODAY

from gpuplan.data import gpus
from gpuplan.data.places import all_facts, place_facts, places
from gpuplan.model import Compute, Offer
from gpuplan.offers import offers
from gpuplan.offers.believe import BOUNDS
from gpuplan.offers.colab import Colab, plans
from gpuplan.offers.local import Local
from gpuplan.offers.snapshot import Snapshot, usual_prices

ROOT = Path(__file__).parents[2]
CATALOG = ROOT.parent / "shared" / "catalog"


def shipped() -> tuple[Offer, ...]:
    return offers(Compute(), Snapshot(), today=TODAY).offers


def test_every_shipped_row_is_believable() -> None:
    found = offers(Compute(), Snapshot(), today=TODAY)
    assert found.refused == ()
    assert len(found.offers) > 300


def test_every_shipped_row_has_its_source_and_a_date_or_none() -> None:
    for offer in shipped():
        assert offer.source
        assert offer.place in places()
        assert offer.age_days(TODAY) is None or offer.age_days(TODAY) in range(2000)


def test_known_mistakes_of_the_lists_are_not_shipped() -> None:
    found = shipped()
    assert not [offer for offer in found if offer.gpu == "H200 SXM 141GB" and (offer.gpu_price_usd_per_h or 0) < 1]
    assert all("vCPUs and memory come on top" in offer.notes for offer in found if offer.id.startswith("gcp/A100"))
    oci = [offer.gpu_price_usd_per_h for offer in found if offer.place == "oci" and offer.gpu == "L40S"]
    assert min(price or 0 for price in oci) > 2


def test_prices_that_the_study_names() -> None:
    found = {offer.id: offer for offer in shipped()}
    assert found["runpod/secure-H100-SXM-80GB/x1"].price_usd_per_h == 3.49
    assert found["vast/RTX-4090/x1/DE"].price_usd_per_h == 0.40
    assert found["lambda/gpu_1x_a100/x1"].price_usd_per_h == 1.99
    assert found["coreweave/H100-SXM-80GB/x8/spot"].price_usd_per_h == 19.71
    assert found["aws/p5.48xlarge/x8/us-east-1"].price_usd_per_h == pytest.approx(8 * 6.88)


def test_the_snapshot_loads_at_once() -> None:
    shipped()
    best = min(_timed() for _ in range(5))
    assert best < 0.5


def _timed() -> float:
    before = time.process_time()
    shipped()
    return time.process_time() - before


def test_places_with_something_newer_are_left_to_it() -> None:
    assert all(offer.place != "vast" for offer in offers(Compute(), Snapshot(without=["vast"]), today=TODAY).offers)


@pytest.mark.skipif(not CATALOG.is_dir(), reason="the price tables are not part of the project")
def test_the_snapshot_is_as_its_tables_make_it() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "make_offers.py"), str(CATALOG), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_usual_prices_are_those_of_known_gpus() -> None:
    assert set(usual_prices()) <= set(gpus())
    card = usual_prices()["H100 SXM 80GB"]
    assert card.lowest_usd <= card.lowest_on_demand_usd <= card.highest_usd
    assert card.markets >= 2


def test_every_fact_on_a_place_has_source_date_and_a_value_that_can_be() -> None:
    keys = [(fact.place, fact.name) for fact in all_facts()]
    assert len(set(keys)) == len(keys)
    for fact in all_facts():
        assert fact.name in Offer.model_fields
        least, most = BOUNDS[fact.name]
        assert least <= fact.value <= most
        assert fact.source
        assert fact.date <= TODAY
        assert fact.checked in {"seen", "partly", "recalled"}


def test_a_place_that_nobody_knows_has_no_facts() -> None:
    assert place_facts("nowhere") == {}


def test_colab_is_priced_by_its_units() -> None:
    found = {offer.gpu: offer for offer in offers(Compute(), Colab(), today=TODAY).offers}
    assert found["A100 SXM 80GB"].price_usd_per_h == pytest.approx(7.52 * 0.0999, abs=1e-4)
    assert found["T4"].session_s == 86_400
    assert "not promised" in found["L4"].notes
    assert {plan.name: (plan.usd, plan.units) for plan in plans()} == {
        "pay as you go": (9.99, 100), "Pro+": (49.99, 500)
    }  # fmt: skip


def test_this_machine_costs_its_electricity() -> None:
    [free] = Local(CARDS).items()
    assert isinstance(free, Offer)
    assert (free.id, free.gpu_count, free.price_usd_per_h, free.as_of) == ("local", 2, 0.0, "now")
    [paid] = Local(CARDS, power_w=1000, electricity_usd_per_kwh=0.30).items()
    assert isinstance(paid, Offer)
    assert paid.price_usd_per_h == pytest.approx(0.30)
