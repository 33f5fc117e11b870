"""Which NVIDIA GPUs a program started here would see, by NVML, else by nvidia-smi, and by CUDA_VISIBLE_DEVICES.

It never uses a GPU. GPUs of other makers are not looked for.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import NamedTuple

from gpuplan.model import Finding
from gpuplan.observe import nvml
from gpuplan.observe.nvml import Seen
from gpuplan.units import GIB, MIB

__all__ = ["Survey", "parse_listing", "parse_query", "survey", "visible"]

VARIABLE = "CUDA_VISIBLE_DEVICES"
QUERY = ("--query-gpu=index,uuid,name,memory.total,memory.used", "--format=csv,noheader,nounits")
SMI_TIMEOUT_S = 20
LISTED_SLICE = re.compile(r"\s+MIG (\S+)\s+Device\s+\d+: \(UUID: (MIG-[^)]+)\)")
NUMBER = re.compile(r"[0-9]{1,9}")
LISTED_GPU = re.compile(r"GPU (\d+): ")


class Survey(NamedTuple):
    """The devices that a program would see, in its order, and what is odd about them."""

    devices: tuple[Seen, ...]
    findings: tuple[Finding, ...] = ()


def survey(visible_devices: str | None) -> Survey:
    """The GPUs of this machine that the value of CUDA_VISIBLE_DEVICES lets through; None if it is not set."""
    library = nvml.library()
    found = Survey(nvml.devices(library)) if library is not None else _by_command()
    chosen = visible(visible_devices, found.devices)
    return Survey(chosen.devices, found.findings + chosen.findings)


def visible(value: str | None, devices: tuple[Seen, ...]) -> Survey:
    """What CUDA makes of the variable: it takes numbers and the beginnings of UUIDs, and stops at the first bad one."""
    if value is None:
        return Survey(devices)
    if value.strip() in {"", "-1", "NoDevFiles"}:
        return Survey((), (_note(value),) if devices else ())
    chosen: dict[str, Seen] = {}
    for entry in (part.strip() for part in value.split(",")):
        matching = _matching(entry, devices)
        if not matching or matching[0].identity in chosen:
            return Survey(tuple(chosen.values()), (_bad_entry(value, entry, devices, repeated=bool(matching)),))
        chosen.update((device.identity, device) for device in matching)
    return Survey(tuple(chosen.values()))


def parse_query(text: str) -> tuple[Seen, ...]:
    """The devices in an answer to `nvidia-smi --query-gpu=index,uuid,name,memory.total,memory.used`.

    Other lines, as of a broken driver, are passed over.
    """
    devices = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 5 and NUMBER.fullmatch(cells[0]) and cells[2]:
            total, used = (int(cell) * MIB if NUMBER.fullmatch(cell) else None for cell in cells[3:])
            identity = cells[1] if cells[1].startswith("GPU-") else cells[0]
            devices.append(Seen(int(cells[0]), identity, cells[2], total, used or 0))
    return tuple(devices)


def parse_listing(text: str, devices: tuple[Seen, ...]) -> tuple[Seen, ...]:
    """The same devices with the MIG slices that `nvidia-smi -L` lists in the place of their GPUs."""
    slices: dict[int, list[Seen]] = {}
    names = {device.number: device.name for device in devices}
    number = -1
    for line in text.splitlines():
        gpu, part = LISTED_GPU.match(line), LISTED_SLICE.match(line)
        number = int(gpu[1]) if gpu else number
        if part and number in names:
            size = re.search(r"(\d+)gb", part[1])
            memory_bytes = int(size[1]) * GIB if size else None
            slices.setdefault(number, []).append(Seen(number, part[2], f"{names[number]} MIG {part[1]}", memory_bytes))
    return tuple(each for device in devices for each in slices.get(device.number, [device]))


def _by_command() -> Survey:
    program = shutil.which("nvidia-smi")
    if program is None:
        return Survey(())
    answers = [_answer([program, *QUERY]), _answer([program, "-L"])]
    devices = parse_query(answers[0] or "")
    if not devices:
        return Survey((), (_no_answer(answers[0]),))
    return Survey(parse_listing(answers[1] or "", devices))


def _answer(command: list[str]) -> str | None:
    """What the command prints, errors included; None if it takes too long or cannot start."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=SMI_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return (done.stdout + done.stderr).decode(errors="replace")


def _matching(entry: str, devices: tuple[Seen, ...]) -> list[Seen]:
    """The device an entry names, or the slices of it; nothing where it names none or more than one."""
    if NUMBER.fullmatch(entry):
        return [device for device in devices if device.number == int(entry)]
    named = [device for device in devices if device.identity.lower().startswith(entry.lower())]
    return named if len(named) == 1 and entry[:4].upper() in {"GPU-", "MIG-"} else []


def _note(value: str) -> Finding:
    return Finding(
        severity="note",
        check="machine.visible",
        message="the GPUs of this machine are switched off for programs started here",
        place=VARIABLE,
        because=f"{VARIABLE} is {value!r}, which shows none",
        fix=f"unset {VARIABLE} to use them",
    )


def _bad_entry(value: str, entry: str, devices: tuple[Seen, ...], *, repeated: bool) -> Finding:
    known = ", ".join(f"{device.number} ({device.identity})" for device in devices[:16]) or "none"
    why = f"{entry!r} stands there twice" if repeated else f"{entry!r} is no GPU here; there are: {known}"
    return Finding(
        severity="warning",
        check="machine.visible",
        message=f"{VARIABLE} is not as the driver numbers the GPUs; CUDA shows only those before the bad entry",
        place=VARIABLE,
        because=f"{VARIABLE}={value[:200]}: {why}",
        fix=f"correct or unset {VARIABLE}; `nvidia-smi -L` lists the GPUs",
    )


def _no_answer(answer: str | None) -> Finding:
    said = (answer or f"nothing within {SMI_TIMEOUT_S} s").strip().splitlines()
    return Finding(
        severity="warning",
        check="machine.driver",
        message="nvidia-smi is installed but lists no GPU",
        place="nvidia-smi",
        because=f"it said: {(said or ['nothing'])[0][:200]}",
        fix="run `nvidia-smi` and repair the driver, or go on without GPUs",
    )
