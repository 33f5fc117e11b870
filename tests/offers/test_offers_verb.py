"""`gpuplan offers` from the command line, in a process of its own and without a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from offer_sources import RECORDED, TODAY, recorded

from gpuplan.flow.offers import Wanted, offers_now
from gpuplan.flow.state import State
from gpuplan.model import Offer, Refused
from gpuplan.report.offered import offers_table, refused_table, unstated_table
from gpuplan.report.table import Table, records

if TYPE_CHECKING:
    from pathlib import Path

SPEC = """
name: alpha-sweep
command: python train.py --lr {lr}
vary: {lr: [5e-4, 1e-3]}
compute: {gpus: [RTX 4090], reliability: 0.95, disk: 50 GB, download: 100 Mbit/s, spot: false}
"""


class Shell:
    """An empty folder, an empty cache and no way out to a network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "experiment.yaml").write_text(SPEC, "utf-8")

    def run(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        nobody = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
        environment = {**os.environ, **nobody, "XDG_CACHE_HOME": str(self.folder / "cache"), "COLUMNS": "160"}
        command = [sys.executable, "-m", "gpuplan", "offers", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.folder, env=environment)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    def json(self, *words: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run(*words, "--json").stdout)
        return found


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_the_cheapest_of_a_gpu_come_first_with_the_age_of_their_prices(shell: Shell) -> None:
    found = shell.json("--gpu", "RTX 4090, l40", "--no-spot", "--max-price", "0.70")
    prices = [offer["price_usd_per_h"] / offer["gpu_count"] for offer in found["offers"]]
    assert prices == sorted(prices)
    assert max(prices) <= 0.70
    assert {offer["gpu"] for offer in found["offers"]} == {"RTX 4090", "L40"}
    assert all("age_days" in offer for offer in found["offers"])


def test_the_seeds_filter_shows_what_is_not_stated_and_lets_none_of_it_pass(shell: Shell) -> None:
    shown = shell.run("experiment.yaml").stdout
    assert "nothing that is stated to be as wished" in shown
    assert "reliability is at least 0.95" in shown
    assert "vast/RTX-4090/x1/DE" in shown
    found = shell.json("experiment.yaml")
    assert found["offers"] == []
    assert found["schema"] == "gpuplan.offers/1"
    assert {one["kind"] for one in found["refused"]} >= {"filtered", "unstated"}


def test_an_own_table_is_among_them(shell: Shell) -> None:
    found = shell.json("experiment.yaml", "--from", str(RECORDED / "offers.csv"), "--set", "compute.spot=null")
    assert [offer["id"] for offer in found["offers"]] == ["offers.csv:2"]


def test_why_not(shell: Shell) -> None:
    (shell.folder / "mine.csv").write_text("GPU Name,GPUs,Price (USD/h),Date\nZ9000,1,0.60,2026-11-01\n")
    shown = shell.run("--gpu", "H100", "--why-not", "--from", "mine.csv").stdout
    assert "another GPU, wished H100" in shown
    assert "unknown GPU" in shown
    assert {one["kind"] for one in shell.json("--from", "mine.csv")["refused"]} >= {"bad"}


def test_a_market_that_cannot_be_asked_is_named_and_the_rest_comes(shell: Shell) -> None:
    done = shell.run("--gpu", "RTX 4090", "--refresh", "vast")
    assert "no fresh prices: console.vast.ai" in done.stdout
    assert "runpod/community-RTX-4090" in done.stdout


def test_kept_answers_take_the_place_of_the_shipped_ones(shell: Shell) -> None:
    folder = shell.folder / "cache" / "gpuplan" / "offers"
    folder.mkdir(parents=True)
    kept = {"schema": "gpuplan.answer/1", "as_of": TODAY, "answer": recorded("vast.json")}
    (folder / "vast.json").write_text(json.dumps(kept), "utf-8")
    found = shell.json("experiment.yaml")
    assert [offer["id"] for offer in found["offers"]] == ["vast/11684738", "vast/11684739"]
    (folder / "vast.json").write_text(json.dumps({**kept, "asked": {"gpus": ["A100"]}}), "utf-8")
    done = shell.run("experiment.yaml")
    assert "was for other wishes and is not used; --refresh vast asks for these" in " ".join(done.stdout.split())
    assert "vast/RTX-4090/x1/DE" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--gpu", "RTX 4091"), 2, "near: RTX 4090"),
        (("--max-price", "cheap"), 2, "--max-price"),
        (("--max-price", "-1"), 2, "--max-price"),
        (("--refresh", "ebay"), 2, "--refresh vast,runpod,lambda,gpuhunt"),
        (("--from", "none.csv"), 2, "cannot be read"),
        (("--set", "compute.disk=1 GB"), 2, "none is given"),
        (("none.yaml",), 2, "no such file"),
        (("--torch", "/nowhere/python"), 2, "cannot be started"),
    ],
)
def test_wrong_words(shell: Shell, words: tuple[str, ...], code: int, message: str) -> None:
    assert message in shell.run(*words, code=code).stderr


def test_the_flow_is_the_same_without_a_shell(tmp_path: Path) -> None:
    asked = offers_now(None, State(tmp_path / ".gpuplan"), Wanted(gpus="A100", cache=tmp_path / "none"))
    assert {offer.gpu for offer in asked.offered.offers} <= {
        "A100 SXM 40GB", "A100 PCIe 40GB", "A100 SXM 80GB", "A100 PCIe 80GB"
    }  # fmt: skip
    assert len(asked.offered.offers) > 20


OFFER = Offer(id="a", place="p", gpu="L4", gpu_count=2, price_usd_per_h=0.8, as_of="2026-10-01", source="s")


def texts(table: Table) -> list[str]:
    return [str(value) for row in records(table) for value in row.values()]


def test_what_is_unknown_is_a_question_mark_and_what_is_old_is_marked() -> None:
    table = offers_table([OFFER], today=TODAY)
    assert texts(table).count("?") == 4
    assert "50 d old !" in texts(table)
    assert "$0.40" in texts(table)
    assert len(table.notes) == 2


def test_nothing_wrong_needs_no_note() -> None:
    known = OFFER.model_copy(
        update={"spot": False, "available": 3, "reliability": 0.99, "region": "US", "as_of": TODAY}
    )
    assert offers_table([known], today=TODAY).notes == ()


def test_reasons_are_counted_and_what_is_broken_comes_first() -> None:
    refused = [
        *(Refused(offer=f"{n}", place="p", reason="another GPU", kind="filtered") for n in range(3)),
        Refused(offer="x", place="p", reason="price -1", kind="bad"),
    ]
    assert [row["offers"] for row in records(refused_table(refused))] == [1, 3]


def test_one_reason_for_all_stands_below_the_table() -> None:
    near = [Refused(offer="a", place="p", reason="would pass if x: not stated", kind="unstated", stated=OFFER)]
    assert unstated_table(near, today=TODAY).notes == ("Each would pass if x: not stated.",)
    other = Refused(offer="b", place="p", reason="would pass if y: not stated", kind="unstated", stated=OFFER)
    assert "would pass if y: not stated" in texts(unstated_table([*near, other], today=TODAY))
