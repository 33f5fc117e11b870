"""The benchmark of reading logs as a program: what it writes is read back as it was written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from learn_speed import STEP_S, main

if TYPE_CHECKING:
    from pathlib import Path


def test_a_few_megabytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--megabytes", "3", "--json", str(tmp_path / "out.json")]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last == json.loads((tmp_path / "out.json").read_text())
    assert {each["file"] for each in last["files"]} == {"torchtune.out", "hf_stdout.log", "metrics.csv"}
    assert all(each["flags"] == [] for each in last["files"])
    clocked = [each["step_s"] for each in last["files"] if each["step_s"] is not None]
    assert clocked == [pytest.approx(STEP_S, rel=0.03)] * 2
    assert last["bytes"] >= 3e6
    assert last["peak_rss_bytes"] < 200e6
