"""The formats of Vast.ai, RunPod, Lambda and gpuhunt, on recorded answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from offer_sources import TODAY, recorded

from gpuplan.model import Compute, Offer
from gpuplan.offers import Offered, offers
from gpuplan.offers import vast as vast_market
from gpuplan.offers.base import UnavailableError
from gpuplan.offers.gpuhunt import Hunt, quote_of
from gpuplan.offers.refresh import MARKETS, Kept
from gpuplan.units import GIB

if TYPE_CHECKING:
    from pathlib import Path

SEED = Compute.model_validate(
    {"gpus": ["RTX 4090"], "reliability": 0.95, "disk": "50 GB", "download": "100 Mbit/s", "spot": False}
)


def read(market: str, name: str) -> Offered:
    return offers(Compute(), Kept(MARKETS[market], recorded(name), TODAY), today=TODAY)


def by_id(answer: Offered) -> dict[str, Offer]:
    return {offer.id: offer for offer in answer.offers}


def test_vast_slices_of_one_machine_exclude_each_other() -> None:
    found = by_id(read("vast", "vast.json"))
    one, two = found["vast/11684738"], found["vast/11684739"]
    assert one.exclusive_with == two.exclusive_with == "vast/machine/22990"
    assert (one.gpu, one.gpu_count, one.price_usd_per_h, one.spot) == ("RTX 4090", 1, 0.24668, False)
    assert (one.reliability, one.disk_bytes, one.region) == (0.97008, 1_607_900_000_000, "Guangxi-CN")
    assert one.download_bytes_per_s == pytest.approx(105.9 * 125_000)
    assert one.host_memory_bytes == int(64393 * 2**20 / 4)
    assert (one.vcpus, two.host_memory_bytes) == (24, 64393 * 2**20)


def test_vast_interruptible_is_an_offer_of_its_own() -> None:
    found = by_id(read("vast", "vast.json"))
    assert (found["vast/11684738/bid"].price_usd_per_h, found["vast/11684738/bid"].spot) == (0.2, True)
    assert "vast/4/bid" not in found


def test_vast_refuses_what_is_rented_and_what_is_another_card() -> None:
    reasons = {one.offer: one.reason for one in read("vast", "vast.json").refused}
    assert reasons["vast/5"] == "it is rented to somebody else"
    assert "RTX 4090 has 24 GiB, the source says 48 GiB" in reasons["vast/3"]
    assert by_id(read("vast", "vast.json"))["vast/4"].notes == "the host is not verified"


def test_vast_is_asked_for_the_seeds_filter() -> None:
    asked = vast_market.query(SEED)
    assert asked["reliability"] == {"gte": 0.95}
    assert asked["disk_space"] == {"gte": 50.0}
    assert asked["inet_down"] == {"gte": 100.0}
    assert asked["gpu_ram"]["gte"] <= 24564 <= asked["gpu_ram"]["lte"] < 40960
    assert asked["rentable"] == {"eq": True}
    assert asked["order"] == [["dph_total", "asc"]]


def test_the_seeds_filter_gives_the_recorded_offer() -> None:
    found = offers(SEED, Kept(MARKETS["vast"], recorded("vast.json"), TODAY), today=TODAY)
    assert [offer.id for offer in found.offers] == ["vast/11684738", "vast/11684739"]
    assert all(one.kind != "unstated" for one in found.refused)


class Shelf:
    """A market with `rows`, which answers a range of prices and cuts it at the limit, as Vast does."""

    def __init__(self, rows: list[dict[str, Any]], fails_at: int = 10**9) -> None:
        self.rows, self.asked, self.fails_at = rows, 0, fails_at

    def ask(self, address: str, question: Any, *, key: str | None = None) -> Any:
        self.asked += 1
        if self.asked >= self.fails_at:
            raise UnavailableError("it was asked too often")
        low, high = question["dph_total"]["gte"], question["dph_total"]["lt"]
        found = [row for row in self.rows if low <= row["dph_total"] < high]
        return {"offers": found[-question["limit"] :]}


def test_vast_is_asked_in_ranges_of_prices_until_no_page_is_full() -> None:
    shelf = Shelf([{"id": number, "dph_total": 0.1 + number / 500} for number in range(2000)])
    found = vast_market.fetch(Compute(), shelf)
    assert {row["id"] for row in found["offers"]} == set(range(2000))
    assert shelf.asked <= vast_market.MOST_REQUESTS
    assert "broken_off" not in found


def test_vast_with_more_offers_at_one_price_than_a_page_holds_ends() -> None:
    shelf = Shelf([{"id": number, "dph_total": 0.4} for number in range(1000)])
    assert len(vast_market.fetch(Compute(), shelf)["offers"]) == vast_market.PAGE
    assert shelf.asked <= vast_market.MOST_REQUESTS


def test_vast_that_stops_answering_keeps_what_came_and_says_so() -> None:
    shelf = Shelf([{"id": number, "dph_total": 0.1 + number / 500} for number in range(2000)], fails_at=6)
    answer = vast_market.fetch(Compute(), shelf)
    found = offers(Compute(), Kept(MARKETS["vast"], answer, TODAY), today=TODAY)
    assert "broke off after 5 pages: it was asked too often" in found.refused[0].reason
    with pytest.raises(UnavailableError):
        vast_market.fetch(Compute(), Shelf([], fails_at=1))


def test_runpod_catalogue_prices_single_gpus_by_cloud() -> None:
    answer = read("runpod", "runpod_catalogue.json")
    found = by_id(answer)
    eight = found["runpod/secure-NVIDIA-GeForce-RTX-4090/x8"]
    assert (eight.gpu, eight.gpu_count, eight.price_usd_per_h) == ("RTX 4090", 8, 8 * 0.44)
    assert eight.region == "US-KS-2 EU-RO-1"
    assert (eight.upload_usd_per_gb, eight.storage_usd_per_gb_month) == (0, 0.10)
    assert "runpod/community-NVIDIA-GeForce-RTX-4090/x4" in found
    assert "runpod/community-NVIDIA-GeForce-RTX-4090/x8" not in found
    reasons = [one.reason for one in answer.refused]
    assert sum("sold out" in reason for reason in reasons) == 4
    assert sum("unknown GPU" in reason for reason in reasons) == 3


def test_runpod_graphql_has_spot_prices_and_stock() -> None:
    answer = read("runpod", "runpod_graphql.json")
    found = by_id(answer)
    spot = found["runpod/community-NVIDIA-GeForce-RTX-4090/x1/spot"]
    assert (spot.price_usd_per_h, spot.spot, spot.notes) == (0.2, True, "stock high")
    assert found["runpod/secure-NVIDIA-GeForce-RTX-4090/x6"].price_usd_per_h == pytest.approx(6 * 0.69)
    assert {one.reason for one in answer.refused} == {"sold out, wished one that can be had"}


def test_lambda_has_memory_in_words_and_price_in_cents() -> None:
    answer = read("lambda", "lambda.json")
    offer = by_id(answer)["lambda/gpu_1x_a10"]
    assert (offer.gpu, offer.price_usd_per_h, offer.region) == ("A10", 1.29, "us-east-1 us-west-1")
    assert (offer.host_memory_bytes, offer.billing_s, offer.spot) == (200 * GIB, 60, False)
    reasons = {one.offer: one.reason for one in answer.refused}
    assert reasons["lambda/gpu_8x_h100_sxm5"] == "sold out, wished one that can be had"
    assert "no GPU with its memory" in reasons["lambda/cpu_4x_general"]


@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize(
    "answer", [None, [], {}, "text", 7, {"data": None}, {"offers": 3}, {"errors": [{"message": "no"}], "data": None}]
)
def test_an_answer_of_another_form_is_a_refusal(market: str, answer: Any) -> None:
    found = offers(Compute(), Kept(MARKETS[market], answer, TODAY), today=TODAY)
    assert not found.offers
    assert [one.kind for one in found.refused] == ["source"]


BROKEN = [None, True, -1, 0, 1e300, float("nan"), "", "7", "x" * 1000, [], {}, [1], {"a": 1}, 10**400]


@pytest.mark.parametrize("value", BROKEN, ids=lambda value: str(value)[:12])
def test_a_broken_value_anywhere_in_a_row_breaks_nothing_else(value: Any) -> None:
    row = recorded("vast.json")["offers"][0]
    rows = [{**row, "id": f"{name}", name: value} for name in row if name != "id"]
    found = offers(Compute(), Kept(MARKETS["vast"], {"offers": [*rows, row]}, TODAY), today=TODAY)
    assert "vast/11684738" in by_id(found)
    gpus = recorded("runpod_catalogue.json")["gpus"][0]
    cards = [{**gpus, name: value} for name in gpus]
    found = offers(Compute(), Kept(MARKETS["runpod"], {"gpus": [gpus, *cards]}, TODAY), today=TODAY)
    assert "runpod/secure-NVIDIA-GeForce-RTX-4090/x8" in by_id(found)
    types = recorded("runpod_graphql.json")["data"]["gpuTypes"][0]
    answer = {"data": {"gpuTypes": [types, *({**types, name: value} for name in types)]}}
    assert offers(Compute(), Kept(MARKETS["runpod"], answer, TODAY), today=TODAY).offers
    entry = recorded("lambda.json")["data"]["gpu_1x_a10"]
    stated = entry["instance_type"]
    broken = {name: {**entry, "instance_type": {**stated, name: value}} for name in stated}
    specs = {f"s{name}": {**entry, "instance_type": {**stated, "specs": {**stated["specs"], name: value}}}
             for name in stated["specs"]}  # fmt: skip
    kinds = {
        "data": {
            "good": entry,
            "none": value,
            "at": {**entry, "regions_with_capacity_available": value},
            **broken,
            **specs,
        }
    }
    assert "lambda/good" in by_id(offers(Compute(), Kept(MARKETS["lambda"], kinds, TODAY), today=TODAY))


ITEM = {
    "provider": "lambdalabs", "instance_name": "gpu_8x_a100", "location": "us-east-1", "price": 15.92, "cpu": 124,
    "memory": 1800.0, "gpu_count": 8, "gpu_name": "A100", "gpu_memory": 40.0, "spot": False, "disk_size": 6000.0,
}  # fmt: skip


def test_gpuhunt_prices_the_whole_machine() -> None:
    quote = quote_of(SimpleNamespace(**ITEM), TODAY)
    assert (quote.gpu, quote.memory_bytes) == ("A100", 40 * GIB)
    assert quote.facts["place"] == "lambda"
    assert quote.facts["price_usd_per_h"] == 15.92
    assert quote.facts["disk_bytes"] == 6 * 10**12


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its file open
def test_gpuhunt_reads_its_own_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpuhunt = pytest.importorskip("gpuhunt")
    header = ("instance_name,location,price,cpu,memory,gpu_vendor,gpu_count,gpu_name,gpu_memory,spot,disk_size,"
              "cpu_arch,flags,provider_data")  # fmt: skip
    row = "gpu_8x_a100,us-east-1,15.92,124,1800.0,nvidia,8,A100,40.0,False,6000.0,x86,,"
    (tmp_path / "lambdalabs.csv").write_text(f"{header}\n{row}\n", "utf-8")
    monkeypatch.setenv("GPUHUNT_CATALOG_DIR", str(tmp_path))
    assert gpuhunt
    found = offers(Compute(), Hunt(TODAY, ("lambdalabs",)), today=TODAY)
    assert [(offer.id, offer.gpu, offer.gpu_count) for offer in found.offers] == [
        ("lambda/gpu_8x_a100/us-east-1", "A100 SXM 40GB", 8)
    ]


def test_gpuhunt_without_its_files_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gpuhunt")
    monkeypatch.setenv("GPUHUNT_CATALOG_DIR", str(tmp_path))
    found = offers(Compute(), Hunt(TODAY, ("lambdalabs",)), today=TODAY)
    assert [one.kind for one in found.refused] == ["source"]


def test_gpuhunt_that_is_not_installed_is_said_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from gpuplan.errors import UserError

    monkeypatch.setitem(sys.modules, "gpuhunt", None)
    with pytest.raises(UserError) as caught:
        offers(Compute(), Hunt(TODAY), today=TODAY)
    assert caught.value.exit_code == 5
    assert "pip install" in (caught.value.hint or "")
