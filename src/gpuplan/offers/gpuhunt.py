"""Offers through dstack's gpuhunt (an extra): sixteen clouds with one interface. Imported only when it is asked for.

What it reads, and from where, is gpuhunt's own business: GPUHUNT_CATALOG_DIR for files, else its published catalogue.
"""

from __future__ import annotations

import importlib
import logging
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from gpuplan.errors import EXIT_MISSING, UserError
from gpuplan.offers.base import Quote, UnavailableError
from gpuplan.offers.live import within
from gpuplan.units import GIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuplan.offers.base import Item

__all__ = ["Hunt", "quote_of"]

GIGABYTE = 10**9
TIMEOUT_S = 60.0
"""It downloads nine catalogues, without a limit of its own."""
PLACES = {"lambdalabs": "lambda", "vastai": "vast", "datacrunch": "verda"}
"""Its names of places that are called otherwise here."""


class Hunt(NamedTuple):
    """What gpuhunt's catalogue has of `providers`, as of `as_of`; empty: of all that it has catalogues of."""

    as_of: str
    providers: Sequence[str] = ()
    name: str = "gpuhunt"

    def items(self) -> Iterator[Item]:
        """A quote for each machine with a GPU. Raises UnavailableError; UserError where gpuhunt is not installed."""
        return (quote_of(item, self.as_of) for item in _query(list(self.providers)) if item.gpu_count)


def quote_of(item: Any, as_of: str) -> Quote:
    """One of gpuhunt's catalogue items, whose price is of the whole machine and whose memory is of one GPU, in GB."""
    place = PLACES.get(item.provider, item.provider)
    spot = "/spot" if item.spot else ""
    facts = {
        "id": f"{place}/{item.instance_name}/{item.location}{spot}",
        "place": place,
        "gpu_count": item.gpu_count,
        "price_usd_per_h": item.price,
        "spot": item.spot,
        "region": item.location or None,
        "vcpus": item.cpu,
        "host_memory_bytes": None if item.memory is None else int(item.memory * GIGABYTE),
        "disk_bytes": None if item.disk_size is None else int(item.disk_size * GIGABYTE),
        "as_of": as_of,
        "source": "gpuhunt",
    }
    return Quote(str(item.gpu_name), item.gpu_memory and item.gpu_memory * GIB, facts)


def _query(providers: list[str]) -> list[Any]:
    try:
        gpuhunt = importlib.import_module("gpuhunt")
    except ImportError:
        hint = "pip install 'gpuplan[prices]'"
        raise UserError("offers through gpuhunt need gpuhunt", hint=hint, exit_code=EXIT_MISSING) from None
    logging.getLogger("gpuhunt").addHandler(logging.NullHandler())
    catalog = gpuhunt.Catalog(auto_reload="GPUHUNT_CATALOG_DIR" not in os.environ)
    try:
        found: list[Any] = within(TIMEOUT_S, "gpuhunt", lambda: catalog.query(provider=providers or None))
    except UnavailableError:
        raise
    except Exception as error:  # noqa: BLE001  it reads foreign files and sites in threads: anything may come out
        raise UnavailableError(f"gpuhunt: {type(error).__name__}: {str(error)[:200]}") from None
    return found
