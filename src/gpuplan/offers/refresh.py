"""Fresh prices, asked for by name, and kept with their date. It is the only door to a network in `offers/`.

An answer lies in the user's cache folder as it came, without a key, and replaces the shipped rows of its place.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from gpuplan.data import gpu_readings
from gpuplan.errors import UserError
from gpuplan.model import Compute, Refused
from gpuplan.offers import lambda_cloud, runpod, vast
from gpuplan.offers.base import UnavailableError
from gpuplan.offers.live import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gpuplan.offers.base import Item

__all__ = ["MARKETS", "Kept", "Market", "cache_folder", "kept", "refresh"]

SCHEMA = "gpuplan.answer/1"
MOST_BYTES = 256 * 2**20
EVERYTHING = Compute()


class Market(NamedTuple):
    """A market that can be asked: how, with which key, and how its answer is read."""

    name: str
    key: str
    address: str
    fetch: Callable[..., Any]
    parse: Callable[..., Iterator[Item]]
    is_filtered: bool = False
    """Whether it is asked for what the spec wishes alone; else for everything."""


MARKETS: dict[str, Market] = {
    module.NAME: Market(module.NAME, module.KEY, module.ADDRESS, module.fetch, module.parse, module is vast)
    for module in (vast, runpod, lambda_cloud)
}


class Kept(NamedTuple):
    """An answer of a market, in the cache or in hand, as a source."""

    market: Market
    answer: Any
    as_of: str
    asked: Compute = EVERYTHING

    @property
    def name(self) -> str:
        """The market's."""
        return self.market.name

    def items(self) -> Iterator[Item]:
        """What the market's own reader makes of it. Raises UnavailableError."""
        return self.market.parse(self.answer, as_of=self.as_of)

    def covers(self, wished: Compute) -> bool:
        """Whether what was asked holds all that `wished` may want."""
        asked = {gpu.name for name in self.asked.gpus for gpu in gpu_readings(name)}
        wanted = {gpu.name for name in wished.gpus for gpu in gpu_readings(name)}
        return (not asked or bool(wanted and wanted <= asked)) and all(
            (least := getattr(self.asked, name)) is None or least <= (getattr(wished, name) or 0)
            for name in ("memory", "capability", "reliability", "disk", "download")
        )


def refresh(
    names: Sequence[str],
    compute: Compute,
    *,
    today: str,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    client: Client | None = None,
    addresses: Mapping[str, str] | None = None,
) -> tuple[Refused, ...]:
    """Ask the markets called `names`, all at once, and keep their answers; who gave none is returned with the reason.

    Keys come from `environment` (VAST_API_KEY, RUNPOD_API_KEY, LAMBDA_API_KEY). Raises UserError for an unknown name.
    """
    unknown = [name for name in names if name not in MARKETS]
    if unknown:
        raise UserError(f"no market {unknown[0]!r} can be asked", hint=f"there are: {', '.join(MARKETS)}")
    markets = [MARKETS[name] for name in dict.fromkeys(names)]
    ask = partial(
        _asked,
        compute=compute,
        environment=os.environ if environment is None else environment,
        client=client or Client(),
        addresses=addresses or {},
    )
    with ThreadPoolExecutor(max_workers=len(markets) or 1) as threads:
        answers = list(threads.map(ask, markets))
    keep = partial(_kept, compute=compute, today=today, folder=folder or cache_folder())
    found = [
        answer if isinstance(answer, Refused) else keep(market, answer)
        for market, answer in zip(markets, answers, strict=True)
    ]
    return tuple(one for one in found if one is not None)


def kept(folder: Path | None = None) -> tuple[Kept | Refused, ...]:
    """The answers in the cache, one a market; one that cannot be read is a refusal."""
    folder = folder or cache_folder()
    found = (_read(market, folder / f"{market.name}.json") for market in MARKETS.values())
    return tuple(one for one in found if one is not None)


def cache_folder() -> Path:
    """Where answers are kept: below the user's cache folder."""
    import platformdirs  # noqa: PLC0415  only where prices are looked at

    return Path(platformdirs.user_cache_dir("gpuplan")) / "offers"


def _asked(
    market: Market, *, compute: Compute, environment: Mapping[str, str], client: Client, addresses: Mapping[str, str]
) -> Any:
    try:
        address = addresses.get(market.name, market.address)
        answer = market.fetch(compute, client, key=environment.get(market.key) or None, address=address)
        for _ in market.parse(answer, as_of=""):
            break
    except UnavailableError as error:
        reason = f"{error.message} ({error.hint})" if error.hint else error.message
        return Refused(offer=market.name, place=market.name, reason=f"no fresh prices: {reason}", kind="source")
    return answer


def _kept(market: Market, answer: Any, *, compute: Compute, today: str, folder: Path) -> Refused | None:
    """None where the answer lies in `folder`, whole or not at all."""
    asked = (compute if market.is_filtered else EVERYTHING).model_dump(mode="json", exclude_none=True)
    unfinished = folder / f".{market.name}.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        content = {"schema": SCHEMA, "as_of": today, "asked": asked, "answer": answer}
        unfinished.write_text(json.dumps(content), "utf-8")
        unfinished.replace(folder / f"{market.name}.json")
    except OSError as error:
        reason = f"its answer cannot be kept in {folder}: {error.strerror}"
        return Refused(offer=market.name, place=market.name, reason=reason, kind="source")
    return None


def _read(market: Market, path: Path) -> Kept | Refused | None:
    try:
        if path.stat().st_size > MOST_BYTES:
            return _unreadable(market, path)
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return _unreadable(market, path)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA or "answer" not in content:
        return _unreadable(market, path)
    try:
        asked = Compute.model_validate(content.get("asked", {}))
    except ValidationError:
        return _unreadable(market, path)
    return Kept(market, content["answer"], str(content.get("as_of", "")), asked)


def _unreadable(market: Market, path: Path) -> Refused:
    reason = f"{path} cannot be read: delete it, or gpuplan offers --refresh {market.name}"
    return Refused(offer=market.name, place=market.name, reason=reason, kind="source")
