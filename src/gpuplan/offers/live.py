"""Asks a market's service, once and with patience that ends: time, size and form of the answer are limited.

It is called only where the user asked for fresh prices. A key goes to the market alone, never into a message or file.
"""

from __future__ import annotations

import json
import threading
import time
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from gpuplan.offers.base import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.client import HTTPResponse

__all__ = ["Client", "within"]

T = TypeVar("T")

MOST_BYTES = 64 * 2**20
CHUNK = 2**16
AGENT = "gpuplan"


class Client(NamedTuple):
    """How long one answer may take in all, from the name look-up to the last byte, and how large it may be."""

    timeout_s: float = 20.0
    most_bytes: int = MOST_BYTES

    def ask(self, address: str, question: Any, *, key: str | None = None) -> Any:
        """The JSON answer to a POST of `question`, or to a GET where that is None. Raises UnavailableError."""
        body = self._body(address, question, key)
        if body.lstrip()[:1] == b"<":
            raise UnavailableError(f"{_host(address)} answered with a web page in place of JSON")
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise UnavailableError(f"{_host(address)} answered with {body[:40]!r}..., which is not JSON") from None

    def _body(self, address: str, question: Any, key: str | None) -> bytes:
        return within(self.timeout_s, _host(address), lambda: self._attempt(address, question, key))

    def _attempt(self, address: str, question: Any, key: str | None) -> bytes:
        import http.client  # noqa: PLC0415  40 ms that only fresh prices pay
        import urllib.error  # noqa: PLC0415

        try:
            return self._read(_open(address, question, key, self.timeout_s))
        except urllib.error.HTTPError as error:
            error.close()
            status = _status(error.code, error.headers.get("Retry-After"))
            raise UnavailableError(f"{_host(address)} {status}") from None
        except (OSError, http.client.HTTPException, ValueError, zlib.error) as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, TimeoutError):
                raise UnavailableError(_late(_host(address), self.timeout_s)) from None
            said = str(reason)[:200] or type(error).__name__
            raise UnavailableError(f"{_host(address)} cannot be asked: {said}") from None

    def _read(self, response: HTTPResponse) -> bytes:
        deadline = time.monotonic() + self.timeout_s
        packed = response.headers.get("Content-Encoding", "").lower() in {"gzip", "deflate"}
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32) if packed else None
        parts, size = [], 0
        with response:
            while chunk := response.read1(CHUNK):
                part = unpacker.decompress(chunk, self.most_bytes - size + 1) if unpacker else chunk
                parts.append(part)
                size += len(part)
                if size > self.most_bytes:
                    raise UnavailableError(f"its answer is larger than {self.most_bytes // 2**20} MiB")
                if time.monotonic() > deadline:
                    raise UnavailableError(f"its answer was not complete within {self.timeout_s:g} s")
        return b"".join(parts)


def within(timeout_s: float, name: str, ask: Callable[[], T]) -> T:
    """What `ask` gives, in a thread of its own: neither a name look-up nor a trickle of bytes keeps a socket's limit.

    Raises UnavailableError after `timeout_s`, and what `ask` raises.
    """
    answers: list[T] = []
    errors: list[Exception] = []

    def attempt() -> None:
        try:
            answers.append(ask())
        except Exception as error:  # noqa: BLE001  it is raised again below
            errors.append(error)

    asking = threading.Thread(target=attempt, daemon=True)
    asking.start()
    asking.join(timeout_s)
    if errors:
        raise errors[0]
    if not answers:
        raise UnavailableError(_late(name, timeout_s))
    return answers[0]


def _open(address: str, question: Any, key: str | None, timeout_s: float) -> HTTPResponse:
    """By http and https alone; no redirect is followed, for a key must not go to another place."""
    import urllib.request as web  # noqa: PLC0415

    opener = web.OpenerDirector()
    for handler in (web.ProxyHandler, web.HTTPHandler, web.HTTPSHandler, web.HTTPErrorProcessor,
                    web.HTTPDefaultErrorHandler, web.UnknownHandler):  # fmt: skip
        opener.add_handler(handler())
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": AGENT}
    if question is not None:
        headers["Content-Type"] = "application/json"
    if key:
        headers["Authorization"] = f"Bearer {key}"
    data = None if question is None else json.dumps(question).encode()
    request = web.Request(address, data=data, headers=headers)  # noqa: S310  the opener knows no other scheme
    response: HTTPResponse = opener.open(request, timeout=timeout_s)
    return response


def _late(name: str, timeout_s: float) -> str:
    return f"{name} gave no answer within {timeout_s:g} s"


def _status(code: int, retry_after: str | None) -> str:
    known = {401: "refused the key", 403: "refused the key, or none was given", 404: "has no such page any more"}
    if code == 429:
        after = f" {retry_after[:20]} s" if retry_after and retry_after.isdigit() else " a while"
        return f"was asked too often: try again in{after} (429)"
    if 300 <= code < 400:
        return f"sends elsewhere, which is not followed ({code})"
    return f"{known.get(code, 'answered with an error')} ({code})"


def _host(address: str) -> str:
    return address.split("/")[2]
