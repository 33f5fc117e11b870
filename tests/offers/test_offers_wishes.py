"""The filters: what is as wished, what is not, and what is not stated."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from offer_sources import TODAY, Listed, quote

from gpuplan.model import Compute
from gpuplan.offers import Offered, offers
from gpuplan.offers.wishes import runs_on

STATED: dict[str, Any] = {
    "reliability": 0.9, "disk_bytes": 10**11, "download_bytes_per_s": 1e7, "region": "US-TX", "spot": False,
}  # fmt: skip


def asked(wishes: dict[str, Any], *items: Any, **more: Any) -> Offered:
    return offers(Compute.model_validate(wishes), Listed(items), today=TODAY, **more)


@pytest.mark.parametrize(
    ("wishes", "reason"),
    [
        ({"gpus": ["A100"]}, "another GPU, wished A100"),
        ({"memory": "40 GiB"}, "24 GiB, wished at least 40 GiB a GPU"),
        ({"capability": 9.0}, "it has 8.9, wished compute capability 9 or more"),
        ({"reliability": 0.95}, "reliability 0.9, wished reliability is at least 0.95"),
        ({"disk": "200 GB"}, "disk 93.1 GiB, wished disk is at least 186 GiB"),
        ({"download": "100 Mbit/s"}, "80Mbit/s, wished download is at least 100Mbit/s"),
        ({"spot": True}, "it is not spot, wished it is spot"),
        ({"region": ["eu", "CA"]}, "it is in US-TX, wished it is in eu or CA"),
        ({"max_price": "0.30 USD"}, "0.4 USD per GPU-hour, wished at most 0.3"),
    ],
)
def test_what_is_not_as_wished_has_its_reason(wishes: dict[str, Any], reason: str) -> None:
    found = asked(wishes, quote(**STATED))
    assert not found.offers
    assert found.refused[0].kind == "filtered"
    assert reason in found.refused[0].reason


@pytest.mark.parametrize(
    "wishes",
    [
        {"gpus": ["4090"]}, {"memory": "20 GiB"}, {"capability": 8.9}, {"reliability": 0.9}, {"disk": "100 GB"},
        {"download": "80 Mbit/s"}, {"spot": False}, {"region": ["US"]}, {"region": ["de", "us-tx"]},
        {"max_price": "0.40 USD"}, {},
    ],
)  # fmt: skip
def test_what_is_as_wished_passes(wishes: dict[str, Any]) -> None:
    assert asked(wishes, quote(**STATED)).offers


@pytest.mark.parametrize(
    ("wishes", "reason"),
    [
        ({"reliability": 0.95}, "would pass if reliability is at least 0.95: not stated"),
        ({"reliability": 0.0}, "would pass if reliability is at least 0: not stated"),
        ({"disk": "50 GB"}, "would pass if disk is at least 46.6 GiB: not stated"),
        ({"download": "100 Mbit/s"}, "would pass if download is at least 100Mbit/s: not stated"),
        ({"spot": False}, "would pass if it is not spot: not stated"),
        ({"spot": True}, "would pass if it is spot: not stated"),
        ({"region": ["US"]}, "would pass if it is in US: not stated"),
        (
            {"reliability": 0.9, "spot": False},
            "would pass if reliability is at least 0.9 and it is not spot: not stated",
        ),
    ],
)
def test_what_is_not_stated_never_passes_and_is_listed(wishes: dict[str, Any], reason: str) -> None:
    found = asked(wishes, quote())
    assert not found.offers
    assert [one.reason for one in found.unstated] == [reason]
    assert found.unstated[0].stated is not None
    assert found.unstated[0].stated.price_usd_per_h == 0.4


def test_one_thing_against_it_is_enough_whatever_is_not_stated() -> None:
    found = asked({"reliability": 0.9, "max_price": "0.1 USD"}, quote())
    assert [one.kind for one in found.refused] == ["filtered"]


def test_only_rented_machines_are_asked_for_reliability_and_bandwidth() -> None:
    wishes = {"reliability": 0.9, "download": "1 Gbit/s"}
    assert asked(wishes, quote("L40", 45, place="slurm", price_usd_per_h=None)).offers


def test_places_and_what_is_sold_out() -> None:
    items = (quote(id="here", place="a"), quote(id="there", place="b"), quote(id="gone", place="a", available=0))
    found = asked({}, *items, places=["a"])
    assert [offer.id for offer in found.offers] == ["here"]
    assert {one.offer: one.reason for one in found.refused} == {
        "there": "it is at b, wished at a",
        "gone": "sold out, wished one that can be had",
    }


def test_gpus_of_stages_count_too() -> None:
    assert asked({"gpus": ["A100"]}, quote(), gpus=["RTX 4090"]).offers


@pytest.mark.parametrize(
    ("capability", "built", "runs"),
    [
        ("8.9", "sm_80", True), ("8.0", "sm_86", False), ("9.0", "sm_80 sm_86", False),
        ("9.0", "sm_80 compute_80", True),
        ("12.0", "sm_90 compute_90", True), ("7.0", "sm_75 sm_80", False), ("9.0", "sm_90a", True),
        ("10.0", "sm_90a compute_90a", False), ("6.1", "sm_60", True), ("12.0", "sm_120", True), ("8.9", "", False),
    ],
)  # fmt: skip
def test_what_torch_was_built_for(capability: str, built: str, *, runs: bool) -> None:
    assert runs_on(capability, built.split()) is runs


def test_a_gpu_that_torch_was_not_built_for_is_left_out() -> None:
    found = asked({}, quote(), quote("V100 16GB", 16, id="old"), architectures=["sm_80", "sm_90", "compute_90"])
    assert [offer.id for offer in found.offers] == ["a/1"]
    assert "compute capability 7.0, wished a GPU that torch was built for" in found.refused[0].reason


FACTS = st.fixed_dictionaries(
    {"price_usd_per_h": st.floats(0.1, 2), "gpu_count": st.integers(1, 8)},
    optional={
        "reliability": st.floats(0, 1), "disk_bytes": st.integers(10**8, 10**13), "spot": st.booleans(),
        "download_bytes_per_s": st.floats(1, 1e9), "region": st.sampled_from(["US-TX", "us-east-1", "DE", "eu-west1"]),
    },
)  # fmt: skip
WISHES = st.fixed_dictionaries(
    {},
    optional={
        "reliability": st.floats(0, 1), "disk": st.sampled_from(["1 GB", "1 TB"]), "spot": st.booleans(),
        "download": st.sampled_from(["1 Mbit/s", "1 Gbit/s"]), "max_price": st.sampled_from(["0.5 USD", "5 USD"]),
        "region": st.sampled_from([["us"], ["DE", "eu"]]),
    },
)  # fmt: skip


@given(st.lists(FACTS, max_size=6), WISHES)
def test_no_filter_lets_pass_what_it_should_not(facts: list[dict[str, Any]], wishes: dict[str, Any]) -> None:
    compute = Compute.model_validate(wishes)
    items = [quote(id=f"{number}", **one) for number, one in enumerate(facts)]
    found = offers(compute, Listed(items), today=TODAY)
    for offer in found.offers:
        assert compute.reliability is None or (offer.reliability or -1) >= compute.reliability
        assert compute.disk is None or (offer.disk_bytes or 0) >= compute.disk
        assert compute.download is None or (offer.download_bytes_per_s or 0) >= compute.download
        assert compute.spot is None or offer.spot is compute.spot
        assert compute.max_price is None or (offer.price_usd_per_h or 0.0) <= compute.max_price * offer.gpu_count * (
            1 + 1e-12
        )
        assert not compute.region or offer.region is not None
    prices = [offer.gpu_price_usd_per_h or 0.0 for offer in found.offers]
    assert prices == sorted(prices)
    assert len(found.offers) + len(found.refused) == len(items)
