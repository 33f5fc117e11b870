"""RunPod: what is in an answer of its catalogue (REST v2) or of its GraphQL service. It sends nothing itself.

Both state the price of a single GPU for an hour, on the secure and on the community cloud. Format: RunPod's API pages
as of 2026-08, and recorded answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuplan.offers.base import Quote, figure, listed_rows, objects
from gpuplan.units import GIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.model import Compute
    from gpuplan.offers.base import Item, Service

__all__ = ["ADDRESS", "KEY", "NAME", "fetch", "parse"]

NAME, KEY = "runpod", "RUNPOD_API_KEY"
ADDRESS = "https://api.runpod.io/graphql"
QUESTION = """query { gpuTypes { id displayName memoryInGb manufacturer secureCloud communityCloud securePrice
 communityPrice secureSpotPrice communitySpotPrice maxGpuCount lowestPrice(input: {gpuCount: 1}) { stockStatus } } }"""
TIERS = ("secure", "community")
COUNTS = (1, 2, 4, 8)


def fetch(_compute: Compute, client: Service, *, key: str | None = None, address: str = ADDRESS) -> Any:
    """The whole list: it is short, and one question gives all of it. Raises UnavailableError."""
    return client.ask(address, {"query": QUESTION}, key=key)


def parse(answer: Any, *, as_of: str) -> Iterator[Item]:
    """An offer for each GPU, cloud, number of GPUs, and spot where it has a price."""
    if isinstance(answer, dict) and "gpus" in answer:
        for row in listed_rows(answer, "gpus"):
            yield from _of_catalogue(row, as_of)
    else:
        for row in listed_rows(answer, "data", "gpuTypes"):
            yield from _of_graphql(row, as_of)


def _of_catalogue(row: dict[str, Any], as_of: str) -> Iterator[Item]:
    prices, most = _dict(row.get("price")), _dict(row.get("maxCount"))
    centres = [str(one.get("id")) for one in objects(row.get("dataCenters"))]
    facts = {
        "region": " ".join(centres) or None,
        "available": 0 if str(row.get("availability")).upper() in {"NONE", "OUT_OF_STOCK"} else None,
        "notes": f"availability {str(row['availability']).lower()}" if row.get("availability") else "",
    }
    for tier in TIERS:
        if row.get(tier) is not False and prices.get(tier) is not None:
            yield from _quotes(row, tier, prices[tier], most=most.get(tier), as_of=as_of, facts=facts)


def _of_graphql(row: dict[str, Any], as_of: str) -> Iterator[Item]:
    lowest = _dict(row.get("lowestPrice"))
    stock = lowest.get("stockStatus")
    facts = {
        "available": 0 if "stockStatus" in lowest and not stock else None,
        "notes": f"stock {str(stock).lower()}" if stock else "",
    }
    for tier in TIERS:
        for key, spot in ((f"{tier}Price", False), (f"{tier}SpotPrice", True)):
            if row.get(f"{tier}Cloud") is not False and row.get(key) is not None:
                kind = {**facts, "spot": spot}
                yield from _quotes(row, tier, row[key], most=row.get("maxGpuCount"), as_of=as_of, facts=kind)


def _quotes(
    row: dict[str, Any], tier: str, price: Any, *, most: Any, as_of: str, facts: dict[str, Any]
) -> Iterator[Quote]:
    gpu = str(row.get("id") or row.get("displayName") or row.get("name"))
    memory, each = figure(row.get("memory", row.get("memoryInGb"))), figure(price)
    memory_bytes = None if memory is None else memory * GIB
    largest = max(1, int(figure(most) or 1))
    spot = "/spot" if facts.get("spot") else ""
    for count in (*(count for count in COUNTS if count < largest), largest):
        stated = {
            "id": f"runpod/{tier}-{gpu.replace(' ', '-')}/x{count}{spot}",
            "place": NAME,
            "gpu_count": count,
            "price_usd_per_h": price if each is None else each * count,
            "spot": False,
            "as_of": as_of,
            "source": f"RunPod, {tier} cloud",
            **facts,
        }
        yield Quote(gpu, memory_bytes, stated)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
