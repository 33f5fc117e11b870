"""Peers run in a Python of their own; one that has none of them says so, and nothing else changes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
from memory_peers import CHILD, _request, peer_errors
from memory_predict import answer
from memory_rows import read_rows
from peers_child import PEERS, _asked, _dimensions

TEXT = (
    "id,model,method,lora_rank,micro_batch,seq_len,grad_checkpointing,gpus,gpu,metric,peak_gb,unit,tier,group\n"
    "a-1,Mistral-7B,lora,16,4,4096,yes,1,A100-80GB,torch max_memory_allocated,24.871,GiB,A,a\n"
    "a-2,Mixtral-8x7B,lora,16,4,4096,yes,2,A100-80GB,torch max_memory_allocated,60,GiB,A,a\n"
    "a-3,Mistral-7B,full,,4,4096,yes,1,A100-80GB,torch max_memory_allocated,67.46,GiB,A,a\n"
    "a-4,Mistral-7B,full,,4,4096,yes,2,A100-80GB,torch max_memory_allocated,68,GiB,A,a\n"
)
INSTALLED = Path(__file__).parents[2] / ".venv/peers/bin/python"
MEASURED = 24.871 * 2**30


def _errors(folder: Path, *, python: str) -> dict[str, dict[str, Any]]:
    path = folder / "rows.csv"
    path.write_text(TEXT, "utf-8")
    rows = read_rows(path)
    return peer_errors(rows, [answer(row) for row in rows], python=python)


def _works(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / "rows.csv"
    path.write_text(TEXT, "utf-8")
    return {row.id: _request(row) for row in read_rows(path)}


def _program(folder: Path, *, lines: str, code: int = 0) -> str:
    program = folder / "python"
    program.write_text(f"#!/bin/sh\ncat > '{folder}/asked'\n{lines}\nexit {code}\n", "utf-8")
    program.chmod(0o755)
    return str(program)


def test_every_peer_answers_or_says_why(tmp_path: Path) -> None:
    found = _errors(tmp_path, python=sys.executable)
    assert set(found) == {"fitcheck-llm", "accelerate", "llm-analysis", "torch-kitsune"}
    for scores in found.values():
        assert scores["rows"] + scores["not_answered"] == 4
        assert scores["version"] != "none" or "not installed" in scores["reason"]


@pytest.mark.skipif(not INSTALLED.exists(), reason="make peers was not run")
def test_each_peer_answers_the_rows_that_it_knows(tmp_path: Path) -> None:
    found = _errors(tmp_path, python=str(INSTALLED))
    assert {name: scores["rows"] for name, scores in found.items()} == {
        "fitcheck-llm": 2,
        "accelerate": 2,
        "llm-analysis": 2,
        "torch-kitsune": 3,
    }
    assert found["llm-analysis"]["reason"] == "full training only: 2"
    assert all(0 < scores["mean_abs_pct"] < 300 for scores in found.values())


def test_a_peer_is_scored_on_the_rows_it_answers_and_so_are_we(tmp_path: Path) -> None:
    replies = [
        {"versions": {"half": "1.2", "mute": None}},
        {"id": "a-1", "half": MEASURED / 2, "mute": "not installed (mute)"},
        {"id": "a-2", "half": "one GPU only", "mute": "not installed (mute)"},
        {"id": "a-4", "half": "one GPU only", "mute": "not installed (mute)"},
    ]
    text = "\n".join(json.dumps(reply) for reply in replies)
    found = _errors(tmp_path, python=_program(tmp_path, lines=f"cat <<'END'\n{text}\nEND"))
    path = tmp_path / "rows.csv"
    ours = next(abs(answer(row).error_pct) for row in read_rows(path) if row.id == "a-1")
    assert found["half"] == {
        "version": "1.2", "rows": 1, "not_answered": 2, "reason": "one GPU only: 2", "mean_abs_pct": 50.0,
        "median_abs_pct": 50.0, "gpuplan_mean_abs_pct": round(ours, 1), "gpuplan_median_abs_pct": round(ours, 1),
    }  # fmt: skip
    assert found["mute"] == {
        "version": "none", "rows": 0, "not_answered": 3, "reason": "not installed (mute): 3",
    }  # fmt: skip


def test_a_peer_is_told_the_facts_and_never_what_was_measured(tmp_path: Path) -> None:
    _errors(tmp_path, python=_program(tmp_path, lines="""echo '{"versions": {}}'"""))
    text = (tmp_path / "asked").read_text("utf-8")
    assert "24.871" not in text
    assert str(int(MEASURED)) not in text
    first = json.loads(text.splitlines()[0])
    assert (first["method"], first["rank"], first["batch"], first["sequence"]) == ("lora", 16, 4, 4096)
    assert first["model"]["intermediate_size"] == 14_336


def test_a_python_that_cannot_run_is_a_reason(tmp_path: Path) -> None:
    broken = _program(tmp_path, lines="echo no such module >&2", code=3)
    assert _errors(tmp_path, python=broken) == {"peers": {"reason": "no such module"}}


def test_a_python_that_is_not_there_is_a_reason(tmp_path: Path) -> None:
    found = _errors(tmp_path, python=str(tmp_path / "nowhere"))
    assert "No such file" in found["peers"]["reason"]


def test_a_peer_that_raises_has_not_answered_the_row() -> None:
    def refuses(_work: dict[str, Any]) -> float:
        raise AssertionError("only multiples of 4")

    def fails(_work: dict[str, Any]) -> float:
        raise ZeroDivisionError

    def lacks(_work: dict[str, Any]) -> float:
        raise ModuleNotFoundError(name="absent")

    assert _asked(refuses, {}) == "refused: only multiples of 4"
    assert _asked(fails, {}) == "refused: ZeroDivisionError"
    assert _asked(lacks, {}) == "not installed (absent)"


def test_a_module_is_asked_for_by_the_names_of_transformers(tmp_path: Path) -> None:
    found = _dimensions(_works(tmp_path)["a-1"])
    assert (found["model_type"], found["encoder"], found["classes"]) == ("mistral", False, 0)
    assert found["config"]["num_key_value_heads"] == 8
    assert "head_dim" not in found["config"]
    assert _dimensions(_works(tmp_path)["a-2"])["config"]["num_local_experts"] == 8


def test_the_child_needs_nothing_of_gpuplan() -> None:
    done = run([sys.executable, "-I", str(CHILD)], input="", capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)["versions"]) == set(PEERS)
