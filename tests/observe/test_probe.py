"""This machine measured for real, with torch, with numpy, with neither, and with what is no Python."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

import pytest

from gpuplan.errors import MissingError, UserError
from gpuplan.observe.probe import probe_cpu, probe_cuda
from gpuplan.units import GIB, MIB

if TYPE_CHECKING:
    from pathlib import Path

HAS_TORCH = importlib.util.find_spec("torch") is not None
HAS_NUMPY = importlib.util.find_spec("numpy") is not None


def program(folder: Path, script: str) -> str:
    path = folder / "python with space"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.skipif(not HAS_TORCH, reason="torch is not installed here")
def test_this_machine_with_torch() -> None:
    found = probe_cpu(sys.executable, threads=1, name="this CPU", memory_bytes=8 * GIB)
    gpu = found.gpu
    assert (gpu.name, gpu.kind, gpu.memory_bytes, gpu.threads, gpu.checked) == (
        "this CPU",
        "cpu",
        8 * GIB,
        1,
        "measured",
    )
    assert 1e9 < gpu.peak_flops["fp32"] < 1e13
    assert gpu.bandwidth_bytes_per_s is not None
    assert 1e8 < gpu.bandwidth_bytes_per_s < 1e12
    assert gpu.kernel_overhead_s is not None
    assert 1e-7 < gpu.kernel_overhead_s < 1e-2
    assert gpu.context_bytes is not None
    assert 50 * MIB < gpu.context_bytes < 2 * GIB
    assert gpu.startup_s is not None
    assert gpu.startup_s > 0.05
    assert found.framework == "torch"
    assert found.versions["torch"] in gpu.source
    assert all(0 < spread.p10 <= spread.p50 <= spread.p90 for spread in found.spread.values())
    assert found.spread["fp32"].p50 == gpu.peak_flops["fp32"]


@pytest.mark.skipif(not HAS_NUMPY, reason="numpy is not installed here")
def test_a_broken_torch_is_said_and_numpy_measured(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so.12: cannot open shared object file')")
    python = program(tmp_path, f'PYTHONPATH="{tmp_path}" exec "{sys.executable}" "$@"')
    found = probe_cpu(python, threads=1, name="this CPU", memory_bytes=GIB)
    assert found.framework == "numpy"
    assert found.gpu.checked == "measured"
    assert set(found.gpu.peak_flops) == {"fp32"}
    assert "import torch: OSError: libcudart.so.12" in found.gpu.notes


def test_plain_python_is_only_assumed(tmp_path: Path) -> None:
    found = probe_cpu(program(tmp_path, f'exec "{sys.executable}" -I -S "$@"'), threads=1, name="x", memory_bytes=GIB)
    assert found.framework == "python"
    assert found.gpu.checked == "assumed"
    assert 0 < found.gpu.peak_flops["fp32"] < 1e10
    assert "neither torch nor numpy" in found.gpu.notes
    assert set(found.versions) == {"python"}


def test_no_file_beside_the_user_is_taken_for_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.chdir(tmp_path)
    python = program(tmp_path, f'exec "{sys.executable}" -S "$@"')
    assert probe_cpu(python, threads=1, name="x", memory_bytes=GIB).framework == "python"


def test_no_such_python() -> None:
    with pytest.raises(UserError, match=r"cannot start /nowhere/python: No such file") as caught:
        probe_cpu("/nowhere/python", threads=1, name="x", memory_bytes=GIB)
    assert caught.value.hint


def test_a_program_that_is_no_python(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ended with code 3: what is this"):
        probe_cpu(
            program(tmp_path, "cat > /dev/null; echo what is this >&2; exit 3"), threads=1, name="x", memory_bytes=1
        )


def test_a_measurement_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"more than 0\.5 s"):
        probe_cpu(program(tmp_path, "exec sleep 600"), threads=1, name="x", memory_bytes=1, time_limit_s=0.5)


def test_no_gpu_to_measure(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="has no torch, so no GPU can be measured"):
        probe_cuda(program(tmp_path, f'exec "{sys.executable}" -I -S "$@"'))
