"""CUDA_VISIBLE_DEVICES and nvidia-smi's answers, recorded, broken and through a real child process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gpuplan.observe import gpus, nvml
from gpuplan.observe.gpus import parse_listing, parse_query, survey, visible
from gpuplan.observe.machine import find_machine
from gpuplan.observe.nvml import Seen
from gpuplan.units import GIB, MIB

if TYPE_CHECKING:
    from pathlib import Path

DEVICES = (
    Seen(0, "GPU-aaaa1111", "NVIDIA A100-SXM4-80GB", 80 * GIB),
    Seen(1, "GPU-aaaa2222", "NVIDIA A100-SXM4-80GB", 80 * GIB),
    Seen(2, "MIG-bbbb", "NVIDIA A100-SXM4-80GB MIG 1g.10gb", 10 * GIB),
    Seen(2, "MIG-cccc", "NVIDIA A100-SXM4-80GB MIG 2g.20gb", 20 * GIB),
)
QUERY = """0, GPU-aaaa1111, NVIDIA GeForce RTX 4090, 24564, 12
1, GPU-aaaa2222, NVIDIA GeForce RTX 4090, 24564, [N/A]
"""
LISTING = """GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-aaaa1111)
  MIG 3g.40gb     Device  0: (UUID: MIG-bbbb)
  MIG 1g.10gb     Device  1: (UUID: MIG-cccc)
GPU 1: NVIDIA A100-SXM4-80GB (UUID: GPU-aaaa2222)
"""


def chosen(value: str | None) -> list[str]:
    return [device.identity for device in visible(value, DEVICES).devices]


@pytest.mark.parametrize(
    ("value", "identities"),
    [
        (None, ["GPU-aaaa1111", "GPU-aaaa2222", "MIG-bbbb", "MIG-cccc"]),
        ("0", ["GPU-aaaa1111"]),
        ("1,0", ["GPU-aaaa2222", "GPU-aaaa1111"]),
        (" 1 , 0 ", ["GPU-aaaa2222", "GPU-aaaa1111"]),
        ("2", ["MIG-bbbb", "MIG-cccc"]),
        ("GPU-aaaa1", ["GPU-aaaa1111"]),
        ("gpu-AAAA2222,MIG-c", ["GPU-aaaa2222", "MIG-cccc"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
    ],
)
def test_what_the_variable_shows(value: str | None, identities: list[str]) -> None:
    assert chosen(value) == identities
    assert not [finding for finding in visible(value, DEVICES).findings if finding.severity == "warning"]


@pytest.mark.parametrize(
    ("value", "identities", "said"),
    [
        ("1,9", ["GPU-aaaa2222"], "'9' is no GPU here"),
        ("1,-1,0", ["GPU-aaaa2222"], "'-1' is no GPU here"),
        ("GPU-aaaa", [], "is no GPU here"),
        ("0,0", ["GPU-aaaa1111"], "stands there twice"),
        ("0,,1", ["GPU-aaaa1111"], "'' is no GPU here"),
        ("cuda:0", [], "'cuda:0' is no GPU here"),
        ("²", [], "is no GPU here"),
        ("0;rm -rf /", [], "is no GPU here"),
        ("9" * 5000, [], "is no GPU here"),
    ],
)
def test_a_bad_entry_hides_what_follows_and_is_said(value: str, identities: list[str], said: str) -> None:
    seen = visible(value, DEVICES)
    assert [device.identity for device in seen.devices] == identities
    (finding,) = seen.findings
    assert finding.severity == "warning"
    assert finding.place == "CUDA_VISIBLE_DEVICES"
    assert said in finding.because or len(value) > 200


def test_an_empty_variable_is_a_note_only_where_there_are_gpus() -> None:
    assert visible("", DEVICES).findings[0].severity == "note"
    assert visible("", ()).findings == ()


def test_the_query_is_read() -> None:
    first, second = parse_query(QUERY)
    assert first == Seen(0, "GPU-aaaa1111", "NVIDIA GeForce RTX 4090", 24564 * MIB, 12 * MIB)
    assert second.used_bytes == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No devices were found\n",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n",
        "0, GPU-x, NVIDIA, 24564\n",
        "x, GPU-x, NVIDIA, 24564, 1\n",
        "\x00\xff,,,,\n,,,,",
    ],
)
def test_broken_answers_are_no_devices(text: str) -> None:
    assert parse_query(text) == ()
    assert parse_listing(text, DEVICES[:2]) == DEVICES[:2]


def test_a_device_may_not_say_its_memory() -> None:
    (device,) = parse_query("0, GPU-x, NVIDIA GB10, [N/A], [N/A]")
    assert device.memory_bytes is None


def test_slices_stand_in_the_place_of_their_gpu() -> None:
    listed = parse_listing(LISTING, DEVICES[:2])
    assert [device.identity for device in listed] == ["MIG-bbbb", "MIG-cccc", "GPU-aaaa2222"]
    assert [device.memory_bytes for device in listed] == [40 * GIB, 10 * GIB, 80 * GIB]
    assert listed[0].name == "NVIDIA A100-SXM4-80GB MIG 3g.40gb"


def stand_in(folder: Path, script: str) -> None:
    """A program named nvidia-smi that answers as recorded: no NVIDIA driver is here to ask."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.fixture
def without_nvml(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(nvml, "library", lambda: None)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_nvidia_smi_is_asked_where_nvml_is_not_there(without_nvml: Path) -> None:
    stand_in(without_nvml, f"case $1 in -L) cat <<'X'\n{LISTING}X\n;; *) cat <<'X'\n{QUERY}X\n;; esac")
    found = find_machine({"CUDA_VISIBLE_DEVICES": "1"})
    (device,) = found.machine.devices
    assert (device.index, device.identity, device.gpu) == (0, "GPU-aaaa2222", "RTX 4090")
    assert found.machine.threads_per_rank == found.machine.cores
    assert found.gpus == {}
    assert found.findings == ()


def test_a_device_nobody_knows_the_memory_of_is_left_out_and_said(without_nvml: Path) -> None:
    stand_in(without_nvml, "echo '0, GPU-x, NVIDIA GB10, [N/A], [N/A]'")
    found = find_machine({})
    assert found.machine.devices[0].gpu.endswith("threads") or found.machine.devices[0].gpu.endswith("thread")
    assert "left out" in found.findings[0].message


def test_a_broken_driver_is_said(without_nvml: Path) -> None:
    stand_in(without_nvml, "echo NVIDIA-SMI has failed; exit 9")
    found = survey(None)
    assert found.devices == ()
    assert found.findings[0].because == "it said: NVIDIA-SMI has failed"


def test_a_driver_that_hangs_is_given_up(without_nvml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "SMI_TIMEOUT_S", 0.2)
    stand_in(without_nvml, "exec sleep 60")
    assert "nothing within" in survey(None).findings[0].because


def test_no_nvidia_smi_is_no_finding(without_nvml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(without_nvml))
    assert survey("0") == gpus.Survey((), survey("0").findings)
    assert survey(None) == gpus.Survey(())
