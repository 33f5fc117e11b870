"""Which GPUs an interpreter's torch was built for."""

from __future__ import annotations

import stat
import sys
from typing import TYPE_CHECKING

import pytest

from gpuplan.errors import UserError
from gpuplan.offers.torch_build import built_for

if TYPE_CHECKING:
    from pathlib import Path


def interpreter(folder: Path, text: str) -> str:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return str(path)


def test_what_it_says_is_read(tmp_path: Path) -> None:
    said = interpreter(tmp_path, "echo a warning; echo built for sm_80 sm_90 compute_90 odd")
    assert built_for(said) == ("sm_80", "sm_90", "compute_90")


def test_a_build_for_the_cpu_is_said() -> None:
    pytest.importorskip("torch")
    with pytest.raises(UserError, match="built for the CPU alone"):
        built_for(sys.executable)


@pytest.mark.parametrize(
    ("text", "message"), [("exit 3", "no torch to ask"), ("echo Error: no torch >&2; exit 1", "no torch$")]
)
def test_an_interpreter_without_torch(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        built_for(interpreter(tmp_path, text))


@pytest.mark.parametrize("name", ["/nowhere/python", "", "a\0b"])
def test_no_interpreter(name: str) -> None:
    with pytest.raises(UserError, match="cannot be started"):
        built_for(name)
