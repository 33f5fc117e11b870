"""Lambda: what is in its answer on instance types. It sends nothing itself; `refresh` does.

The memory of a GPU stands only in its description. A type without a region that has capacity is sold out. There is no
spot tier. Format: Lambda Cloud API 1.10.0, and recorded answers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gpuplan.model import Refused
from gpuplan.offers.base import Quote, UnavailableError, figure, objects
from gpuplan.units import GIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.model import Compute
    from gpuplan.offers.base import Item, Service

__all__ = ["ADDRESS", "KEY", "NAME", "fetch", "parse"]

NAME, KEY = "lambda", "LAMBDA_API_KEY"
ADDRESS = "https://cloud.lambda.ai/api/v1/instance-types"
DESCRIPTION = re.compile(r"(?P<gpu>[^(]+)\((?P<gib>\d+)\s*GB\s*(?P<form>\w*)\)")


def fetch(_compute: Compute, client: Service, *, key: str | None = None, address: str = ADDRESS) -> Any:
    """The whole list: it is short, and one question gives all of it. Raises UnavailableError."""
    if key is None:
        raise UnavailableError("Lambda tells its prices only with a key", hint=f"set {KEY}")
    return client.ask(address, None, key=key)


def parse(answer: Any, *, as_of: str) -> Iterator[Item]:
    """An offer for each instance type."""
    types = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(types, dict):
        raise UnavailableError("the answer has no object 'data' of instance types")
    for name, entry in types.items():
        stated = entry.get("instance_type") if isinstance(entry, dict) else None
        if isinstance(stated, dict):
            yield _item(str(name), stated, entry.get("regions_with_capacity_available"), as_of)
        else:
            yield _left_out(str(name), "it is not described")


def _item(name: str, stated: dict[str, Any], regions: Any, as_of: str) -> Item:
    specs = stated["specs"] if isinstance(stated.get("specs"), dict) else {}
    described = DESCRIPTION.match(str(stated.get("gpu_description") or ""))
    if described is None:
        return _left_out(name, f"no GPU with its memory in {str(stated.get('gpu_description'))[:40]!r}")
    price = stated.get("price_cents_per_hour")
    cents = figure(price)
    names = [str(one.get("name")) for one in objects(regions)]
    facts = {
        "id": f"lambda/{name}",
        "place": NAME,
        "gpu_count": specs.get("gpus"),
        "price_usd_per_h": price if cents is None else cents / 100,
        "available": 0 if regions is not None and not names else None,
        "spot": False,
        "region": " ".join(names) or None,
        "vcpus": specs.get("vcpus"),
        "host_memory_bytes": _gib(specs.get("memory_gib")),
        "disk_bytes": _gib(specs.get("storage_gib")),
        "as_of": as_of,
        "source": "Lambda instance types",
    }
    return Quote(f"{described['gpu'].strip()} {described['form']}".strip(), int(described["gib"]) * GIB, facts)


def _left_out(name: str, reason: str) -> Refused:
    return Refused(offer=f"lambda/{name}", place=NAME, reason=reason, kind="bad")


def _gib(value: Any) -> int | None:
    number = figure(value)
    return None if number is None else int(number * GIB)
