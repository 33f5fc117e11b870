"""Vast.ai: the query that a spec asks, and what is in an answer. It sends nothing itself; `refresh` does.

An offer may be a slice of a machine; slices of one machine exclude each other. An interruptible price is an offer of
its own. Format: vast-ai/vast-cli (MIT) as of 2026-08-06, and recorded answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuplan.data import gpu_readings
from gpuplan.model import Refused
from gpuplan.offers.base import Quote, UnavailableError, figure, listed_rows
from gpuplan.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.model import Compute
    from gpuplan.offers.base import Item, Service

__all__ = ["ADDRESS", "KEY", "NAME", "fetch", "parse", "query"]

NAME, KEY = "vast", "VAST_API_KEY"
ADDRESS = "https://console.vast.ai/api/v0/bundles/"
PAGE = 256
MOST_REQUESTS = 40
LEAST_SPAN_USD = 0.002
"""A range of prices is not cut finer than this."""
DEAREST_USD = 2048.0
MEGABIT = 125_000
GIGABYTE = 10**9


def query(compute: Compute, *, low_usd: float = 0.0, high_usd: float = DEAREST_USD) -> dict[str, Any]:
    """The search for what `compute` wishes, among prices from `low_usd` to below `high_usd` for a machine and hour.

    GPUs are asked for by their memory, which has one spelling; the names are compared here.
    """
    filters: dict[str, dict[str, Any]] = {
        "verified": {"eq": True},
        "external": {"eq": False},
        "rentable": {"eq": True},
        "rented": {"eq": False},
        "dph_total": {"gte": low_usd, "lt": high_usd},
    }
    filters |= _memory(compute)
    for name, value in (
        ("reliability", compute.reliability),
        ("disk_space", compute.disk and compute.disk / GIGABYTE),
        ("inet_down", compute.download and compute.download / MEGABIT),
        ("compute_cap", compute.capability and round(100 * compute.capability)),
    ):
        if value is not None:
            filters[name] = {"gte": value}
    return {**filters, "order": [["dph_total", "asc"]], "type": "on-demand", "limit": PAGE}


def fetch(compute: Compute, client: Service, *, key: str | None = None, address: str = ADDRESS) -> dict[str, Any]:
    """All offers that match, page by page: a range of prices that fills a page is halved, for such a page is a sample.

    Raises UnavailableError where the first page fails; a later one ends the search, and the answer says so.
    """
    found: dict[Any, dict[str, Any]] = {}
    ranges = [(0.0, DEAREST_USD)]
    for number in range(MOST_REQUESTS):
        low, high = ranges.pop()
        try:
            page = listed_rows(client.ask(address, query(compute, low_usd=low, high_usd=high), key=key), "offers")
        except UnavailableError as error:
            if not number:
                raise
            return {"offers": list(found.values()), "broken_off": f"after {number} pages: {error.message}"}
        found |= {row.get("id"): row for row in page}
        if len(page) >= PAGE and high - low > LEAST_SPAN_USD:
            middle = min((low + high) / 2, max(4 * low, low + 0.25))
            ranges += [(middle, high), (low, middle)]
        if not ranges:
            return {"offers": list(found.values())}
    return {"offers": list(found.values()), "broken_off": f"after {MOST_REQUESTS} pages"}


def parse(answer: Any, *, as_of: str) -> Iterator[Item]:
    """An offer for each row, and one more where it may be had at an interruptible price."""
    rows = listed_rows(answer, "offers")
    if isinstance(answer, dict) and answer.get("broken_off"):
        reason = f"the search broke off {str(answer['broken_off'])[:200]}; {len(rows):,} offers came before"
        yield Refused(offer=NAME, place=NAME, reason=reason, kind="source")
    for row in rows:
        name = f"vast/{row.get('id', '?')}"
        if row.get("rented") is True or row.get("rentable") is False:
            yield Refused(offer=name, place=NAME, reason="it is rented to somebody else", kind="filtered")
            continue
        quote = Quote(str(row.get("gpu_name")), _times(row.get("gpu_ram"), MIB), _facts(row, name, as_of))
        yield quote
        if row.get("min_bid") is not None and not row.get("is_bid"):
            bid = {"id": f"{name}/bid", "price_usd_per_h": row["min_bid"], "spot": True}
            yield quote._replace(facts={**quote.facts, **bid})


def _facts(row: dict[str, Any], name: str, as_of: str) -> dict[str, Any]:
    machine = row.get("machine_id")
    return {
        "id": name,
        "place": NAME,
        "gpu_count": row.get("num_gpus"),
        "price_usd_per_h": row.get("dph_total"),
        "available": 1,
        "spot": bool(row.get("is_bid")),
        "reliability": row.get("reliability", row.get("reliability2")),
        "region": _text(row.get("geolocation")),
        "vcpus": _whole(row.get("cpu_cores_effective")),
        "host_memory_bytes": _whole(_times(row.get("cpu_ram"), MIB * _share(row))),
        "disk_bytes": _whole(_times(row.get("disk_space"), GIGABYTE)),
        "download_bytes_per_s": _times(row.get("inet_down"), MEGABIT) or None,
        "upload_bytes_per_s": _times(row.get("inet_up"), MEGABIT) or None,
        "download_usd_per_gb": row.get("inet_down_cost"),
        "upload_usd_per_gb": row.get("inet_up_cost"),
        "storage_usd_per_gb_month": row.get("storage_cost"),
        "stopped_usd_per_gb_month": row.get("storage_cost"),
        "session_s": row.get("duration"),
        "network_gpus": "nvlink" if _times(row.get("bw_nvlink"), 1) else None,
        "exclusive_with": None if machine is None else f"vast/machine/{machine}",
        "as_of": as_of,
        "source": "Vast.ai offers",
        "notes": "" if row.get("verification", "verified") == "verified" else "the host is not verified",
    }


def _memory(compute: Compute) -> dict[str, dict[str, Any]]:
    """From the least to the most memory of the GPUs that are wished for, in MiB, with what ECC may take."""
    sizes = [gpu.memory_bytes / MIB for name in compute.gpus for gpu in gpu_readings(name)]
    bounds = {"gte": round(0.95 * min(sizes)), "lte": round(1.08 * max(sizes))} if sizes else {}
    if compute.memory is not None:
        bounds["gte"] = max(bounds.get("gte", 0), round(compute.memory / MIB))
    return {"gpu_ram": bounds} if bounds else {}


def _share(row: dict[str, Any]) -> float:
    """Of the machine's CPUs, and so of its memory, that come with the offer."""
    effective, total = figure(row.get("cpu_cores_effective")), figure(row.get("cpu_cores"))
    return min(1.0, effective / total) if effective and total and total > 0 else 1.0


def _times(value: Any, factor: float) -> float | None:
    """The figure in another unit; None for what is no figure."""
    number = figure(value)
    return None if number is None else number * factor


def _whole(value: Any) -> int | None:
    number = figure(value)
    return None if number is None else int(number)


def _text(value: Any) -> str | None:
    return value.replace(", ", "-").replace(" ", "-") if isinstance(value, str) and value else None
