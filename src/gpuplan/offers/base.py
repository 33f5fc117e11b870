"""What a source of offers is, and what it hands over: quotes as stated, nothing checked. It reads nothing itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from gpuplan.errors import UserError
from gpuplan.model import LARGEST, Offer, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "OWN_PLACES",
    "Item",
    "Quote",
    "Service",
    "Source",
    "UnavailableError",
    "figure",
    "listed_rows",
    "objects",
    "refused",
]

OWN_PLACES = frozenset({"local", "slurm"})
"""One's own machines: nothing is rented, so nothing that only rented machines state is asked of them."""


class Quote(NamedTuple):
    """One machine as its source states it: the GPU by its name there, the rest under the names of `Offer`."""

    gpu: str
    memory_bytes: float | None
    facts: Mapping[str, Any]


Item: TypeAlias = Quote | Offer | Refused


class Source(Protocol):
    """Where offers come from. `items` may raise UnavailableError, also half-way; what came before it counts."""

    @property
    def name(self) -> str:
        """How messages call it."""

    def items(self) -> Iterator[Item]:
        """Every row as it is stated, in the source's order; a row that cannot be read is a `Refused`."""


class Service(Protocol):
    """Whom a market's questions are put to."""

    def ask(self, address: str, question: Any, *, key: str | None = None) -> Any:
        """The JSON answer to a POST of `question`, or to a GET where that is None. Raises UnavailableError."""


class UnavailableError(UserError):
    """A source gave no answer that can be used; the others still count."""


def refused(quote: Quote, reason: str) -> Refused:
    """The quote left out as not believable, called by its id."""
    facts = quote.facts
    return Refused(offer=str(facts.get("id", "?")), place=str(facts.get("place", "?")), reason=reason, kind="bad")


def listed_rows(answer: object, *keys: str) -> list[dict[str, Any]]:
    """The rows under `keys` of a market's JSON answer. Raises UnavailableError where there is no such list."""
    found = answer
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    if isinstance(found, dict):
        found = [found]
    if not isinstance(found, list):
        raise UnavailableError(f"the answer has no list {'.'.join(keys)!r}: {_kind(answer)}")
    return objects(found)


def objects(value: object) -> list[dict[str, Any]]:
    """The objects in what should be a list of them."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def figure(value: object) -> float | None:
    """A number that can be reckoned with; None for anything else that stands in its place."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < LARGEST else None


def _kind(answer: object) -> str:
    if isinstance(answer, dict):
        return f"it has {', '.join(map(repr, list(answer)[:5])) or 'no keys'}"
    return f"it is a {type(answer).__name__}"
