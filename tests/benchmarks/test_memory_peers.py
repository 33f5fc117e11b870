"""Peers run in a Python of their own; one that has none of them says so, and nothing else changes."""

from __future__ import annotations

import sys
from subprocess import run
from typing import TYPE_CHECKING

from memory_peers import CHILD, peer_errors
from memory_predict import answer
from memory_rows import read_rows

if TYPE_CHECKING:
    from pathlib import Path

TEXT = (
    "id,model,method,lora_rank,micro_batch,seq_len,grad_checkpointing,gpus,gpu,metric,peak_gb,unit,tier,group\n"
    "a-1,Mistral-7B,lora,16,4,4096,yes,1,A100-80GB,torch max_memory_allocated,24.871,GiB,A,a\n"
    "a-2,Mixtral-8x7B,lora,16,4,4096,yes,2,A100-80GB,torch max_memory_allocated,60,GiB,A,a\n"
)


def test_every_peer_answers_or_says_why(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(TEXT, "utf-8")
    rows = read_rows(path)
    found = peer_errors(rows, [answer(row) for row in rows], python=sys.executable)
    assert set(found) == {"fitcheck-llm", "accelerate"}
    for scores in found.values():
        assert scores["rows"] or scores["reason"] in {"not installed", "not supported"}


def test_a_python_that_cannot_run_is_a_reason(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no such module >&2\nexit 3\n", "utf-8")
    broken.chmod(0o755)
    path = tmp_path / "rows.csv"
    path.write_text(TEXT, "utf-8")
    rows = read_rows(path)
    assert peer_errors(rows, [answer(row) for row in rows], python=str(broken)) == {
        "peers": {"reason": "no such module"}
    }


def test_the_child_needs_nothing_of_gpuplan() -> None:
    done = run([sys.executable, "-I", str(CHILD)], input="", capture_output=True, text=True, check=True)
    assert done.stdout == ""
