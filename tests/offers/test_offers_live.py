"""Fresh prices over a real connection: whatever the other side does, it ends, is named, and the rest still comes."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import pytest
from offer_sources import TODAY, recorded

from gpuplan.errors import UserError
from gpuplan.model import Compute
from gpuplan.offers import MOST_ROWS, offers
from gpuplan.offers.base import UnavailableError
from gpuplan.offers.live import Client
from gpuplan.offers.refresh import MARKETS, Kept, kept, refresh
from gpuplan.offers.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "s3cr3t-k3y"
KEYS = {"VAST_API_KEY": SECRET, "RUNPOD_API_KEY": SECRET, "LAMBDA_API_KEY": SECRET}
QUICK = Client(timeout_s=5.0)


class Reply(NamedTuple):
    """What the server says on a path."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = {}  # noqa: RUF012  never changed


def paths() -> dict[str, Reply]:
    million = json.dumps({"offers": [{"id": 1}] * 1_000_000}).encode()
    return {
        "/vast": Reply(json.dumps(recorded("vast.json")).encode()),
        "/packed": Reply(gzip.compress(json.dumps(recorded("vast.json")).encode()), 200, {"Content-Encoding": "gzip"}),
        "/runpod": Reply(json.dumps(recorded("runpod_graphql.json")).encode()),
        "/lambda": Reply(json.dumps(recorded("lambda.json")).encode()),
        "/html": Reply(b"<!DOCTYPE html><html>Sign in</html>"),
        "/truncated": Reply(b'{"offers": [{"id": 1'),
        "/empty": Reply(b""),
        "/text": Reply(b"\xff\xfe\x00"),
        "/nested": Reply(b"[" * 200_000),
        "/busy": Reply(b"{}", 429, {"Retry-After": "17"}),
        "/denied": Reply(b"{}", 401),
        "/broken": Reply(b"oops", 500),
        "/elsewhere": Reply(b"", 302, {"Location": "/vast"}),
        "/bomb": Reply(gzip.compress(b" " * 200_000_000), 200, {"Content-Encoding": "gzip"}),
        "/million": Reply(million),
        "/notgzip": Reply(b"{}", 200, {"Content-Encoding": "gzip"}),
    }


class Market(NamedTuple):
    """A market on this machine, and the keys that reached it, by path."""

    address: str
    keys: list[tuple[str, str | None]]


class Handler(BaseHTTPRequestHandler):
    """Says on each path what `paths` has for it, after it noted the key."""

    replies: ClassVar[dict[str, Reply]] = {}
    keys: ClassVar[list[tuple[str, str | None]]] = []
    closing = threading.Event()

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.keys.append((self.path, self.headers.get("Authorization")))
        if self.path == "/hang":
            self.closing.wait(30)
        elif self.path == "/trickle":
            self.trickle()
        else:
            self.say(self.replies[self.path])

    def do_POST(self) -> None:
        self.do_GET()

    def say(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def trickle(self) -> None:
        self.send_response(200)
        self.end_headers()
        while not self.closing.wait(0.05):
            self.wfile.write(b" ")

    def log_message(self, *_: Any) -> None:
        return

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()


@pytest.fixture(scope="module")
def market() -> Iterator[Market]:
    Handler.replies = paths()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    yield Market(f"http://127.0.0.1:{server.server_port}", Handler.keys)
    Handler.closing.set()
    server.shutdown()
    server.server_close()
    serving.join()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/html", "answered with a web page in place of JSON"),
        ("/truncated", "which is not JSON"),
        ("/empty", "which is not JSON"),
        ("/text", "which is not JSON"),
        ("/nested", "which is not JSON"),
        ("/busy", "was asked too often: try again in 17 s (429)"),
        ("/denied", "refused the key (401)"),
        ("/broken", "answered with an error (500)"),
        ("/elsewhere", "sends elsewhere, which is not followed (302)"),
        ("/bomb", "larger than 64 MiB"),
        ("/notgzip", "cannot be asked"),
    ],
)
def test_what_is_no_answer_is_named(market: Market, path: str, reason: str) -> None:
    with pytest.raises(UnavailableError) as caught:
        QUICK.ask(market.address + path, {}, key=SECRET)
    assert reason in caught.value.message
    assert SECRET not in caught.value.message


@pytest.mark.parametrize("path", ["/hang", "/trickle"])
def test_a_service_that_hangs_or_trickles_ends(market: Market, path: str) -> None:
    before = time.monotonic()
    with pytest.raises(UnavailableError) as caught:
        Client(timeout_s=0.3).ask(market.address + path, None)
    assert time.monotonic() - before < 10
    assert "0.3 s" in caught.value.message


def test_nobody_there_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UnavailableError, match="cannot be asked"):
        QUICK.ask(f"http://127.0.0.1:{port}/", {})


def test_only_the_web_is_asked(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("{}", "utf-8")
    with pytest.raises(UnavailableError):
        QUICK.ask(f"file://{tmp_path}/a", None)


def ask(market: Market, folder: Path, *names: str, **path: str) -> tuple[Any, ...]:
    addresses = {name: market.address + path.get(name, f"/{name}") for name in names}
    return refresh(
        names, Compute(), today=TODAY, folder=folder, environment=KEYS, client=QUICK, addresses=addresses
    )  # fmt: skip


def test_fresh_prices_are_kept_with_their_date_and_take_the_place_of_the_shipped_ones(
    market: Market, tmp_path: Path
) -> None:
    assert ask(market, tmp_path, "vast", "runpod", "lambda") == ()
    fresh = [one for one in kept(tmp_path) if isinstance(one, Kept)]
    assert [one.name for one in fresh] == ["vast", "runpod", "lambda"]
    found = offers(Compute(), *fresh, Snapshot(without=[one.name for one in fresh]), today=TODAY)
    of_vast = [offer for offer in found.offers if offer.place == "vast"]
    assert {offer.as_of for offer in of_vast} == {TODAY}
    assert "vast/11684738" in {offer.id for offer in of_vast}


def test_keys_go_to_the_market_alone(market: Market, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ask(market, tmp_path, "vast", "lambda")
    assert ("/vast", f"Bearer {SECRET}") in market.keys
    assert all(SECRET not in path.read_text("utf-8") for path in tmp_path.iterdir())
    assert SECRET not in "".join(capfd.readouterr())
    with pytest.raises(UnavailableError):
        QUICK.ask(f"{market.address}/elsewhere", None, key=SECRET)
    assert market.keys[-1][0] == "/elsewhere"


def test_one_market_that_fails_leaves_the_others_and_what_was_kept(market: Market, tmp_path: Path) -> None:
    ask(market, tmp_path, "vast")
    failed = ask(market, tmp_path, "vast", "runpod", "lambda", vast="/html")
    assert [(one.offer, one.kind) for one in failed] == [("vast", "source")]
    assert "web page" in failed[0].reason
    assert [one.name for one in kept(tmp_path) if isinstance(one, Kept)] == ["vast", "runpod", "lambda"]


def test_an_answer_of_another_form_is_not_kept(market: Market, tmp_path: Path) -> None:
    failed = ask(market, tmp_path, "vast", vast="/lambda")
    assert "no list 'offers'" in failed[0].reason
    assert kept(tmp_path) == ()


def test_lambda_without_a_key_says_which_to_set(market: Market, tmp_path: Path) -> None:
    failed = refresh(["lambda"], Compute(), today=TODAY, folder=tmp_path, environment={}, client=QUICK)
    assert "LAMBDA_API_KEY" in failed[0].reason


def test_a_packed_answer_is_read(market: Market, tmp_path: Path) -> None:
    assert ask(market, tmp_path, "vast", vast="/packed") == ()


def test_a_million_rows_are_cut_and_counted(market: Market) -> None:
    answer = QUICK.ask(f"{market.address}/million", {})
    found = offers(Compute(), Kept(MARKETS["vast"], answer, TODAY), Snapshot(), today=TODAY)
    assert found.offers
    assert any(f"{1_000_000 - MOST_ROWS:,} more rows" in one.reason for one in found.refused)


def test_an_unknown_market_is_a_wrong_word() -> None:
    with pytest.raises(UserError, match="no market 'vats'") as caught:
        refresh(["vats"], Compute(), today=TODAY)
    assert "vast" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("asked", "wished", "covers"),
    [
        ({}, {"gpus": ["A100"]}, True),
        ({"gpus": ["A100"]}, {"gpus": ["A100 80GB"]}, True),
        ({"gpus": ["A100"]}, {"gpus": ["RTX 4090"]}, False),
        ({"gpus": ["A100"]}, {}, False),
        ({"reliability": 0.9}, {"reliability": 0.95}, True),
        ({"reliability": 0.9}, {}, False),
        ({"disk": "50 GB"}, {"disk": "10 GB"}, False),
    ],
)
def test_an_answer_for_other_wishes_is_not_taken_for_all_there_is(
    market: Market, tmp_path: Path, asked: dict[str, Any], wished: dict[str, Any], *, covers: bool
) -> None:
    compute, addresses = Compute.model_validate(asked), {name: f"{market.address}/{name}" for name in MARKETS}
    refresh(
        ["vast", "runpod"], compute, today=TODAY, folder=tmp_path, environment={}, client=QUICK, addresses=addresses
    )
    of_vast, of_runpod = (one for one in kept(tmp_path) if isinstance(one, Kept))
    assert of_vast.covers(Compute.model_validate(wished)) is covers
    assert of_runpod.covers(Compute.model_validate(wished))


def test_a_cache_that_cannot_be_written_is_named(market: Market, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    [one] = ask(market, tmp_path / "file", "vast")
    assert "cannot be kept" in one.reason


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b'{"schema": "other/1", "answer": 1}', b"[" * 100_000])
def test_a_kept_answer_that_is_damaged_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "vast.json").write_bytes(content)
    [one] = kept(tmp_path)
    assert "delete it" in getattr(one, "reason", "")
